import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { parseAirflowUrl } from '../../src/db/url.ts';

const home = mkdtempSync(join(tmpdir(), 'lifeboat-url-'));
afterAll(() => {
  rmSync(home, { recursive: true });
});

const parse = (url: string, env: Record<string, string> = {}): ReturnType<typeof parseAirflowUrl> =>
  parseAirflowUrl(url, env);

describe('forms that Airflow and libpq accept', () => {
  const plain = { user: 'me', password: 'pw', host: 'db', port: 5432, database: 'airflow' };

  it.each([
    ['postgresql://me:pw@db:5432/airflow', plain],
    ['postgres://me:pw@db/airflow', plain],
    ['POSTGRESQL://me:pw@db/airflow', plain],
    [' postgresql+psycopg2://me:pw@db/airflow\n', plain],
    ['postgresql+psycopg://me:pw@db/airflow', plain],
    ['postgresql+asyncpg://me:pw@db/airflow?prepared_statement_cache_size=0', plain],
    ['postgresql://db/airflow?user=me&password=pw', plain],
    ['postgresql://other:other@other:1/other?user=me&password=pw&host=db&port=5432&dbname=airflow', plain],
    ['postgresql://me:pw@db:6432/a%20b', { ...plain, port: 6432, database: 'a b' }],
    ['postgresql://me:pw@db', { ...plain, database: 'me' }],
    ['postgresql://me:pw@[2001:db8::1]:6432/airflow', { ...plain, host: '2001:db8::1', port: 6432 }],
    ['postgresql://me:pw@/airflow?host=/var/run/pg', { ...plain, host: '/var/run/pg' }],
    ['postgresql://me:pw@%2Fvar%2Frun%2Fpg/airflow', { ...plain, host: '/var/run/pg' }],
    ['postgresql://me:pw@db/airflow?hostaddr=10.0.0.7', { ...plain, host: '10.0.0.7' }],
    // As SQLAlchemy splits it: only @ must be encoded.
    ['postgresql://me:p/w?x#y:z@db/airflow', { ...plain, password: 'p/w?x#y:z' }],
    ['postgresql://me:p%40w%25%2f@db/airflow', { ...plain, password: 'p@w%/' }],
    ['postgresql://me:100%@db/airflow', { ...plain, password: '100%' }],
    ['postgresql://me:a+b@db/airflow', { ...plain, password: 'a+b' }],
    ['postgresql://m%C3%A9:p%C3%A4ss%F0%9F%9A%80@db/airflow', { ...plain, user: 'mé', password: 'päss🚀' }],
    ['postgresql://me@server:pw@db/airflow', { ...plain, user: 'me@server' }],
  ])('%s', (url, expected) => {
    expect(parse(url)).toMatchObject(expected);
  });

  it('has defaults and a name without secrets', () => {
    const target = parse('postgresql://me:hunter2@db/airflow');
    expect(target).toMatchObject({ schema: 'public', connectTimeoutMs: 10_000, name: 'db:5432/airflow' });
    expect(target).not.toHaveProperty('options');
    expect(parse('postgresql://me@[::1]/airflow').name).toBe('[::1]:5432/airflow');
    expect(parse('postgresql://me@db/x?hostaddr=1.2.3.4').name).toBe('db:5432/x');
  });

  it('reads options, connect_timeout and target_session_attrs', () => {
    const query = 'options=-c%20search_path%3Daf+-c+x%3Dy&connect_timeout=3&target_session_attrs=read-write';
    const target = parse(`postgresql://me@db/x?${query}`);
    expect(target.options).toBe('-c search_path=af -c x=y');
    expect(target.connectTimeoutMs).toBe(3000);
    expect(target.sessionAttributes).toBe('read-write');
    expect(parse('postgresql://me@db/x?target_session_attrs=any')).not.toHaveProperty('sessionAttributes');
    expect(parse('postgresql://me@db/x?connect_timeout=1').connectTimeoutMs).toBe(2000);
    expect(parse('postgresql://me@db/x?connect_timeout=0').connectTimeoutMs).toBe(10_000);
    expect(parse('postgresql://me@db/x', { PGCONNECT_TIMEOUT: '4' }).connectTimeoutMs).toBe(4000);
  });
});

