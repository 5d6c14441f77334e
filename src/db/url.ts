import { join } from 'node:path';
import { LifeboatError } from '../errors.ts';
import { firstGiven } from './given.ts';
import { ASYNCPG_PARAMETERS, LIBPQ_PARAMETERS } from './libpq-parameters.ts';
import { passwordFromFile } from './passfile.ts';
import type { DatabaseTarget } from './target.ts';
import { tlsAttempts } from './tls.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type SessionAttributes = NonNullable<DatabaseTarget['sessionAttributes']>;

/**
 * SQLAlchemy's own grammar, so that every URL that Airflow reads is read alike: a password may hold / ? # and : as
 * they are, only @ must be percent-encoded. Source: sqlalchemy/engine/url.py, _parse_url.
 */
const URL_SHAPE =
  /^(?<scheme>[A-Za-z][\w+.-]*):\/\/(?:(?<user>[^:/]*)(?::(?<password>[^@]*))?@)?(?:\[(?<ipv6>[^/?\]]+)\]|(?<host>[^/:?]*))(?::(?<port>[^/?]*))?(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/s;

const DEFAULT_PORT = 5432;
const DEFAULT_CONNECT_TIMEOUT_S = 10;
/** libpq never waits for less than this. */
const SHORTEST_CONNECT_TIMEOUT_S = 2;

const EXAMPLE = 'postgresql://user:password@host:5432/airflow';
const ENCODE =
  'Write it like postgresql://user:password@host:5432/airflow and percent-encode special characters of user and password (@ is %40, % is %25).';

/**
 * A database URL as Airflow (postgresql+psycopg2://…) or libpq (postgres://…) writes it, resolved with libpq's
 * defaults. Of the environment only PGSSLMODE, PGSSLROOTCERT, PGPASSWORD, PGPASSFILE, PGCONNECT_TIMEOUT and HOME (for
 * ~/.pgpass and ~/.postgresql) count: a PGHOST left in a shell must not choose the database to restore into.
 * In the query + is a space, as SQLAlchemy has it. Throws LifeboatError('usage'), never quoting user or password.
 */
export function parseAirflowUrl(url: string, env: Environment, schema = 'public'): DatabaseTarget {
  const parts = splitUrl(url.trim());
  const parameters = readQuery(parts.query ?? '', parts.scheme);
  const hostName = resolveHostName(parts, parameters);
  const port = resolvePort(firstGiven(parameters.get('port'), parts.port));
  const user = firstGiven(parameters.get('user'), unquote(parts.user ?? '')) ?? '';
  if (user === '') throw usage('The database URL names no user.', `Write it like ${EXAMPLE}.`);
  const database = firstGiven(parameters.get('dbname'), unquote(parts.database ?? '')) ?? user;
  const host = firstGiven(parameters.get('hostaddr')) ?? hostName;
  const password =
    firstGiven(parameters.get('password'), unquote(parts.password ?? ''), env.PGPASSWORD) ??
    passwordOfFile(parameters, env, { host: hostName, port, database, user });
  const options = parameters.get('options');
  const sessionAttributes = resolveSessionAttributes(parameters.get('target_session_attrs'));
  return {
    kind: 'database',
    name: `${hostName.includes(':') ? `[${hostName}]` : hostName}:${port}/${database}`,
    host,
    port,
    database,
    user,
    ...(password ? { password } : {}),
    schema,
    tls: host.startsWith('/') ? [false] : tlsAttempts(parameters, hostName, env),
    connectTimeoutMs: resolveTimeout(parameters.get('connect_timeout') ?? env.PGCONNECT_TIMEOUT) * 1000,
    ...(options ? { options } : {}),
    ...(sessionAttributes === undefined ? {} : { sessionAttributes }),
  };
}

interface UrlParts {
  readonly scheme: string;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly ipv6?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly database?: string | undefined;
  readonly query?: string | undefined;
}

function splitUrl(url: string): UrlParts {
  const groups = URL_SHAPE.exec(url)?.groups;
  if (groups?.scheme === undefined) {
    throw usage('The Airflow environment is not a URL of a Postgres database.', ENCODE);
  }
  const parts: UrlParts = { ...groups, scheme: groups.scheme.toLowerCase() };
  refuseOtherSchemes(parts.scheme);
  // What looks like a host may be the rest of a password that holds a bare @: quote none of it.
  const rest = [parts.ipv6, parts.host, parts.port, parts.database, parts.query].join('');
  if (rest.includes('@')) throw usage('The database URL has an @ more than it should.', ENCODE);
  // eslint-disable-next-line no-control-regex -- a line feed pasted along with a password is what this looks for
  if (/[\u0000-\u001f\u007f]/.test(url)) {
    throw usage('The database URL has a control character in it.', ENCODE);
  }
  return parts;
}

function refuseOtherSchemes(scheme: string): void {
  const [dialect] = scheme.split('+');
  if (dialect === 'postgresql' || dialect === 'postgres') return;
  if (scheme === 'airflow-db-not-allowed') {
    throw usage(
      'Airflow 3 hides its metadata database from tasks (airflow-db-not-allowed).',
      'Set LIFEBOAT_AIRFLOW, or give --airflow with the URL of the database.',
    );
  }
  if (dialect === 'http' || dialect === 'https' || dialect === 'mwaa') {
    throw usage(
      `${dialect}:// names Airflow's REST API, and this command works on the metadata database alone.`,
      `Give the database, such as ${EXAMPLE}; through the API go lifeboat backup, restore, activate, cleanup, diff, verify and rest.`,
    );
  }
  const known = ['mysql', 'mariadb', 'sqlite', 'mssql', 'oracle'].includes(dialect ?? '');
  throw usage(
    known
      ? `The metadata database is ${dialect}, and Lifeboat works with Postgres only.`
      : 'The scheme of the Airflow URL is not one of a Postgres database.',
    `Give a Postgres database: ${EXAMPLE}.`,
  );
}

// --- the query ---

function readQuery(query: string, scheme: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  const asyncpg = scheme.endsWith('+asyncpg');
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const rawName = unquote(equals < 0 ? pair : pair.slice(0, equals));
    const name = asyncpg && rawName === 'ssl' ? 'sslmode' : rawName;
    const value = equals < 0 ? '' : unquote(pair.slice(equals + 1).replaceAll('+', ' '));
    if (parameters.has(name)) throw repeated(name);
    if (checkParameter(name, value, asyncpg)) parameters.set(name, value);
  }
  return parameters;
}

