import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, inject, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { jsonLines, type CliResult } from '../cli/run-cli.ts';
import { createDatabase, withClient, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { backupRequest, context, growLog, makeDifferent, startCli, useFolder } from './world.ts';

const run = promisify(execFile);
/** The fixture's database takes 12 MB of it; the log of the backup and its indexes need more than the rest. */
const DISK_MB = 32;
const ROOM_MB = 512;
const LOG_ROWS = 100_000;

const folder = useFolder();

beforeAll(async () => {
  const source = await createDatabase();
  await withClient(source.url, (client) => growLog(client, LOG_ROWS));
  await backup(context(createLocalStorage(folder.path('storage'))), backupRequest(source));
  await source.drop();
});

// A real file system that is full, not a server that says so: what the server does after its error is part of the test.
test.for(['shadow', 'in-place'])(
  "the server's disk gets full in a restore (%s): said so, the target as it was, and with space it works",
  { timeout: 120_000 },
  async (via, { skip }) => {
    const disk = await smallDisk();
    if (!disk) return skip('mounting a small file system needs root, and the server on this machine');
    const target = await createDatabase();
    try {
      await withClient(target.url, makeDifferent);
      await moveTo(target, disk.tablespace);
      const before = await withClient(target.url, databaseFingerprint);

      const full = await restore(target, via);
      expect(full.code, full.stderr).toBe(1);
      const { error } = jsonLines(full.stdout).summary as { error?: { message: string; next: string } };
      expect(error?.message).toMatch(/The disk of the database server is full/);
      expect(error?.next).toMatch(/Nothing was committed.*space/);
      // No shadow is left either: a fingerprint holds every schema.
      expect(await withClient(target.url, databaseFingerprint)).toEqual(before);

      await run('mount', ['-o', `remount,size=${ROOM_MB}m`, disk.path]);
      const next = await restore(target, via);
      expect(next.code, next.stderr).toBe(0);
    } finally {
      await target.drop();
      await disk.remove();
    }
  },
);

function restore(target: TestDatabase, via: string): Promise<CliResult> {
  const env = { LIFEBOAT_AIRFLOW: target.url, LIFEBOAT_STORAGE: folder.path('storage') };
  return startCli(['restore', 'latest', '--clean', '--ignore-running', '--via', via, '--yes'], env).ended;
}

interface Disk {
  readonly path: string;
  readonly tablespace: string;
  remove(): Promise<void>;
}

/** A file system of DISK_MB, in memory, as a tablespace of the server of the tests. */
async function smallDisk(): Promise<Disk | undefined> {
  const data = await onServer(async (query) => {
    const { rows } = await query('SHOW data_directory');
    return String(rows[0]?.data_directory);
  });
  const owner = await stat(data).catch(() => undefined);
  if (!owner) return undefined;
  const path = await mkdtemp(join(dirname(data), 'small-disk-'));
  const options = `size=${DISK_MB}m,uid=${owner.uid},gid=${owner.gid},mode=700`;
  try {
    await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]);
  } catch {
    await rm(path, { recursive: true });
    return undefined;
  }
  const tablespace = `small_disk_${path.slice(-6).toLowerCase()}`;
  await onServer((query) => query(`CREATE TABLESPACE ${tablespace} LOCATION '${path}'`));
  return {
    path,
    tablespace,
    async remove() {
      await onServer((query) => query(`DROP TABLESPACE ${tablespace}`));
      await run('umount', [path]);
      await rm(path, { recursive: true });
    },
  };
}

type Query = (sql: string) => Promise<{ readonly rows: readonly Record<string, unknown>[] }>;

function onServer<T>(work: (query: Query) => Promise<T>): Promise<T> {
  return withClient(inject('postgresUrl'), (client) => work((sql) => client.query(sql)));
}

async function moveTo(target: TestDatabase, tablespace: string): Promise<void> {
  await onServer((query) => query(`ALTER DATABASE ${target.name} SET TABLESPACE ${tablespace}`));
}