describe('what the environment may add', () => {
  it('a password, but never another host, user or database', () => {
    const env = {
      PGPASSWORD: 'fromenv',
      PGHOST: 'evil',
      PGUSER: 'evil',
      PGDATABASE: 'evil',
      PGPORT: '1',
      PGOPTIONS: '-c x=y',
    };
    expect(parse('postgresql://me@db/airflow', env)).toMatchObject({
      password: 'fromenv',
      host: 'db',
      user: 'me',
      port: 5432,
    });
    expect(parse('postgresql://me@db/airflow', env)).not.toHaveProperty('options');
    expect(parse('postgresql://me:inurl@db/airflow', env).password).toBe('inurl');
    expect(parse('postgresql://me:@db/airflow', env).password).toBe('fromenv');
    expect(parse('postgresql://me@db/airflow')).not.toHaveProperty('password');
  });

  it('~/.pgpass, first match wins, unless others can read it', () => {
    const file = join(home, '.pgpass');
    writeFileSync(
      file,
      '# comment\nother:*:*:*:wrong\ndb:5432:air\\:flow:me:pa\\:ss:w\\\\rd\nlocalhost:*:*:*:socket\n*:*:*:*:last\n',
    );
    chmodSync(file, 0o600);
    const env = { HOME: home };
    expect(parse('postgresql://me@db/air:flow', env).password).toBe('pa:ss:w\\rd');
    expect(parse('postgresql://me@elsewhere/x', env).password).toBe('last');
    expect(parse('postgresql://me@/x?host=/tmp', env).password).toBe('socket');
    expect(parse('postgresql://me@db/x', { PGPASSFILE: file }).password).toBe('last');
    expect(parse(`postgresql://me@db/x?passfile=${file}`).password).toBe('last');
    chmodSync(file, 0o644);
    expect(parse('postgresql://me@db/x', env)).not.toHaveProperty('password');
  });
});

describe('sslmode', () => {
  const tls = (query: string, env: Record<string, string> = {}) =>
    parse(`postgresql://me@db.example/x?${query}`, env).tls;
  const loose = { rejectUnauthorized: false, servername: 'db.example', minVersion: 'TLSv1.2' };

  it('tries what libpq tries, and verifies nothing without a root certificate', () => {
    expect(tls('sslmode=disable')).toEqual([false]);
    expect(tls('sslmode=allow')).toMatchObject([false, loose]);
    expect(tls('')).toMatchObject([loose, false]);
    expect(tls('sslmode=prefer')).toMatchObject([loose, false]);
    expect(tls('sslmode=require')).toMatchObject([loose]);
    expect(tls('', { PGSSLMODE: 'require' })).toMatchObject([loose]);
    expect(tls('sslmode=disable', { PGSSLMODE: 'require' })).toEqual([false]);
    expect(parse('postgresql+asyncpg://me@db.example/x?ssl=require').tls).toMatchObject([loose]);
  });

  it('verifies the chain when there is a root certificate, and the name with verify-full', () => {
    const root = join(home, 'root.pem');
    writeFileSync(root, 'a certificate');
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      const [attempt] = tls(`sslmode=${mode}&sslrootcert=${root}`);
      expect(attempt).toMatchObject({ rejectUnauthorized: true, ca: ['a certificate'] });
    }
    expect(tls('', { PGSSLROOTCERT: root })).toMatchObject([{ rejectUnauthorized: true }, false]);
    mkdirSync(join(home, '.postgresql'));
    writeFileSync(join(home, '.postgresql', 'root.crt'), 'the default');
    expect(tls('sslmode=require', { HOME: home })).toMatchObject([{ ca: ['the default'] }]);
  });

  it('system roots mean verify-full', () => {
    const [attempt, ...others] = tls('sslrootcert=system');
    expect(others).toEqual([]);
    expect(attempt).toMatchObject({ rejectUnauthorized: true });
    expect(() => tls('sslrootcert=system&sslmode=require')).toThrow(/weaker sslmode/);
  });

  it('uses none on a Unix socket, whatever the mode', () => {
    expect(parse('postgresql://me@/x?host=/tmp&sslmode=verify-full').tls).toEqual([false]);
  });

  it('refuses what would lose the check unseen', () => {
    expect(() => tls('sslmode=verify-ca')).toThrow(/needs a root certificate/);
    expect(() => tls('sslmode=require&sslrootcert=/no/such/file')).toThrow(/cannot be read/);
    expect(() => tls('sslmode=Require')).toThrow(/not one of libpq/);
    expect(() => tls('ssl_min_protocol_version=SSLv3')).toThrow(/not a TLS version/);
  });

  it('takes a client certificate with its key, unless others can read the key', () => {
    const cert = join(home, 'client.crt');
    const key = join(home, 'client.key');
    writeFileSync(cert, 'cert');
    writeFileSync(key, 'key', { mode: 0o600 });
    const query = `sslmode=require&sslcert=${cert}&sslkey=${key}&sslpassword=pp&sslsni=0`;
    expect(tls(query)).toMatchObject([{ cert: 'cert', key: 'key', passphrase: 'pp', servername: '' }]);
    expect(() => tls(`sslmode=require&sslcert=${cert}`)).toThrow(/no private key/);
    chmodSync(key, 0o644);
    expect(() => tls(query)).toThrow(/can be read by others/);
  });
});

