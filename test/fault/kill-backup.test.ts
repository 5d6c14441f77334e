import { readdirSync } from 'node:fs';
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listBackups } from '../../src/engine/catalog.ts';
import { backup } from '../../src/engine/backup.ts';
import { verify } from '../../src/engine/verify.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { cli, jsonLines } from '../cli/run-cli.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { startProxy } from '../helpers/tcp-proxy.ts';
import {
  backupRequest,
  context,
  EXHAUSTIVE,
  filesIn,
  growLog,
  noSessions,
  serverOf,
  startCli,
  throughPort,
  useFolder,
  type RunningCli,
} from './world.ts';

const ROWS = 60_000;
/** Lines of a backup: warning or plan, phase, a table each, summary. */
const LINES = EXHAUSTIVE ? range(1, 31) : [1, 2, 3, 6, 12, 20, 27];
const OBJECTS = EXHAUSTIVE ? range(1, 28) : [1, 3, 10, 18, 25];
const SHARES = EXHAUSTIVE ? range(1, 50).map((n) => n / 50) : [0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9];
/** Whether the backup counts is decided at this moment: it may be complete, but never half. */
const MANIFEST_KILLS = EXHAUSTIVE ? 10 : 3;

const folder = useFolder();
let source: TestDatabase;
let earlier: string;
let before: Readonly<Record<string, string>>;
let bytesOfRun: number;

beforeAll(async () => {
  source = await createDatabase();
  await growLog(await source.client(), ROWS);
  const proxy = await startProxy(serverOf(source.url));
  const request = backupRequest({ url: throughPort(source.url, proxy.port) });
  const result = await backup(context(createLocalStorage(folder.path('storage'))), request);
  bytesOfRun = proxy.bytes.toClient;
  await proxy.close();
  earlier = result.backupId;
  before = await filesIn(folder.path('storage'));
});
afterAll(() => source.drop());

describe('kill -9 of a backup', () => {
  test.each([
    ...LINES.map((line) => ({ at: `line ${line} of its output`, trigger: atLine(line) })),
    ...OBJECTS.map((count) => ({ at: `stored object ${count}`, trigger: atObject(count) })),
    ...SHARES.map((share) => ({ at: `${share * 100} % of the bytes read`, trigger: undefined, share })),
  ])('at $at leaves no backup and no harm', async ({ trigger, ...point }) => {
    const share = 'share' in point ? point.share : undefined;
    const proxy = share === undefined ? undefined : await startProxy(serverOf(source.url), tap);
    function tap(): 'pass' {
      if ((proxy?.bytes.toClient ?? 0) >= bytesOfRun * (share ?? 1)) run.kill('SIGKILL');
      return 'pass';
    }
    const run = startBackup(proxy === undefined ? source.url : throughPort(source.url, proxy.port));
    trigger?.(run);
    const { signal } = await run.ended;
    await proxy?.close();
    expect(signal, 'the kill came too late').toBe('SIGKILL');
    expect(await completeIds()).toEqual([earlier]);
    expect(await filesIn(folder.path('storage'))).toMatchObject(before);
  });

  test('while the manifest is written leaves a whole backup or none', async () => {
    let whole = 0;
    for (let n = 1; n <= MANIFEST_KILLS; n++) {
      const run = startBackup(source.url);
      atManifest(run);
      await run.ended;
      const storage = createLocalStorage(folder.path('storage'));
      for (const id of await completeIds()) await verify(context(storage), { backup: id });
      const added = (await completeIds()).filter((id) => id !== earlier);
      whole += added.length;
      for (const id of added) await storage.remove(await keysOf(id));
    }
    expect(await filesIn(folder.path('storage'))).toMatchObject(before);
    console.log(`Killed ${MANIFEST_KILLS} times around the manifest: ${whole} whole backups, none in part.`);
  });

  test('does not stop the next one, which names the remains; prune removes them after a day', async () => {
    const env = { LIFEBOAT_AIRFLOW: source.url, LIFEBOAT_STORAGE: folder.path('storage') };
    const { incomplete } = await listBackups(
      createLocalStorage(folder.path('storage')),
      new AbortController().signal,
    );
    expect(incomplete.length).toBeGreaterThan(5);

    const next = await cli(['backup', '--json'], { env });
    expect(next.code).toBe(0);
    const { lines, summary } = jsonLines(next.stdout);
    expect(summary.debris).toEqual(incomplete);
    expect(lines.filter((line) => line.code === 'incomplete-backup')).toHaveLength(incomplete.length);

    const young = await cli(['prune', '--keep-last', '5', '--yes', '--json'], { env });
    expect(young.code).toBe(0);
    expect(jsonLines(young.stdout).summary).toMatchObject({ plan: { debris: [], underWay: incomplete } });

    await age(folder.path('storage'));
    const prune = await cli(['prune', '--keep-last', '5', '--yes', '--json'], { env });
    expect(prune.code).toBe(0);
    expect(jsonLines(prune.stdout).summary).toMatchObject({
      removed: { backups: 0, debris: incomplete.length },
    });
    const left = await filesIn(folder.path('storage'));
    expect(left).toMatchObject(before);
    const owners = new Set(Object.keys(left).map((path) => path.split('/')[1]));
    expect([...owners].sort()).toEqual([earlier, summary.backupId].sort());
    expect(Object.keys(left).filter((path) => path.includes('.lifeboat-tmp-'))).toEqual([]);
    console.log(`Backups killed in all: ${LINES.length + OBJECTS.length + SHARES.length + MANIFEST_KILLS}.`);
  });
});