/** True when the value is used, false when it is left aside. */
function checkParameter(name: string, value: string, asyncpg: boolean): boolean {
  const rules = asyncpg ? { ...LIBPQ_PARAMETERS, ...ASYNCPG_PARAMETERS } : LIBPQ_PARAMETERS;
  const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
  if (rule === undefined) {
    // A name that does not look like one may be a piece of a password.
    const shown = /^[a-z_]{2,40}$/i.test(name) ? ` ${name}` : '';
    throw usage(
      `The database URL has a parameter${shown} that libpq does not know.`,
      'Correct its name, or take it out; special characters of a password must be percent-encoded.',
    );
  }
  if (rule.kind === 'refused') {
    throw usage(
      `The parameter ${name} of the database URL is not supported: ${rule.reason}.`,
      'Take it out.',
    );
  }
  if (rule.kind === 'limited' && value !== '' && !rule.values.includes(value)) {
    throw usage(
      `This value of ${name} in the database URL is not supported: ${rule.reason}.`,
      `Use ${rule.values.join(' or ')}, or take it out.`,
    );
  }
  return rule.kind !== 'ignored';
}

function repeated(name: string): LifeboatError {
  if (name === 'host' || name === 'port' || name === 'hostaddr') return severalHosts();
  return usage(`The database URL gives ${name} twice.`, 'Give it once.');
}

// --- the parts ---

function severalHosts(): LifeboatError {
  return usage(
    'The database URL names several hosts.',
    'Name the one to use: the primary for a restore, the primary or a replica for a backup.',
  );
}

function resolveHostName(parts: UrlParts, parameters: ReadonlyMap<string, string>): string {
  const named = firstGiven(parameters.get('host'), unquote(parts.ipv6 ?? parts.host ?? '')) ?? '';
  if (named.includes(',')) throw severalHosts();
  const host = firstGiven(named, parameters.get('hostaddr'));
  if (host === undefined) {
    throw usage(
      'The database URL names no host.',
      `Write it like ${EXAMPLE}, or add ?host=/socket/directory.`,
    );
  }
  return host;
}

function resolvePort(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_PORT;
  if (text.includes(',')) throw severalHosts();
  const port = Number(text);
  // The text is not quoted: with an unencoded : in the wrong place it is a piece of the password.
  if (!/^\d+$/.test(text) || port < 1 || port > 65535) {
    throw usage('The port of the database URL is not one.', ENCODE);
  }
  return port;
}

/** Seconds. Zero and less wait for ever in libpq; here they mean the default, since unreachable must become an error. */
function resolveTimeout(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_CONNECT_TIMEOUT_S;
  if (!/^-?\d{1,6}$/.test(text)) {
    throw usage(
      'connect_timeout of the database URL (or PGCONNECT_TIMEOUT) is not a number of seconds.',
      'Correct it.',
    );
  }
  const seconds = Number(text);
  return seconds <= 0 ? DEFAULT_CONNECT_TIMEOUT_S : Math.max(seconds, SHORTEST_CONNECT_TIMEOUT_S);
}

function resolveSessionAttributes(text: string | undefined): SessionAttributes | undefined {
  // With one host prefer-standby takes what it finds.
  if (text === undefined || text === '' || text === 'any' || text === 'prefer-standby') return undefined;
  const wanted = (['read-write', 'read-only', 'primary', 'standby'] as const).find((known) => known === text);
  if (wanted !== undefined) return wanted;
  throw usage(
    'target_session_attrs of the database URL is not one of libpq.',
    'Use any, read-write, read-only, primary, standby or prefer-standby.',
  );
}

function passwordOfFile(
  parameters: ReadonlyMap<string, string>,
  env: Environment,
  query: Parameters<typeof passwordFromFile>[1],
): string | undefined {
  const beside = env.HOME ? join(env.HOME, '.pgpass') : undefined;
  const file = firstGiven(parameters.get('passfile'), env.PGPASSFILE, beside);
  return file === undefined ? undefined : passwordFromFile(file, query);
}

/** Python's urllib.parse.unquote: a % that starts no pair of hex digits stays as it is. */
function unquote(text: string): string {
  if (!text.includes('%')) return text;
  const bytes = text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    try {
      return decodeURIComponent(run);
    } catch {
      throw usage('The database URL has percent-encoded characters that are not UTF-8.', ENCODE);
    }
  });
  return bytes;
}

function usage(message: string, next: string): LifeboatError {
  return new LifeboatError('usage', message, { next });
}