describe('what is refused', () => {
  it.each([
    ['mysql://u:hunter2@h/d', /mysql/],
    ['mysql+mysqldb://u:hunter2@h/d', /mysql/],
    ['sqlite:////airflow.db', /sqlite/],
    ['https://u:hunter2@airflow.example', /https:\/\/ names Airflow's REST API/],
    ['mwaa://hunter2?region=eu-west-1', /mwaa:\/\/ names Airflow's REST API/],
    ['airflow-db-not-allowed:///', /Airflow 3 hides/],
    ['hunter2://u@h/d', /scheme/],
    ['me:hunter2@db/airflow', /not a URL/],
    ['/hunter2', /not a URL/],
    ['', /not a URL/],
    ['postgresql:/me:hunter2@db/airflow', /not a URL/],
    ['postgresql://me:hun@ter2@db/airflow', /an @ more/],
    ['postgresql://me:hun@t/er2@db/airflow', /an @ more/],
    ['postgresql://me:hun@t?er2@db/airflow', /an @ more/],
    ['postgresql://me:hun@ter2:x/airflow', /port/],
    ['postgresql://me:hunter2@db:99999/airflow', /port/],
    ['postgresql://me:hun%ff@db/airflow', /not UTF-8/],
    ['postgresql://me:hun\nter2@db/airflow', /control character/],
    ['postgresql://:hunter2@db/airflow', /no user/],
    ['postgresql://me:hunter2@/airflow', /no host/],
    ['postgresql://me:hunter2@a,b/airflow', /several hosts/],
    ['postgresql://me:hunter2@a:1,b:2/airflow', /several hosts/],
    ['postgresql://me:hunter2@/airflow?host=a&host=b', /several hosts/],
    ['postgresql://me:hunter2@db/x?sslmod=require', /parameter sslmod that libpq does not know/],
    ['postgresql://me:hunter2@db/x?constructor=1', /parameter constructor that libpq does not know/],
    ['postgresql://me:hunter2@db/x?ssl=require', /parameter ssl that libpq does not know/],
    ['postgresql://me:hunter2@db/x?sslmode=require&sslmode=disable', /sslmode twice/],
    ['postgresql://me:hunter2@db/x?service=prod', /service files/],
    ['postgresql://me:hunter2@db/x?channel_binding=require', /channel binding/],
    ['postgresql://me:hunter2@db/x?gssencmode=require', /GSSAPI/],
    ['postgresql://me:hunter2@db/x?require_auth=scram-sha-256', /asks for the password/],
    ['postgresql://me:hunter2@db/x?target_session_attrs=master', /target_session_attrs/],
    ['postgresql://me:hunter2@db/x?connect_timeout=soon', /connect_timeout/],
  ])('%s', (url, message) => {
    const thrown = thrownBy(() => parse(url));
    expect(thrown).toMatchObject({ kind: 'usage' });
    expect(thrown).toHaveProperty('next', expect.stringMatching(/\S/));
    expect(thrown.message).toMatch(message);
    // Neither the password nor a piece of it, wherever it slipped to; not in the stack or a cause either.
    const shown = inspect(thrown, { depth: 5 });
    for (const piece of ['hunter2', 'ter2', 'er2']) expect(shown).not.toContain(piece);
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
