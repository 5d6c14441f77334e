import zlib from 'node:zlib';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import {
  parseCompression,
  parseDuration,
  parseRate,
  resolveEnvironment,
  resolveFernetKeys,
  resolveStorageUrl,
} from '../../src/config.ts';

type Env = Readonly<Record<string, string>>;

const FLAG = 'postgresql://flag:pw@flag/db';
const OWN = 'postgresql://own:pw@own/db';
const AIRFLOW = 'postgresql+psycopg2://airflow:pw@airflow/db';
const MWAA: Env = {
  MWAA__DB__CREDENTIALS: '{"username":"admin user","password":"p@ss/w:rd?#%"}',
  MWAA__DB__POSTGRES_HOST: 'mwaa.example',
  MWAA__DB__POSTGRES_PORT: '5433',
  MWAA__DB__POSTGRES_DB: 'AirflowMetadata',
  MWAA__DB__POSTGRES_SSLMODE: 'require',
};
const LEGACY_MWAA: Env = {
  DB_SECRETS: '{"username":"old","password":"pw"}',
  POSTGRES_HOST: 'old.example',
  POSTGRES_PORT: '5432',
  POSTGRES_DB: 'AirflowMetadata',
  SSL_MODE: 'prefer',
};

describe('which environment', () => {
  const everything: Env = {
    ...LEGACY_MWAA,
    ...MWAA,
    AIRFLOW__CORE__SQL_ALCHEMY_CONN: 'postgresql://core@core/db',
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: AIRFLOW,
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD: 'cat /secret',
    LIFEBOAT_AIRFLOW: OWN,
  };
  const without = (...names: readonly string[]): Env =>
    Object.fromEntries(Object.entries(everything).filter(([name]) => !names.includes(name)));

  it('is the flag, else our variable, else what Airflow and MWAA set', () => {
    expect(resolveEnvironment({ airflow: FLAG }, everything).host).toBe('flag');
    expect(resolveEnvironment({}, everything).host).toBe('own');
    expect(resolveEnvironment({}, { ...everything, LIFEBOAT_AIRFLOW: ' ' }).host).toBe('airflow');
    const names = ['LIFEBOAT_AIRFLOW', 'AIRFLOW__DATABASE__SQL_ALCHEMY_CONN'];
    expect(resolveEnvironment({}, without(...names)).host).toBe('core');
    names.push('AIRFLOW__CORE__SQL_ALCHEMY_CONN', 'AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD');
    expect(resolveEnvironment({}, without(...names)).host).toBe('mwaa.example');
    expect(resolveEnvironment({}, LEGACY_MWAA).host).toBe('old.example');
  });

  it("takes MWAA's variables apart, odd characters included", () => {
    expect(resolveEnvironment({}, MWAA)).toMatchObject({
      user: 'admin user',
      password: 'p@ss/w:rd?#%',
      port: 5433,
      database: 'AirflowMetadata',
      tls: [{ rejectUnauthorized: false }],
    });
    expect(resolveEnvironment({}, LEGACY_MWAA).tls).toHaveLength(2);
  });

  it("takes the schema from the flag, else from Airflow's setting, else public", () => {
    const env = { LIFEBOAT_AIRFLOW: OWN, AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA: 'af' };
    expect(resolveEnvironment({ schema: 'mine' }, env).schema).toBe('mine');
    expect(resolveEnvironment({}, env).schema).toBe('af');
    expect(resolveEnvironment({}, { LIFEBOAT_AIRFLOW: OWN }).schema).toBe('public');
  });

  it("expands variables in Airflow's own setting only, as Airflow does", () => {
    const url = 'postgresql://me:${DB_PASSWORD}@$DB_HOST/db?application_name=$UNKNOWN';
    const env = { DB_PASSWORD: 'secret', DB_HOST: '$INNER', INNER: 'inner', LOOP: '$LOOP' };
    const target = resolveEnvironment({}, { ...env, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: url });
    expect(target).toMatchObject({ password: 'secret', host: 'inner' });
    expect(resolveEnvironment({ airflow: 'postgresql://me:a$LOOP@h/db' }, env).password).toBe('a$LOOP');
    const endless = { ...env, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: 'postgresql://me:$LOOP@h/db' };
    expect(resolveEnvironment({}, endless).password).toBe('$LOOP');
  });

  it.each<[string, Env, RegExp]>([
    ['nothing', {}, /No Airflow environment is named/],
    ['a command', { AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD: 'cat hunter2' }, /_CMD is set/],
    ['a secret', { AIRFLOW__CORE__SQL_ALCHEMY_CONN_SECRET: 'hunter2' }, /CORE.*_SECRET is set/],
    ['IAM tokens', { ...MWAA, USE_IAM_CREDENTIALS: 'true' }, /USE_IAM_CREDENTIALS/],
    [
      "IAM tokens in Airflow's setting",
      { AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: `${AIRFLOW}?sslmode=require`, USE_IAM_CREDENTIALS: 'True' },
      /USE_IAM_CREDENTIALS/,
    ],
    [
      'credentials that are no JSON',
      { ...MWAA, MWAA__DB__CREDENTIALS: 'hunter2' },
      /CREDENTIALS is not JSON/,
    ],
    [
      'credentials without a user',
      { ...MWAA, MWAA__DB__CREDENTIALS: '{"password":"hunter2"}' },
      /no username/,
    ],
    ['no host', { MWAA__DB__CREDENTIALS: '{"username":"u","password":"hunter2"}' }, /POSTGRES_HOST/],
    [
      'a hidden database',
      { AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: 'airflow-db-not-allowed:///' },
      /Airflow 3 hides/,
    ],
    ['a bad URL', { LIFEBOAT_AIRFLOW: 'postgresql://me:hun@ter2hunter2@h/d' }, /\(from LIFEBOAT_AIRFLOW\)/],
  ])('says what is wrong with %s', (_what, env, message) => {
    const thrown = thrownBy(() => resolveEnvironment({}, env));
    expect(thrown).toMatchObject({ kind: 'usage' });
    expect(thrown.message).toMatch(message);
    expect(thrown).toHaveProperty('next', expect.stringMatching(/\S/));
    expect(inspect(thrown, { depth: 5 })).not.toMatch(/hunter2|ter2/);
  });

  it('uses static credentials where IAM is on and no proxy is in the way', () => {
    const env = { ...MWAA, MWAA__DB__POSTGRES_SSLMODE: 'prefer', USE_IAM_CREDENTIALS: 'true' };
    expect(resolveEnvironment({}, env).user).toBe('admin user');
  });
});

