import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import { startProxy } from '../helpers/tcp-proxy.ts';
import {
  backupRequest,
  context,
  growLog,
  noSessions,
  serverOf,
  startCli,
  throughPort,
  useFolder,
  type RunningCli,
} from './world.ts';

const GHOST_MS = 10_000;

const folder = useFolder();
let target: TestDatabase;
let observer: pg.Client;
let untouched: DatabaseFingerprint;

beforeAll(async () => {
  target = await createDatabase();
  observer = await target.client();
  await growLog(observer, 10_000);
  await backup(context(createLocalStorage(folder.path('storage'))), backupRequest(target));
  untouched = await databaseFingerprint(observer);
});
afterAll(() => target.drop());

function startDrill(url: string): RunningCli {
  return startCli(['drill', 'latest'], {
    LIFEBOAT_AIRFLOW: url,
    LIFEBOAT_STORAGE: folder.path('storage'),
  });
}

async function schemas(): Promise<number> {
  const { rowCount } = await observer.query(`SELECT FROM pg_namespace WHERE nspname LIKE 'lifeboat%'`);
  return rowCount ?? 0;
}

test.each(['CREATE UNIQUE INDEX', 'lifeboat_kept_runs', 'confmatchtype'])(
  'kill -9 before the server gets %j leaves a schema, which the next drill removes',
  { timeout: 60_000 },
  async (text) => {
    await killAtStatement(text);
    await noSessions(observer, target, GHOST_MS);
    expect(await schemas()).toBe(1);
    const found = await databaseFingerprint(observer);
    const ours = ([name]: readonly [string, string]): boolean => !name.startsWith('lifeboat_');
    expect(Object.fromEntries(Object.entries(found.tables).filter(ours))).toEqual(untouched.tables);
    expect(found.sequences).toEqual(untouched.sequences);
    const { code, stderr } = await startDrill(target.url).ended;
    expect(code, stderr).toBe(0);
    expect(await databaseFingerprint(observer)).toEqual(untouched);
  },
);

test('SIGTERM: exit 130, no schema left, and nothing is stored of it', async () => {
  const run = startDrill(target.url);
  run.onLine((line) => {
    if (line.event === 'table' && line.table === 'task_instance') run.kill('SIGTERM');
  });
  const { code, stderr } = await run.ended;
  expect(code, stderr).toBe(130);
  await noSessions(observer, target, 1000);
  expect(await databaseFingerprint(observer)).toEqual(untouched);
});

async function killAtStatement(text: string): Promise<void> {
  let sent = false;
  const proxy = await startProxy(serverOf(target.url), (direction, chunk) => {
    if (direction === 'to-client' || sent) return sent ? 'drop' : 'pass';
    if (!chunk.includes(text)) return 'pass';
    sent = true;
    run.kill('SIGKILL');
    return 'drop';
  });
  const run = startDrill(throughPort(target.url, proxy.port));
  const { signal, stdout } = await run.ended;
  await proxy.close();
  expect(sent, 'this statement was never sent').toBe(true);
  expect(signal).toBe('SIGKILL');
  expect(stdout).not.toContain('"event":"summary"');
}
