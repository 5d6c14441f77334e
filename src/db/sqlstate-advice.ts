import type { ErrorKind } from '../errors.ts';

/** What an operator is told about a SQLSTATE, in place of the server's words. */
export interface SqlStateAdvice {
  readonly name: string;
  readonly says: string;
  readonly next: string;
  readonly kind?: ErrorKind;
}

const TRY_LATER = 'Try again in a minute; if it stays, ask whoever runs the server.';
const GRANT =
  'Connect as the role that owns the Airflow tables, or grant the missing privilege; lifeboat doctor names it.';
const REPORT =
  'Nothing was committed. Run lifeboat doctor, which compares the schema with that of its Airflow version.';
const AGAIN = 'Nothing was committed: run the command again.';

/** Source: https://www.postgresql.org/docs/current/errcodes-appendix.html */
export const SQLSTATES: Readonly<Record<string, SqlStateAdvice>> = {
  '08006': { name: 'connection_failure', says: 'The connection to the server failed', next: AGAIN },
  '08P01': {
    name: 'protocol_violation',
    says: 'The server or a pooler in front of it did not understand the client',
    next: 'Name the server itself instead of the pooler.',
  },
  '22001': {
    name: 'string_data_right_truncation',
    says: 'A value is longer than the column that it should go into',
    next: 'Widen the column in the target as it is in the source, then run the command again.',
  },
  '22021': {
    name: 'character_not_in_repertoire',
    says: 'A value cannot be stored in the encoding of the database',
    next: 'The target database must have the encoding UTF8.',
  },
  '22P05': {
    name: 'untranslatable_character',
    says: 'A value cannot be stored in the encoding of the database',
    next: 'The target database must have the encoding UTF8.',
  },
  '22P02': {
    name: 'invalid_text_representation',
    says: 'A value does not fit the type of its column',
    next: REPORT,
  },
  '22P04': {
    name: 'bad_copy_file_format',
    says: 'The server could not read the rows sent to it',
    next: REPORT,
  },
  '23502': { name: 'not_null_violation', says: 'A row lacks a value that the target demands', next: REPORT },
  '23503': {
    name: 'foreign_key_violation',
    says: 'A row points at another row that is not there',
    next: REPORT,
  },
  '23505': {
    name: 'unique_violation',
    says: 'A row with the same key exists already in the target',
    next: 'Nothing was committed. Another writer may have been faster; run the command again.',
  },
  '23514': {
    name: 'check_violation',
    says: 'A row breaks a rule (check constraint) of the target',
    next: REPORT,
  },
  '25006': {
    name: 'read_only_sql_transaction',
    says: 'The server takes no writes: it is a replica, or read-only',
    next: 'Name the primary.',
  },
  '25P03': {
    name: 'idle_in_transaction_session_timeout',
    says: 'The server ended the session because its transaction was idle',
    next: 'Raise idle_in_transaction_session_timeout for this role, or name the server itself instead of a pooler.',
  },
  '28000': {
    name: 'invalid_authorization_specification',
    says: 'The server does not let this user in from here',
    next: "Check user, database and sslmode of the URL, and the server's pg_hba.conf or security groups.",
  },
  '28P01': {
    name: 'invalid_password',
    says: 'The server does not accept the password of this user',
    next: 'Check user and password (percent-encoded in a URL); PGPASSWORD and ~/.pgpass count where the URL has none.',
  },
  '3D000': {
    name: 'invalid_catalog_name',
    says: 'There is no such database on the server',
    next: 'Check the database name at the end of the URL.',
  },
  '40001': { name: 'serialization_failure', says: 'Another transaction changed the same rows', next: AGAIN },
  '40P01': {
    name: 'deadlock_detected',
    says: 'The server broke a deadlock with another session',
    next: AGAIN,
  },
  '42501': { name: 'insufficient_privilege', says: 'The role may not do this', next: GRANT },
  '42703': { name: 'undefined_column', says: 'A column is missing in the database', next: REPORT },
  '42P01': {
    name: 'undefined_table',
    says: 'A table is missing in the database',
    next: "Check the database and the schema (--schema, Airflow's sql_alchemy_schema), then run lifeboat doctor.",
  },
  '53100': {
    name: 'disk_full',
    says: 'The disk of the database server is full',
    next: 'Nothing was committed. Free or add space on the server, then run the command again.',
  },
  '53200': {
    name: 'out_of_memory',
    says: 'The database server is out of memory',
    next: 'Nothing was committed. Lower --jobs or give the server more memory, then run the command again.',
  },
  '53300': {
    name: 'too_many_connections',
    says: 'The server has no free connection',
    next: 'Lower --jobs, or try again when fewer clients are connected.',
  },
  '54000': { name: 'program_limit_exceeded', says: 'A limit of the server was exceeded', next: REPORT },
  '55P03': {
    name: 'lock_not_available',
    says: 'Another session holds a lock that is needed',
    next: 'Nothing was committed. Try again when it is done; pg_stat_activity shows who it is.',
  },
  '57014': {
    name: 'query_canceled',
    says: 'The statement was cancelled on the server',
    next: 'Nothing was committed. An administrator, a statement timeout, or a conflict on a replica does this: run the command again.',
  },
  '57P01': {
    name: 'admin_shutdown',
    says: 'The server shut down or an administrator ended the session',
    next: AGAIN,
  },
  '57P02': { name: 'crash_shutdown', says: 'The server crashed', next: AGAIN },
  '57P03': {
    name: 'cannot_connect_now',
    says: 'The server is starting up, shutting down or recovering',
    next: TRY_LATER,
  },
  '57P05': {
    name: 'idle_session_timeout',
    says: 'The server ended the session because it was idle',
    next: AGAIN,
  },
  '58030': {
    name: 'io_error',
    says: 'The database server could not read or write its files',
    next: TRY_LATER,
  },
  '58P01': { name: 'undefined_file', says: 'The database server misses one of its files', next: TRY_LATER },
  XX001: {
    name: 'data_corrupted',
    says: 'The server found damaged data',
    next: 'Ask whoever runs the server: the table must be repaired, or read from a replica.',
  },
  XX002: {
    name: 'index_corrupted',
    says: 'The server found a damaged index',
    next: 'Ask whoever runs the server to REINDEX, then run the command again.',
  },
};
