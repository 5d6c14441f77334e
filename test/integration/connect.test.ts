import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { inspect } from 'node:util';
import type { Client } from 'pg';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { openClient, withClient } from '../../src/db/connect.ts';
import { pinnedSettings, readServer } from '../../src/db/settings.ts';
import type { DatabaseTarget } from '../../src/db/target.ts';
import { parseAirflowUrl } from '../../src/db/url.ts';
import { LifeboatError } from '../../src/errors.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { startProxy } from '../helpers/tcp-proxy.ts';

let database: TestDatabase;
let target: DatabaseTarget;

beforeEach(async () => {
  database = await createDatabase({ from: 'empty' });
  target = parseAirflowUrl(database.url, {});
});

/** The test's database under another URL. */
function at(change: (url: URL) => void): DatabaseTarget {
  const url = new URL(database.url);
  change(url);
  return parseAirflowUrl(url.href, {});
}

const nothing = (): Promise<void> => Promise.resolve();
const named = (applicationName: string) => ({ applicationName });

describe('a connection', () => {
  it('shows its name, speaks, and is gone afterwards, whatever happened', async () => {
    const name = await withClient(target, named('lifeboat here'), (client) =>
      show(client, 'application_name'),
    );
    expect(name).toBe('lifeboat here');
    const failing = withClient(target, named('lifeboat here'), () => Promise.reject(new Error('mine')));
    await expect(failing).rejects.toThrow('mine');
    const broken = withClient(target, named('lifeboat here'), async (client) => {
      await client.query('BEGIN');
      await client.query('SELECT * FROM no_such_table');
    });
    await expect(broken).rejects.toMatchObject({ name: 'LifeboatError', details: { sqlstate: '42P01' } });
    await expect.poll(() => sessions('lifeboat here')).toBe(0);
  });

  it('hands notices on', async () => {
    const notices: string[] = [];
    const onNotice = (message: string): void => void notices.push(message);
    await withClient(target, { ...named('x'), onNotice }, (client) =>
      client.query(`DO $$BEGIN RAISE NOTICE 'hello'; END$$`),
    );
    expect(notices).toEqual(['hello']);
  });

  it("is made as the target says, not as libpq's variables of the process say", async () => {
    vi.stubEnv('PGOPTIONS', '-c statement_timeout=77');
    vi.stubEnv('PGPASSWORD', new URL(database.url).password);
    vi.stubEnv('PGSSLNEGOTIATION', 'direct');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(await withClient(target, named('x'), (client) => show(client, 'statement_timeout'))).toBe('0');
    const own = at((url) => {
      url.searchParams.set('options', '-c statement_timeout=88');
    });
    expect(await withClient(own, named('x'), (client) => show(client, 'statement_timeout'))).toBe('88ms');
    const withoutPassword = at((url) => void (url.password = ''));
    await expect(withClient(withoutPassword, named('x'), nothing)).rejects.toThrow(/none is known/);
  });

  it('is to the kind of server that target_session_attrs names', async () => {
    const as = (kind: string) =>
      at((url) => {
        url.searchParams.set('target_session_attrs', kind);
      });
    for (const kind of ['any', 'read-write', 'primary', 'prefer-standby']) {
      await withClient(as(kind), named('x'), nothing);
    }
    for (const kind of ['standby', 'read-only']) {
      await expect(withClient(as(kind), named('x'), nothing)).rejects.toThrow(`is not ${kind}`);
    }
  });
});

