import zlib from 'node:zlib';
import type { DatabaseTarget } from './db/target.ts';
import { parseAirflowUrl } from './db/url.ts';
import type { Compression } from './engine/api.ts';
import { LifeboatError } from './errors.ts';
import { parseFernetKeys } from './secrets/fernet.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface EnvironmentFlags {
  /** --airflow */
  readonly airflow?: string;
  /** --schema */
  readonly schema?: string;
}

/** Airflow's setting, its name before 2.3 behind it. Both still work in every 2.x. */
const AIRFLOW_URL = ['AIRFLOW__DATABASE__SQL_ALCHEMY_CONN', 'AIRFLOW__CORE__SQL_ALCHEMY_CONN'] as const;
const AIRFLOW_SCHEMA = [
  'AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA',
  'AIRFLOW__CORE__SQL_ALCHEMY_SCHEMA',
] as const;
const DEFAULT_SCHEMA = 'public';

const NAME_IT = 'Set LIFEBOAT_AIRFLOW (or give --airflow) to postgresql://user:password@host:5432/database.';

/** Tells a command that can do without (doctor) that nothing was named, rather than named wrongly. */
const NOT_NAMED = { code: 'not-named' };

/**
 * The environment to work on: --airflow, LIFEBOAT_AIRFLOW, Airflow's own setting, or what MWAA tells its containers, in
 * that order. Throws LifeboatError('usage') that names the variable at fault and never its value.
 */
export function resolveEnvironment(flags: EnvironmentFlags, env: Environment): DatabaseTarget {
  const { url, source } = findUrl(flags, env);
  const schema = flags.schema ?? setting(env, AIRFLOW_SCHEMA)?.value ?? DEFAULT_SCHEMA;
  try {
    return parseAirflowUrl(url, env, schema);
  } catch (error) {
    if (!(error instanceof LifeboatError)) throw error;
    const details = { ...error.details, source };
    const next = error.next === undefined ? {} : { next: error.next };
    throw new LifeboatError(error.kind, `${error.message.replace(/\.$/, '')} (from ${source}).`, {
      ...next,
      details,
    });
  }
}

/** --storage, else LIFEBOAT_STORAGE; a relative path is the caller's to resolve. */
export function resolveStorageUrl(flags: { readonly storage?: string }, env: Environment): string {
  const url = flags.storage ?? setting(env, ['LIFEBOAT_STORAGE'])?.value;
  if (url !== undefined) return url;
  throw usage(
    'No storage is named.',
    'Give --storage ./dir or s3://bucket/prefix, or set LIFEBOAT_STORAGE.',
    NOT_NAMED,
  );
}

/**
 * The environment's Fernet keys, the encrypting one first: LIFEBOAT_FERNET_KEY, else AIRFLOW__CORE__FERNET_KEY, else
 * MWAA__CORE__FERNET_KEY. A variable that is set and empty says that there is no key, as in Airflow.
 */
export function resolveFernetKeys(env: Environment): readonly string[] {
  for (const name of ['LIFEBOAT_FERNET_KEY', 'AIRFLOW__CORE__FERNET_KEY']) {
    const text = env[name];
    if (text !== undefined) return parseFernetKeys(text, name);
  }
  const name = 'MWAA__CORE__FERNET_KEY';
  const text = env[name];
  return text === undefined || text === '' ? [] : parseFernetKeys(jsonField(text, 'FernetKey', name), name);
}

/**
 * Whether the Fernet keys are the running Airflow's own setting: it ends with that Airflow, while LIFEBOAT_FERNET_KEY is
 * somebody's decision to keep the key elsewhere.
 */
export function fernetKeysAreLent(env: Environment): boolean {
  return env.LIFEBOAT_FERNET_KEY === undefined;
}

/** --identity-file, else LIFEBOAT_IDENTITY_FILE; undefined: no identity. */
export function resolveIdentityFile(flag: string | undefined, env: Environment): string | undefined {
  return flag ?? setting(env, ['LIFEBOAT_IDENTITY_FILE'])?.value;
}

