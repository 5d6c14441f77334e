import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import type { RestoreRequest } from '../../src/engine/api.ts';
import { restore } from '../../src/engine/restore.ts';
import { LifeboatError } from '../../src/errors.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { jsonLines, type JsonLine } from '../cli/run-cli.ts';
import { copyDatabase, createDatabase, withClient, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import { startProxy, type TcpProxy } from '../helpers/tcp-proxy.ts';
import {
  backupRequest,
  context,
  EXHAUSTIVE,
  failure,
  growLog,
  makeDifferent,
  noSessions,
  restoreRequest,
  serverOf,
  startCli,
  throughPort,
  useFolder,
  type RunningCli,
} from './world.ts';

const ROWS = 20_000;
/** What a restore says, in this order: a kill at each. */
const MOMENTS: readonly Moment[] = [
  { at: 'the plan', when: (line) => line.event === 'plan' },
  { at: 'the check', when: (line) => line.phase === 'check' },
  { at: 'the cleanup', when: (line) => line.phase === 'clean' },
  { at: 'the load', when: (line) => line.event === 'phase' && line.phase === 'load' },
  ...(EXHAUSTIVE
    ? [
        'variable',
        'connection',
        'slot_pool',
        'log_template',
        'job',
        'trigger',
        'dag',
        'dag_run',
        'task_instance',
      ]
    : ['variable', 'job', 'dag', 'dag_run']
  ).map(loaded),
  ...(EXHAUSTIVE
    ? [
        'task_fail',
        'task_reschedule',
        'xcom',
        'ab_user',
        'log',
        'sla_miss',
        'dataset',
        'dataset_event',
        'dag_tag',
      ]
    : ['xcom', 'log', 'dag_tag']
  ).map(loaded),
];
/** What it sends to the server at last; the process is killed before the server gets it. */
const STATEMENTS = EXHAUSTIVE
  ? [
      'pg_try_advisory_xact_lock',
      'LOCK TABLE "',
      'DELETE FROM "',
      'TRUNCATE "',
      'ANALYZE pg_temp',
      'UPDATE "',
      'RESTART WITH',
      'txid_current',
      'COMMIT\0',
    ]
  : ['LOCK TABLE "', 'TRUNCATE "', 'RESTART WITH', 'COMMIT\0'];
const SHARES = EXHAUSTIVE
  ? Array.from({ length: 40 }, (_, at) => (at + 1) / 41)
  : [0.05, 0.25, 0.5, 0.75, 0.95];
/** After every so many kills the next try is made at once. */
const TRY_EVERY = EXHAUSTIVE ? 4 : 8;
/** Seconds after which the server must have let go of a killed client: client_connection_check_interval is 2. */
const GHOST_MS = 5000;

interface Moment {
  readonly at: string;
  readonly when: (line: JsonLine) => boolean;
}

function loaded(table: string): Moment {
  return { at: `${table}, loaded`, when: (line) => line.event === 'table' && line.table === table };
}

const folder = useFolder();
let pristine: TestDatabase;
let target: TestDatabase;
let observer: pg.Client;
let untouched: DatabaseFingerprint;
let restored: DatabaseFingerprint;
let bytesOfRun: number;
/** False once a test began: only its check makes it true again. */
let asItWas = false;
let kills = 0;
let tries = 0;
let slowestGhost = 0;

beforeAll(async () => {
  const source = await createDatabase();
  await withClient(source.url, (client) => growLog(client, ROWS));
  const ctx = context(createLocalStorage(folder.path('storage')));
  await backup(ctx, backupRequest(source));
  await source.drop();

  pristine = await createDatabase();
  await withClient(pristine.url, makeDifferent);
  const reference = await copyDatabase(pristine);
  const proxy = await startProxy(serverOf(reference.url));
  await restore(ctx, inPlace({ url: throughPort(reference.url, proxy.port) }));
  bytesOfRun = proxy.bytes.toTarget;
  await proxy.close();
  restored = await withClient(reference.url, databaseFingerprint);
  await reference.drop();
  await newTarget();
  asItWas = true;
  untouched = await databaseFingerprint(observer);
});
afterAll(async () => {
  console.log(
    `Restores killed: ${kills}; tried again at once: ${tries}; slowest goodbye of the server ${Math.round(slowestGhost)} ms.`,
  );
  await target.drop();
  await pristine.drop();
});

beforeEach(async () => {
  if (!asItWas) {
    await target.drop();
    await newTarget();
  }
  asItWas = false;
});

describe('kill -9 of a restore leaves the target as it was', () => {
  test.each(MOMENTS)('at $at', async ({ when }) => {
    const run = startRestore(target.url);
    run.onLine((line) => {
      if (when(line)) run.kill('SIGKILL');
    });
    expect((await run.ended).signal, 'the kill came too late').toBe('SIGKILL');
    await expectUntouched();
  });

  test.each(SHARES)('after %f of the bytes that it sends', async (share) => {
    const proxy: TcpProxy = await startProxy(serverOf(target.url), () => {
      if (proxy.bytes.toTarget >= bytesOfRun * share) run.kill('SIGKILL');
      return 'pass';
    });
    const run = startRestore(throughPort(target.url, proxy.port));
    expect((await run.ended).signal, 'the kill came too late').toBe('SIGKILL');
    await proxy.close();
    await expectUntouched();
  });

  test.each(STATEMENTS)('before the server gets %j', async (text) => {
    await killAtStatement(text, 'drop');
    await expectUntouched();
  });
});

describe('kill -9 around the commit', () => {
  test('just after its COMMIT leaves all of it', async () => {
    await killAtStatement('COMMIT\0', 'pass');
    kills += 1;
    await noSessions(observer, target);
    expect(await databaseFingerprint(observer)).toEqual(restored);
  });

  test('in a statement that lasts: the server lets go soon, and the next try need not wait', async () => {
    await observer.query(`
      CREATE FUNCTION wait_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_sleep(60); RETURN NEW; END $$;
      CREATE TRIGGER wait_long BEFORE INSERT ON sla_miss FOR EACH STATEMENT EXECUTE FUNCTION wait_long()`);
    const before = await databaseFingerprint(observer);
    const run = startRestore(target.url);
    run.onLine((line) => {
      if (line.event !== 'table' || line.table !== 'log') return;
      setTimeout(() => {
        run.kill('SIGKILL');
      }, 500);
    });
    expect((await run.ended).signal).toBe('SIGKILL');
    // In this process, which need not start first: within the 2 s in which the server has not looked for the first.
    const ctx = context(createLocalStorage(folder.path('storage')), {
      report: (event) => {
        if (event.event === 'phase' && event.phase === 'load') {
          ctx.controller.abort(new LifeboatError('interrupted', 'It came past the lock.', { next: 'End.' }));
        }
      },
    });
    const error = await failure(restore(ctx, inPlace(target)));
    expect(error).toMatchObject({ message: 'It came past the lock.' });
    await noSessions(observer, target, GHOST_MS);
    kills += 1;
    expect(await databaseFingerprint(observer)).toEqual(before);
  });
});

describe.each(['SIGINT', 'SIGTERM'] as const)('%s of a restore', (signal) => {
  test.each(MOMENTS.filter(({ at }) => /check|cleanup|dag_run/.test(at)))(
    'at $at: exit 130, the target as it was',
    async ({ when }) => {
      const run = startRestore(target.url);
      run.onLine((line) => {
        if (when(line)) run.kill(signal);
      });
      const result = await run.ended;
      expect(result.code, result.stderr).toBe(130);
      expect(jsonLines(result.stdout).summary).toMatchObject({
        exitCode: 130,
        error: { kind: 'interrupted' },
      });
      // It ended by itself, so it took its sessions with it.
      await noSessions(observer, target, 1000);
      expect(await databaseFingerprint(observer)).toEqual(untouched);
      asItWas = true;
    },
  );
});

function inPlace(database: { readonly url: string }): RestoreRequest {
  return restoreRequest(database, { via: 'in-place' });
}

function startRestore(url: string): RunningCli {
  const env = { LIFEBOAT_AIRFLOW: url, LIFEBOAT_STORAGE: folder.path('storage') };
  const args = ['--clean', '--ignore-running', '--via', 'in-place', '--yes'];
  return startCli(['restore', 'latest', ...args], env);
}

async function newTarget(): Promise<void> {
  target = await copyDatabase(pristine);
  observer = await target.client();
}

async function expectUntouched(): Promise<void> {
  kills += 1;
  if (kills % TRY_EVERY === 0) return tryAgain();
  slowestGhost = Math.max(slowestGhost, await noSessions(observer, target, GHOST_MS));
  expect(await databaseFingerprint(observer)).toEqual(untouched);
  asItWas = true;
}

/** The second try, without a pause, does what the first would have done. */
async function tryAgain(): Promise<void> {
  tries += 1;
  const result = await startRestore(target.url).ended;
  expect(result.code, result.stderr).toBe(0);
  expect(await databaseFingerprint(observer)).toEqual(restored);
}

/** Kills the process when the statement passes; the server gets it or not, and its answer is lost. */
async function killAtStatement(text: string, fate: 'pass' | 'drop'): Promise<void> {
  let sent = false;
  const proxy = await startProxy(serverOf(target.url), (direction, chunk) => {
    if (direction === 'to-client' || sent) return sent ? 'drop' : 'pass';
    if (!chunk.includes(text)) return 'pass';
    sent = true;
    if (fate === 'drop') run.kill('SIGKILL');
    else setTimeout(kill, 300);
    return fate;
  });
  const run = startRestore(throughPort(target.url, proxy.port));
  const kill = (): void => {
    run.kill('SIGKILL');
  };
  const { signal, stdout } = await run.ended;
  await proxy.close();
  expect(sent, 'this statement was never sent').toBe(true);
  expect(signal).toBe('SIGKILL');
  expect(stdout).not.toContain('"event":"summary"');
}