describe('a connection that cannot be made', () => {
  it.each<[string, (url: URL) => void, RegExp]>([
    ['wrong password', (url) => void (url.password = 'hunter2wrong'), /does not accept the password/],
    ['no such user', (url) => void (url.username = 'nobody_here'), /does not accept the password/],
    ['no such database', (url) => void (url.pathname = '/no_such_db'), /no such database .*no_such_db/],
    ['unknown host', (url) => void (url.hostname = 'no-such-host.invalid'), /host name/],
    [
      'no socket',
      (url) => {
        url.searchParams.set('host', '/no/such/dir');
      },
      /no socket file/,
    ],
  ])('%s', async (_what, change, message) => {
    const refused = at(change);
    const thrown: unknown = await withClient(refused, named('x'), nothing).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ name: 'LifeboatError', kind: 'failed' });
    expect((thrown as LifeboatError).message).toMatch(message);
    expect((thrown as LifeboatError).next).toMatch(/\S/);
    const shown = inspect(thrown, { depth: 10, showHidden: true });
    expect(shown).not.toContain('hunter2');
    expect(shown).not.toContain(new URL(database.url).password);
  });

  it('no free connection', async () => {
    await withClient(target, named('x'), async (client) => {
      const role = `crowded_${database.name}`;
      await client.query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw' CONNECTION LIMIT 0`);
      try {
        const crowded = at((url) => {
          url.username = role;
          url.password = 'pw';
        });
        await expect(withClient(crowded, named('x'), nothing)).rejects.toThrow(/no free connection/);
      } finally {
        await client.query(`DROP ROLE ${role}`);
      }
    });
  });

  it.each(['disable', 'prefer', 'allow', 'require'])(
    'a port where nothing listens, sslmode=%s',
    async (mode) => {
      const closed = await listen(() => undefined);
      const { port } = closed.address() as AddressInfo;
      await new Promise((resolve) => closed.close(resolve));
      await expect(connectTo(port, mode)).rejects.toThrow(/nothing listens there/);
    },
  );

  it('a server that stays silent, in every sslmode', async () => {
    const silent = await listen(() => undefined);
    const { port } = silent.address() as AddressInfo;
    const started = performance.now();
    await Promise.all(
      ['disable', 'prefer', 'allow', 'require'].map((mode) =>
        expect(connectTo(port, mode), mode).rejects.toThrow(/no answer within 2 s/),
      ),
    );
    expect(performance.now() - started).toBeLessThan(3000);
  });

  it.each(['disable', 'prefer', 'allow', 'require'])('a server that hangs up, sslmode=%s', async (mode) => {
    const rude = await listen((socket) => void socket.end());
    await expect(connectTo((rude.address() as AddressInfo).port, mode)).rejects.toThrow(
      /Postgres|closed|reset/,
    );
  });

  it.each(['disable', 'prefer', 'require'])('a web server, sslmode=%s', async (mode) => {
    const web = await listen((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    });
    const thrown: unknown = await connectTo((web.address() as AddressInfo).port, mode).catch(
      (e: unknown) => e,
    );
    expect(thrown).toMatchObject({ name: 'LifeboatError', kind: 'failed' });
  });

  it('takes no clear bytes behind the yes to TLS for encrypted ones', async () => {
    const injecting = await listen((socket) => void socket.once('data', () => socket.write('Sand more')));
    const thrown: unknown = await connectTo((injecting.address() as AddressInfo).port, 'require').catch(
      (e: unknown) => e,
    );
    expect((thrown as LifeboatError).message).toMatch(/does not answer as Postgres does/);
  });
});