describe('storage and keys', () => {
  const key = 'BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY=';
  const other = 'Dg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0=';

  it('takes the storage from the flag, else from the variable', () => {
    expect(resolveStorageUrl({ storage: './a' }, { LIFEBOAT_STORAGE: './b' })).toBe('./a');
    expect(resolveStorageUrl({}, { LIFEBOAT_STORAGE: './b' })).toBe('./b');
    expect(() => resolveStorageUrl({}, {})).toThrow(/No storage/);
  });

  it('takes the Fernet keys from the first variable that is set', () => {
    const mwaa = { MWAA__CORE__FERNET_KEY: JSON.stringify({ FernetKey: key }) };
    expect(resolveFernetKeys({})).toEqual([]);
    expect(resolveFernetKeys(mwaa)).toEqual([key]);
    expect(resolveFernetKeys({ ...mwaa, AIRFLOW__CORE__FERNET_KEY: `${other},${key}` })).toEqual([
      other,
      key,
    ]);
    expect(resolveFernetKeys({ LIFEBOAT_FERNET_KEY: key, AIRFLOW__CORE__FERNET_KEY: other })).toEqual([key]);
    expect(resolveFernetKeys({ LIFEBOAT_FERNET_KEY: '', AIRFLOW__CORE__FERNET_KEY: other })).toEqual([]);
    expect(resolveFernetKeys({ MWAA__CORE__FERNET_KEY: '' })).toEqual([]);
  });

  it.each([
    { LIFEBOAT_FERNET_KEY: 'hunter2' },
    { MWAA__CORE__FERNET_KEY: 'hunter2' },
    { MWAA__CORE__FERNET_KEY: '{"FernetKey": "hunter2"}' },
    { MWAA__CORE__FERNET_KEY: '{"Other": "hunter2"}' },
    { MWAA__CORE__FERNET_KEY: 'null' },
  ])('names the variable of a bad key and shows none of it (%#)', (env) => {
    const thrown = thrownBy(() => resolveFernetKeys(env));
    expect(thrown).toMatchObject({ kind: 'usage' });
    expect(thrown.message).toContain(Object.keys(env)[0]);
    expect(inspect(thrown, { depth: 5 })).not.toContain('hunter2');
  });
});

describe('values of flags', () => {
  it('reads durations', () => {
    expect(parseDuration('30d')).toBe(30 * 86_400_000);
    expect(parseDuration('12h')).toBe(12 * 3_600_000);
    expect(parseDuration(' 90m ')).toBe(90 * 60_000);
    expect(parseDuration('45s')).toBe(45_000);
    expect(parseDuration('2w')).toBe(14 * 86_400_000);
    for (const bad of ['', '30', 'd', '-1d', '0d', '1.5h', '30 d', '30D', '999999999999d', '1y']) {
      expect(() => parseDuration(bad, '--keep-within'), bad).toThrow('--keep-within');
    }
  });

  it('reads rates in decimal units, and no others', () => {
    expect(parseRate('500kB/s')).toBe(500_000);
    expect(parseRate(' 50MB/s ')).toBe(50_000_000);
    expect(parseRate('1.5GB/s')).toBe(1_500_000_000);
    for (const bad of [
      '',
      '50',
      '50MB',
      '50 MB/s',
      '50MiB/s',
      '50Mb/s',
      '0MB/s',
      '-1MB/s',
      '1e3kB/s',
      'fast',
    ]) {
      expect(() => parseRate(bad), bad).toThrow(/--max-rate is not a rate/);
    }
  });

  it('reads compressions', () => {
    expect(parseCompression('gzip:1')).toEqual({ codec: 'gzip', level: 1 });
    expect(parseCompression('gzip')).toEqual({ codec: 'gzip', level: 1 });
    expect(parseCompression('gzip:9')).toEqual({ codec: 'gzip', level: 9 });
    for (const bad of ['', 'gzip:0', 'gzip:10', 'gzip:x', 'lz4', 'zstd:20', 'gzip:1:1']) {
      expect(() => parseCompression(bad), bad).toThrow('--compression');
    }
  });

  it('takes zstd where node:zlib has it, and says which Node has', () => {
    if ('createZstdCompress' in zlib) expect(parseCompression('zstd:3')).toEqual({ codec: 'zstd', level: 3 });
    else expect(() => parseCompression('zstd:3')).toThrow(/Node 22\.15/);
  });
});

function thrownBy(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('nothing was thrown');
}
