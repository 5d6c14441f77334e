import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { openFixture } from '../helpers/fixtures.ts';
import { installBridge, UV } from './bridge.ts';
import { logsOf, startBridged, unpause, untilEnded, untilSuccess } from './bridge-airflow.ts';
import { emptyEnvironment, query, withClient } from './environment.ts';
import { airflow, FERNET_KEY } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import { findProcess, killAllAirflows, killProcess } from './processes.ts';
import type { Components, Found } from './processes.ts';
import { watchReports } from './reports.ts';
import type { Reports } from './reports.ts';
import { endAll, run } from './run.ts';
import { startEmulator } from './state-machine.ts';
import type { Emulator, Waiting } from './state-machine.ts';
import { until } from './until.ts';

const DAG = fileURLToPath(new URL('dags/lifeboat_restore.py', import.meta.url));
/** As MWAA has them in Airflow 2.8.1; boto3 in a folder of its own, since it wants an older urllib3. */
const BOTO3 = 'boto3==1.33.13';
const CELERY = ['apache-airflow-providers-celery==3.5.1', 'celery==5.3.6', 'kombu==5.3.5'];

// A state machine restores into an Airflow with CeleryExecutor that is at work. Broker and results are in PostgreSQL, the
// results in the metadata database itself, as MWAA has them.
describe.runIf(inject('airflowRelease') === '2.8.1')('the restore DAG under Celery, Airflow 2.8.1', () => {
  let folder: string;
  let emulator: Emulator;
  let reports: Reports;
  let target: LabHome;
  let components: Components;
  let stop: () => Promise<void>;
  let engine: string;

  async function trigger({ token }: Waiting): Promise<void> {
    const conf = JSON.stringify({ task_token: token, heartbeat_every: '1s' });
    await airflow(target, 'dags', 'trigger', 'restore_metadata', '--conf', conf);
  }

  /** Runs the DAG into a table that is in use, and hands out the engine that waits for it. */
  async function whileAtWork(waiting: Waiting, work: (found: Found) => Promise<void>): Promise<void> {
    await withClient(target.database, async (client) => {
      // Whoever writes to the table would hold up a restore so; no task of these does.
      await client.query('BEGIN; LOCK TABLE sla_miss IN ROW EXCLUSIVE MODE');
      const beats = setInterval(() => void waiting.heartbeat().catch(() => undefined), 1000);
      let found: Found | undefined;
      try {
        await trigger(waiting);
        await until('the engine is at work', async () => {
          components.mustRun();
          found = findProcess(engine, 'restore');
          // On another connection: within a transaction the view stays as it was first seen.
          const wait = await query(
            target,
            "SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO %LOCK TABLE%'",
          );
          return found !== undefined && wait.length > 0 ? [] : [await logsOf(target, 'restore_metadata')];
        });
      } finally {
        clearInterval(beats);
      }
      if (found) await work(found);
    });
    await until('the engine has ended', () =>
      Promise.resolve(findProcess(engine, 'restore') === undefined ? [] : ['it runs']),
    );
  }

  /** A row that a restore deletes. */
  const mark = (): Promise<unknown> => query(target, "INSERT INTO log (event, dttm) VALUES ('mark', now())");
  const marks = (): Promise<unknown> => query(target, "SELECT event FROM log WHERE event = 'mark'");

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-bridge-celery-'));
    const server = await startEmbeddedPostgres();
    stop = () => server.stop();
    emulator = await startEmulator();
    reports = await watchReports(emulator);
    const storage = join(folder, 'storage');
    await mkdir(storage);
    const source = await emptyEnvironment(server.url, folder, '2.8.1', 'celery_source');
    await withClient(source.database, (client) => loadSqlDump(client, openFixture('data', '2.8.1')));
    await lifeboat(['backup', '--airflow', source.database, '--storage', storage]);

    const bridge = await installBridge('2.8.1', folder, CELERY);
    const boto3 = join(folder, 'boto3');
    await run(UV, ['pip', 'install', '--python', bridge.python, '--target', boto3, BOTO3]);
    engine = join(bridge.sitePackages, 'airflow_lifeboat');
    target = await emptyEnvironment(server.url, folder, '2.8.1', 'celery_target');
    const broker = await emptyEnvironment(server.url, folder, '2.8.1', 'celery_broker');
    components = await startBridged(target, bridge, {
      fernetKey: FERNET_KEY,
      dagFiles: [DAG],
      dagIds: ['restore_metadata'],
      settings: {
        PYTHONPATH: `${boto3}:${bridge.sitePackages}`,
        LIFEBOAT_STORAGE: storage,
        AIRFLOW__CORE__EXECUTOR: 'CeleryExecutor',
        AIRFLOW__CELERY__BROKER_URL: broker.database.replace('postgresql:', 'sqla+postgresql:'),
        AIRFLOW__CELERY__RESULT_BACKEND: target.database.replace('postgresql:', 'db+postgresql:'),
        AIRFLOW__CELERY__WORKER_CONCURRENCY: '2',
        // This broker cannot do it.
        AIRFLOW__CELERY__WORKER_ENABLE_REMOTE_CONTROL: 'False',
        // Airflow looks for tasks whose process is gone after five minutes.
        AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD: '15',
        AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL: '5',
        ...emulator.env,
        ...reports.env,
      },
    });
    const alone = ['--without-mingle', '--without-gossip', '--skip-serve-logs'];
    components.add('worker', 'celery', 'worker', ...alone);
    await unpause(target, 'restore_metadata');
  });

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    await emulator.close();
    await stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  it('restores for a state machine, which ends with the summary', async () => {
    const waiting = await emulator.execute(900);
    await trigger(waiting);
    await untilSuccess(target, 'restore_metadata');
    components.mustRun();
    const { status, output } = await waiting.ended();
    expect(status).toBe('SUCCEEDED');
    expect(output).toMatchObject({
      dag: 'restore_metadata',
      status: 'Success',
      tasks: ['restore => success'],
      lifeboat: { ok: true, command: 'restore' },
    });
    const [{ rows } = { rows: 0 }] = await query(
      target,
      "SELECT count(*)::int AS rows FROM dag_run WHERE dag_id LIKE 'lab%'",
    );
    expect(rows).toBeGreaterThan(20);
    // Celery's tables were there before, and its word about the task came after.
    const results = await query(target, 'SELECT status FROM celery_taskmeta');
    expect(results).toEqual([{ status: 'SUCCESS' }]);
    expect(await logsOf(target)).not.toContain(waiting.token);
    expect(await reports.metric('RestoreFailures')).toEqual({ sum: 0, count: 1 });
    expect((await reports.metric('RestoreDuration')).sum).toBeGreaterThan(0);
    expect(await reports.published()).toEqual([]);
  });

  it('kill -9 of the task: the engine rolls back and tells the state machine', async () => {
    await mark();
    const waiting = await emulator.execute(60);
    await whileAtWork(waiting, async ({ parent }) => {
      const began = performance.now();
      killProcess(parent);
      expect((await waiting.ended()).output).toEqual({ told: 'failure' });
      // Not because it has waited for the table for long enough.
      expect(performance.now() - began).toBeLessThan(30_000);
    });
    expect(await untilEnded(target, 'restore_metadata')).toBe('failed');
    expect(await marks()).toEqual([{ event: 'mark' }]);
    // By the scheduler's callback: nobody else is left to tell.
    await until('SNS was told', async () => {
      const [told, ...others] = await reports.published();
      expect(others).toEqual([]);
      if (told === undefined) return ['nothing published'];
      expect(told.Subject).toBe('MWAA DR DAG Failure');
      expect(JSON.parse(told.Message)).toMatchObject({ dag: 'restore_metadata', status: 'Fail' });
      return [];
    });
    expect(await reports.metric('RestoreFailures')).toEqual({ sum: 1, count: 2 });
  });

  it('kill -9 of task and engine: the heartbeats end, and so does the state', async () => {
    const waiting = await emulator.execute(10);
    await whileAtWork(waiting, async ({ pid, parent }) => {
      for (const each of [parent, pid]) killProcess(each);
      const began = performance.now();
      expect((await waiting.ended()).output).toEqual({ told: 'silence' });
      expect(performance.now() - began).toBeLessThan(20_000);
    });
    expect(await untilEnded(target, 'restore_metadata')).toBe('failed');
    expect(await marks()).toEqual([{ event: 'mark' }]);
  });

  it('and the next try works', async () => {
    const waiting = await emulator.execute(900);
    await trigger(waiting);
    await untilSuccess(target, 'restore_metadata');
    expect((await waiting.ended()).status).toBe('SUCCEEDED');
    expect(await marks()).toEqual([]);
    components.mustRun();
  });
});