describe('an abort', () => {
  it.each([['straight', false] as const, ['through a proxy', true] as const])(
    'cancels what runs, rolls back and frees the session: %s',
    async (_how, proxied) => {
      const abort = new AbortController();
      const proxy = await startProxy({ port: target.port });
      onTestFinished(() => proxy.close());
      const options = { ...named('lifeboat aborted'), signal: abort.signal };
      await withClient(target, named('x'), (client) => client.query('CREATE TABLE t (a int)'));
      const running = withClient(
        proxied ? { ...target, port: proxy.port } : target,
        options,
        async (client) => {
          await client.query('BEGIN');
          await client.query('INSERT INTO t VALUES (1)');
          // Computes without a pause: the server would not notice a closed socket until it is done.
          await client.query('SELECT count(*) FROM generate_series(1, 3000000000)');
        },
      );
      await expect.poll(() => sessions('lifeboat aborted', 'active')).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 200));
      const started = performance.now();
      abort.abort();
      await expect(running).rejects.toMatchObject({ name: 'LifeboatError', kind: 'interrupted' });
      await expect.poll(() => sessions('lifeboat aborted')).toBe(0);
      expect(performance.now() - started).toBeLessThan(3000);
      const rows = await withClient(target, named('x'), (client) => client.query('SELECT * FROM t'));
      expect(rows.rowCount).toBe(0);
    },
  );

  it('passes its reason on, when it is one of ours', async () => {
    const abort = new AbortController();
    const running = withClient(target, { ...named('x'), signal: abort.signal }, (client) =>
      client.query('SELECT pg_sleep(30)'),
    );
    setTimeout(() => {
      abort.abort(new LifeboatError('integrity', 'another worker failed'));
    }, 200);
    await expect(running).rejects.toMatchObject({ kind: 'integrity', message: 'another worker failed' });
  });

  it('ends a connection in the making', async () => {
    const silent = await listen(() => undefined);
    const { port } = silent.address() as AddressInfo;
    const signal = AbortSignal.timeout(100);
    const started = performance.now();
    await expect(connectTo(port, 'disable', signal)).rejects.toMatchObject({ kind: 'interrupted' });
    await expect(connectTo(port, 'disable', AbortSignal.abort())).rejects.toMatchObject({
      kind: 'interrupted',
    });
    expect(performance.now() - started).toBeLessThan(1500);
  });
});

describe('a connection that is lost', () => {
  it('tells why the server ended it', async () => {
    const lost = withClient(target, named('lifeboat victim'), (client) =>
      client.query('SELECT pg_sleep(30)'),
    );
    await Promise.all([
      expect(lost).rejects.toThrow(/administrator ended the session/),
      terminate('lifeboat victim'),
    ]);
  });

  it('while idle is told once, and to whoever asks next', async () => {
    const told: LifeboatError[] = [];
    const onLost = (error: LifeboatError): void => void told.push(error);
    const open = await openClient(target, { ...named('lifeboat victim'), onLost });
    await terminate('lifeboat victim');
    await expect.poll(() => told.length).toBe(1);
    expect(open.lost()).toBe(told[0]);
    const failure: unknown = await open.client.query('SELECT 1').catch((error: unknown) => error);
    expect(open.explain(failure)).toBe(told[0]);
    await open.close();
    await open.close();
    expect(told).toHaveLength(1);
  });

  it.each([['cut', /was lost/] as const, ['end', /was lost/] as const])(
    'rejects what is pending: %s',
    async (how, message) => {
      const proxy = await startProxy({ port: target.port });
      onTestFinished(() => proxy.close());
      const pending = withClient({ ...target, port: proxy.port }, named('lifeboat cut'), async (client) => {
        setTimeout(() => {
          if (how === 'cut') proxy.cut();
          else void proxy.close();
        }, 200);
        await client.query('SELECT pg_sleep(30)');
      });
      await expect(pending).rejects.toMatchObject({
        name: 'LifeboatError',
        message: expect.stringMatching(message) as string,
      });
    },
  );

  it("leaves an error of the work's own alone", async () => {
    const own = new LifeboatError('integrity', 'a part differs');
    const work = withClient(target, named('lifeboat victim'), async () => {
      await terminate('lifeboat victim');
      throw own;
    });
    await expect(work).rejects.toBe(own);
  });
});