/** Keys of a backup's source, for a target that has others. */
export function resolveSourceFernetKeys(env: Environment): readonly string[] {
  const name = 'LIFEBOAT_SOURCE_FERNET_KEY';
  const text = env[name];
  return text === undefined ? [] : parseFernetKeys(text, name);
}

// --- the environment's URL ---

interface FoundUrl {
  readonly url: string;
  /** Flag or variable that it came from. */
  readonly source: string;
}

function findUrl(flags: EnvironmentFlags, env: Environment): FoundUrl {
  if (flags.airflow !== undefined) return { url: flags.airflow, source: '--airflow' };
  const own = setting(env, ['LIFEBOAT_AIRFLOW']);
  if (own !== undefined) return { url: own.value, source: own.name };
  const airflows = setting(env, AIRFLOW_URL);
  if (airflows !== undefined) {
    const url = expandVariables(airflows.value, env);
    refuseRdsIam(env, url);
    return { url, source: airflows.name };
  }
  refuseIndirect(env);
  const managed = mwaaUrl(env);
  if (managed !== undefined) return managed;
  throw usage('No Airflow environment is named.', NAME_IT, NOT_NAMED);
}

/** Airflow runs a command or asks a secrets backend for these; Lifeboat does neither. */
function refuseIndirect(env: Environment): void {
  for (const name of AIRFLOW_URL) {
    if (env[`${name}_CMD`]) {
      throw usage(`${name}_CMD is set: Lifeboat does not run commands of Airflow's configuration.`, NAME_IT);
    }
    if (env[`${name}_SECRET`]) {
      throw usage(
        `${name}_SECRET is set: Lifeboat cannot ask Airflow's secrets backend for the URL.`,
        NAME_IT,
      );
    }
  }
}

/** MWAA with RDS Proxy: Airflow replaces the password of every connection by a token that lives for 15 minutes. */
function refuseRdsIam(env: Environment, url: string): void {
  const proxied = /[?&]sslmode=require(&|$)/.test(url);
  if (env.USE_IAM_CREDENTIALS?.toLowerCase() !== 'true' || !proxied) return;
  throw usage(
    'This MWAA environment signs in to its database with short-lived IAM tokens (USE_IAM_CREDENTIALS), which Lifeboat cannot make.',
    "Set LIFEBOAT_AIRFLOW to a URL with a fresh token as its password, such as Airflow's own SQLAlchemy engine uses.",
  );
}

function mwaaUrl(env: Environment): FoundUrl | undefined {
  const credentials = setting(env, ['MWAA__DB__CREDENTIALS', 'DB_SECRETS']);
  if (credentials === undefined) return undefined;
  const need = (...names: readonly string[]): string => {
    const found = setting(env, names);
    if (found !== undefined) return found.value;
    throw usage(`${credentials.name} is set, and ${names.join(' or ')} is not.`, NAME_IT);
  };
  const user = jsonField(credentials.value, 'username', credentials.name);
  const password = jsonField(credentials.value, 'password', credentials.name);
  const host = need('MWAA__DB__POSTGRES_HOST', 'POSTGRES_HOST');
  const port = setting(env, ['MWAA__DB__POSTGRES_PORT', 'POSTGRES_PORT'])?.value ?? '5432';
  const database = need('MWAA__DB__POSTGRES_DB', 'POSTGRES_DB');
  const sslmode = setting(env, ['MWAA__DB__POSTGRES_SSLMODE', 'SSL_MODE'])?.value ?? 'require';
  const part = encodeURIComponent;
  const url = `postgresql://${part(user)}:${part(password)}@${host}:${port}/${part(database)}?sslmode=${part(sslmode)}`;
  refuseRdsIam(env, url);
  return { url, source: credentials.name };
}

/** A string of the JSON that MWAA puts into some variables. The text holds a secret: no error quotes it. */
function jsonField(text: string, field: string, name: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw usage(`${name} is not JSON.`, `MWAA sets it; unset it if you did.`);
  }
  const value: unknown =
    typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, field) : undefined;
  if (typeof value === 'string' && value !== '') return value;
  throw usage(`${name} has no ${field}.`, 'MWAA sets it; unset it if you did.');
}

