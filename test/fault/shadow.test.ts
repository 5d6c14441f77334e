import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { copyDatabase, createDatabase, withClient, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint, withoutShadows, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import { startProxy } from '../helpers/tcp-proxy.ts';
import {
  backupRequest,
  context,
  growLog,
  makeDifferent,
  noSessions,
  serverOf,
  startCli,
  throughPort,
  useFolder,
  type RunningCli,
} from './world.ts';

/** Under load a server needs longer than the 2 s of client_connection_check_interval to miss a client. */
const GHOST_MS = 10_000;

const folder = useFolder();
let pristine: TestDatabase;
let target: TestDatabase;
let observer: pg.Client;
let untouched: DatabaseFingerprint;
let restored: DatabaseFingerprint;

beforeAll(async () => {
  const source = await createDatabase();
  await withClient(source.url, (client) => growLog(client, 10_000));
  await backup(context(createLocalStorage(folder.path('storage'))), backupRequest(source));
  await source.drop();
  pristine = await createDatabase();
  await withClient(pristine.url, makeDifferent);
  const reference = await copyDatabase(pristine);
  untouched = await withClient(reference.url, databaseFingerprint);
  expect((await startRestore(reference.url, 'in-place').ended).code).toBe(0);
  restored = await withClient(reference.url, databaseFingerprint);
  await reference.drop();
});
afterAll(() => pristine.drop());
beforeEach(async () => {
  target = await copyDatabase(pristine);
  observer = await target.client();
  return () => target.drop();
});

describe('kill -9 of a restore via shadow leaves the live tables as they were, and the next try just works', () => {
  test.each([
    'CREATE SCHEMA "lifeboat_',
    'FREEZE',
    'CREATE UNIQUE INDEX',
    'USING INDEX',
    'VALIDATE CONSTRAINT',
    'IN SHARE UPDATE EXCLUSIVE MODE',
    'IN ACCESS EXCLUSIVE MODE',
    'OWNED BY NONE',
    'txid_current',
  ])('before the server gets %j', async (text) => {
    await killAtStatement(text);
    await noSessions(observer, target, GHOST_MS);
    expect(withoutShadows(await databaseFingerprint(observer))).toEqual(untouched);
    await tryAgain();
  });
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s while it loads: exit 130, and no schema left',
  async (signal) => {
    const run = startRestore(target.url);
    run.onLine((line) => {
      if (line.event === 'table' && line.table === 'task_instance') run.kill(signal);
    });
    const { code, stderr } = await run.ended;
    expect(code, stderr).toBe(130);
    await noSessions(observer, target, 1000);
    expect(await databaseFingerprint(observer)).toEqual(untouched);
  },
);

function startRestore(url: string, via = 'shadow'): RunningCli {
  const env = { LIFEBOAT_AIRFLOW: url, LIFEBOAT_STORAGE: folder.path('storage') };
  return startCli(['restore', 'latest', '--clean', '--ignore-running', '--via', via, '--yes'], env);
}

async function tryAgain(): Promise<void> {
  const result = await startRestore(target.url).ended;
  expect(result.code, result.stderr).toBe(0);
  expect(await databaseFingerprint(observer)).toEqual(restored);
}

async function killAtStatement(text: string): Promise<void> {
  let sent = false;
  const proxy = await startProxy(serverOf(target.url), (direction, chunk) => {
    if (direction === 'to-client' || sent) return sent ? 'drop' : 'pass';
    if (!chunk.includes(text)) return 'pass';
    sent = true;
    run.kill('SIGKILL');
    return 'drop';
  });
  const run = startRestore(throughPort(target.url, proxy.port));
  const { signal, stdout } = await run.ended;
  await proxy.close();
  expect(sent, 'this statement was never sent').toBe(true);
  expect(signal).toBe('SIGKILL');
  expect(stdout).not.toContain('"event":"summary"');
}
