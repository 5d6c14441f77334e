/**
 * What becomes of each libpq connection parameter in the query of a database URL. A parameter either means what it
 * means in libpq, or is left aside because it cannot change what Lifeboat does, or is refused because leaving it
 * aside would weaken what its user asked for. A name that is not listed is a usage error: a typo in sslmode must not
 * silently lose TLS. Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
export type ParameterRule =
  | { readonly kind: 'used' }
  | { readonly kind: 'ignored'; readonly reason: string }
  /** Accepted only with these values; with any other it is refused. */
  | { readonly kind: 'limited'; readonly values: readonly string[]; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string };

const used: ParameterRule = { kind: 'used' };
const ignored = (reason: string): ParameterRule => ({ kind: 'ignored', reason });
const limited = (values: readonly string[], reason: string): ParameterRule => ({
  kind: 'limited',
  values,
  reason,
});
const refused = (reason: string): ParameterRule => ({ kind: 'refused', reason });

const OWN_KEEPALIVE = 'every connection is kept alive and watched for stalls already';
const NO_GSS = 'Node.js speaks no GSSAPI, so libpq would not use it either';
const NO_OAUTH = 'signing in with OAuth is not supported';

export const LIBPQ_PARAMETERS: Readonly<Record<string, ParameterRule>> = {
  host: used,
  hostaddr: used,
  port: used,
  user: used,
  password: used,
  passfile: used,
  dbname: used,
  connect_timeout: used,
  options: used,
  target_session_attrs: used,
  sslmode: used,
  sslrootcert: used,
  sslcert: used,
  sslkey: used,
  sslpassword: used,
  sslcrl: used,
  sslsni: used,
  ssl_min_protocol_version: used,
  ssl_max_protocol_version: used,

  application_name: ignored('Lifeboat names its own sessions, so that the holder of a lock can be told'),
  fallback_application_name: ignored('Lifeboat names its own sessions'),
  client_encoding: ignored('Lifeboat always talks UTF-8'),
  keepalives: ignored(OWN_KEEPALIVE),
  keepalives_idle: ignored(OWN_KEEPALIVE),
  keepalives_interval: ignored(OWN_KEEPALIVE),
  keepalives_count: ignored(OWN_KEEPALIVE),
  tcp_user_timeout: ignored(OWN_KEEPALIVE),
  load_balance_hosts: ignored('one host is used'),
  sslcompression: ignored('TLS compression is gone from every current server'),
  krbsrvname: ignored(NO_GSS),
  gsslib: ignored(NO_GSS),
  gssdelegation: ignored(NO_GSS),

  gssencmode: limited(['disable', 'prefer'], 'Node.js speaks no GSSAPI'),
  channel_binding: limited(['disable', 'prefer'], 'channel binding cannot be enforced'),
  sslnegotiation: limited(['postgres'], 'TLS is negotiated the traditional way'),
  sslcertmode: limited(['allow', 'disable'], 'a request for the client certificate cannot be enforced'),
  min_protocol_version: limited(['3.0'], 'the protocol spoken is 3.0'),
  max_protocol_version: limited(['3.0', '3.2', 'latest'], 'the protocol spoken is 3.0'),

  service: refused('service files are not read: give host, port, database and user in the URL'),
  servicefile: refused('service files are not read: give host, port, database and user in the URL'),
  replication: refused('Lifeboat copies tables, not the write-ahead log'),
  requirepeer: refused("the owner of a socket's other end cannot be checked"),
  require_auth: refused('the way the server asks for the password cannot be enforced'),
  sslcrldir: refused('directories of revocation lists are not read: name one file as sslcrl'),
  sslkeylogfile: refused('session keys are never written down'),
  scram_client_key: refused('only a password or a client certificate can be used to sign in'),
  scram_server_key: refused('only a password or a client certificate can be used to sign in'),
  oauth_issuer: refused(NO_OAUTH),
  oauth_client_id: refused(NO_OAUTH),
  oauth_client_secret: refused(NO_OAUTH),
  oauth_scope: refused(NO_OAUTH),
};

/** Parameters of SQLAlchemy's asyncpg dialect that Airflow URLs carry; they tune that driver and nothing else. */
export const ASYNCPG_PARAMETERS: Readonly<Record<string, ParameterRule>> = {
  prepared_statement_cache_size: ignored('it tunes asyncpg'),
  prepared_statement_name_func: ignored('it tunes asyncpg'),
  statement_cache_size: ignored('it tunes asyncpg'),
  async_fallback: ignored('it tunes asyncpg'),
};