describe.each(['SIGINT', 'SIGTERM'] as const)('%s of a backup', (signal) => {
  test.each([2, 8])('at line %i ends it with 130 and takes back its parts', async (count) => {
    const storage = folder.path(`${signal}-${count}`);
    const run = startBackup(source.url, storage);
    run.onLine((_line, seen) => {
      if (seen === count) run.kill(signal);
    });
    const result = await run.ended;
    expect(result.code).toBe(130);
    expect(jsonLines(result.stdout).summary).toMatchObject({ exitCode: 130, error: { kind: 'interrupted' } });
    expect(await filesIn(storage)).toEqual({});
    await noSessions(await source.client(), source);
  });
});

function startBackup(url: string, storage = folder.path('storage')): RunningCli {
  return startCli(['backup'], { LIFEBOAT_AIRFLOW: url, LIFEBOAT_STORAGE: storage });
}

type Trigger = (run: RunningCli) => void;

function atLine(line: number): Trigger {
  return (run) => {
    run.onLine((_line, count) => {
      if (count === line) run.kill('SIGKILL');
    });
  };
}

/** Watches the storage: kills when the run's own folder holds so many parts. */
function atObject(count: number): Trigger {
  return (run) => {
    watchFolder(run, (names) => names.filter((name) => name.endsWith('.gz')).length >= count);
  };
}

function atManifest(run: RunningCli): void {
  watchFolder(run, (names) => names.some((name) => !name.startsWith('tables')));
}

function watchFolder(run: RunningCli, isTime: (names: readonly string[]) => boolean): void {
  run.onLine((line) => {
    const plan = line.plan as { readonly backupId: string } | undefined;
    if (plan === undefined) return;
    const own = join(folder.path('storage'), 'backups', plan.backupId);
    const timer = setInterval(() => {
      if (isTime(namesBelow(own))) run.kill('SIGKILL');
    }, 1);
    run.child.on('exit', () => {
      clearInterval(timer);
    });
  });
}

function namesBelow(path: string): readonly string[] {
  try {
    return readdirSync(path, { recursive: true, encoding: 'utf8' });
  } catch {
    // Not made yet, or a folder went away while it was read.
    return [];
  }
}

async function completeIds(): Promise<readonly string[]> {
  const { entries } = await listBackups(
    createLocalStorage(folder.path('storage')),
    new AbortController().signal,
  );
  for (const { problem } of entries) expect(problem).toBeUndefined();
  return entries.map((entry) => entry.backupId);
}

async function keysOf(id: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of createLocalStorage(folder.path('storage')).list(`backups/${id}/`)) {
    keys.push(key);
  }
  return keys;
}

/** As if everything had been written 25 hours ago. */
async function age(path: string): Promise<void> {
  const then = new Date(Date.now() - 25 * 3_600_000);
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), then, then);
  }
}

function range(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => from + at);
}