/** The first of these variables that is set and not empty. */
function setting(
  env: Environment,
  names: readonly string[],
): { readonly name: string; readonly value: string } | undefined {
  for (const name of names) {
    const value = env[name];
    if (value !== undefined && value.trim() !== '') return { name, value };
  }
  return undefined;
}

/**
 * Airflow expands $NAME and ${NAME} in its own variables until nothing changes, and leaves unknown ones as they are.
 * Source: airflow/configuration.py, expand_env_var.
 */
function expandVariables(text: string, env: Environment): string {
  const ENDLESS = 20; // A variable that names itself would go on for ever in Airflow.
  let current = text;
  for (let round = 0; round < ENDLESS; round++) {
    const expanded = current.replace(/\$(?:(\w+)|\{([^}]*)\})/g, (whole, bare?: string, braced?: string) => {
      return env[bare ?? braced ?? ''] ?? whole;
    });
    if (expanded === current) break;
    current = expanded;
  }
  return current;
}

// --- values ---

const MILLISECONDS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** "30d", "12h", "90m", "45s", "2w", in milliseconds. */
export function parseDuration(text: string, flag = '--keep-within'): number {
  const [, digits, unit] = /^(\d{1,9})([smhdw])$/.exec(text.trim()) ?? [];
  const milliseconds = Number(digits) * (MILLISECONDS[unit ?? ''] ?? NaN);
  if (milliseconds > 0 && Number.isSafeInteger(milliseconds)) return milliseconds;
  throw usage(`${flag} is not a duration.`, 'Write a number and one of s, m, h, d, w, such as 30d or 12h.');
}

const RATE_UNITS: Readonly<Record<string, number>> = { kB: 1000, MB: 1000 ** 2, GB: 1000 ** 3 };

/** "500kB/s", "50MB/s", "1.5GB/s", in bytes a second. The letters are as written: Mb would be bits. */
export function parseRate(text: string, flag = '--max-rate'): number {
  const [, digits, unit] = /^(\d{1,6}(?:\.\d{1,3})?)(kB|MB|GB)\/s$/.exec(text.trim()) ?? [];
  const rate = Math.round(Number(digits) * (RATE_UNITS[unit ?? ''] ?? NaN));
  if (rate >= 1) return rate;
  throw usage(`${flag} is not a rate.`, 'Write a number and kB/s, MB/s or GB/s, such as 50MB/s or 500kB/s.');
}

const LEVELS: Readonly<Record<Compression['codec'], { readonly least: number; readonly most: number }>> = {
  gzip: { least: 1, most: 9 },
  zstd: { least: 1, most: 19 },
};

/** "gzip:1" to "gzip:9", "zstd:1" to "zstd:19"; without a level, 1. */
export function parseCompression(text: string, flag = '--compression'): Compression {
  const [, codec, digits = '1'] = /^(gzip|zstd)(?::(\d{1,2}))?$/.exec(text.trim()) ?? [];
  const level = Number(digits);
  if (codec !== 'gzip' && codec !== 'zstd') {
    throw usage(`${flag} is not one that is known.`, 'Use gzip:1 to gzip:9, or zstd:1 to zstd:19.');
  }
  const { least, most } = LEVELS[codec];
  if (level < least || level > most) {
    throw usage(
      `${flag} ${codec} has levels from ${least} to ${most}.`,
      `Use ${codec}:${least} unless space is scarce.`,
    );
  }
  // zstd came to node:zlib with Node 22.15.
  if (codec === 'zstd' && !('createZstdCompress' in zlib)) {
    throw usage(
      `${flag} zstd needs Node 22.15 or newer, and this one is older.`,
      'Use gzip:1, or a newer Node.',
    );
  }
  return { codec, level };
}

function usage(message: string, next: string, details = {}): LifeboatError {
  return new LifeboatError('usage', message, { next, details });
}