describe('pinned settings', () => {
  const HOSTILE: Readonly<Record<string, string>> = {
    datestyle: 'SQL, DMY',
    intervalstyle: 'iso_8601',
    timezone: 'Asia/Kathmandu',
    extra_float_digits: '-5',
    bytea_output: 'escape',
    client_encoding: 'LATIN1',
    statement_timeout: '1min',
    lock_timeout: '1min',
    idle_in_transaction_session_timeout: '1min',
    idle_session_timeout: '1min',
    search_path: 'evil, public',
    standard_conforming_strings: 'off',
  };

  it('hold in the transaction, whatever the role or the database has, and end with it', async () => {
    await withClient(target, named('x'), async (client) => {
      for (const [name, value] of Object.entries(HOSTILE)) {
        const list = name === 'search_path' ? value : `'${value}'`;
        await client.query(`ALTER DATABASE ${database.name} SET ${name} = ${list}`);
      }
    });
    await withClient(target, named('x'), async (client) => {
      const before = await shown(client);
      expect(before).toMatchObject({ TimeZone: 'Asia/Kathmandu', lock_timeout: '1min' });
      const statements = pinnedSettings(await readServer(client));
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await client.query(statements.join('; '));
      expect(await shown(client)).toEqual({
        ...before,
        DateStyle: 'ISO, YMD',
        IntervalStyle: 'postgres',
        TimeZone: 'UTC',
        extra_float_digits: '3',
        bytea_output: 'hex',
        client_encoding: 'UTF8',
        statement_timeout: '0',
        lock_timeout: '0',
        idle_in_transaction_session_timeout: '0',
        idle_session_timeout: '0',
        search_path: 'pg_catalog, pg_temp',
        standard_conforming_strings: 'on',
        row_security: 'off',
        synchronize_seqscans: 'off',
        client_connection_check_interval: '2s',
        tcp_keepalives_idle: '10',
        tcp_keepalives_interval: '5',
        tcp_keepalives_count: '6',
      });
      await client.query('COMMIT');
      expect(await shown(client)).toEqual(before);
    });
  });

  it('may come before a snapshot is joined', async () => {
    await withClient(target, named('x'), async (first) => {
      const statements = pinnedSettings(await readServer(first));
      await first.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      const { rows } = await first.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
      await withClient(target, named('x'), async (second) => {
        await second.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
        for (const statement of statements) await second.query(statement);
        await second.query(`SET TRANSACTION SNAPSHOT '${rows[0]?.id ?? ''}'`);
      });
    });
  });

  it('are those that the server knows', () => {
    const old = pinnedSettings({ versionNum: 120_000, checksClient: false }).join(';');
    expect(old).not.toMatch(/idle_session_timeout|transaction_timeout|client_connection_check_interval/);
    expect(pinnedSettings({ versionNum: 170_000, checksClient: true }).join(';')).toMatch(
      / transaction_timeout/,
    );
  });
});

async function show(client: Client, name: string): Promise<string | undefined> {
  const { rows } = await client.query<{ value: string }>('SELECT current_setting($1) AS value', [name]);
  return rows[0]?.value;
}

/** Every setting that this session has, by name. */
async function shown(client: Client): Promise<Readonly<Record<string, string>>> {
  const { rows } = await client.query<{ name: string; setting: string }>('SHOW ALL');
  // Both differ with the transaction itself.
  const moving = ['transaction_isolation', 'transaction_read_only'];
  return Object.fromEntries(
    rows.filter(({ name }) => !moving.includes(name)).map(({ name, setting }) => [name, setting]),
  );
}

async function sessions(applicationName: string, state = ''): Promise<number> {
  return withClient(target, named('x'), async (client) => {
    const { rowCount } = await client.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 AND ($2 = '' OR state = $2)`,
      [applicationName, state],
    );
    return rowCount ?? 0;
  });
}

async function terminate(applicationName: string): Promise<void> {
  await expect.poll(() => sessions(applicationName)).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await withClient(target, named('x'), (client) =>
    client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`,
      [applicationName],
    ),
  );
}

async function listen(onConnection: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server;
}

async function connectTo(port: number, sslmode: string, signal?: AbortSignal): Promise<void> {
  const url = `postgresql://u:pw@127.0.0.1:${port}/d?sslmode=${sslmode}&connect_timeout=2`;
  const options = { ...named('x'), ...(signal === undefined ? {} : { signal }) };
  await withClient(parseAirflowUrl(url, {}), options, nothing);
}
