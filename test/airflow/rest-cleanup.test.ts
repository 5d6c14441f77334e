import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { loadedEnvironment, startApi } from './api.ts';
import type { RunningApi } from './api.ts';
import { putDags } from './dag-files.ts';
import { query } from './environment.ts';
import type { LabHome } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import type { Summary } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import { endAll } from './run.ts';
import { release, step } from './step.ts';
import { until } from './until.ts';

const isV1 = release.startsWith('2.');
/** What no cleanup touches; of 2.x datasets, of 3.x assets. */
const UNTOUCHED = [
  ...['variable', 'connection', 'slot_pool', 'dag', 'dag_tag', 'serialized_dag', 'job', 'import_error'],
  ...(isV1 ? ['dataset', 'dataset_event'] : ['asset', 'asset_event', 'asset_alias', 'backfill']),
];
const QUEUE = isV1 ? 'dataset_dag_run_queue' : 'asset_dag_run_queue';
/** Through v1 the queue is there from 2.9 on. */
const hasQueue = !isV1 || Number(release.split('.')[1]) >= 9;
const CATCHUP = `SELECT count(*)::int AS runs FROM dag_run WHERE dag_id = 'lab_catchup'`;

describe(`A cleanup through the REST API of Airflow ${release}`, () => {
  let folder: string;
  let at: LabHome;
  let api: RunningApi;
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-rest-cleanup-'));
    const server = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    stops.push(() => server.stop());
    at = await loadedEnvironment(server.url, folder, release, 'cleaned', 'data');
    await putDags(at);
    // Their tasks would be at work by the end.
    await rm(join(at.home, 'dags', 'lifeboat_proof.py'));
    api = await startApi(at);
  });

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    for (const stop of stops) await stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  async function cleanup(flags: readonly string[], code = 0): Promise<Summary> {
    const args = ['cleanup', '--airflow', api.url, '--yes', '--json', ...flags];
    const { stdout } = await step('lifeboat cleanup', () => lifeboat(args, api.env, [code]));
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Summary;
  }

  async function counts(tables: readonly string[]): Promise<Readonly<Record<string, number>>> {
    const one = tables.map((table) => `(SELECT count(*)::int FROM ${table}) AS ${table}`);
    const [row] = await query(at, `SELECT ${one.join(', ')}`);
    return row as Record<string, number>;
  }

  /** Rows of runs that are not there, by table. */
  async function orphans(): Promise<readonly string[]> {
    const tables = await query(
      at,
      `SELECT table_name AS name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name IN ('dag_id', 'run_id') AND table_name NOT IN ('log', 'dag_run')
        GROUP BY 1 HAVING count(*) = 2 ORDER BY 1`,
    );
    expect(tables.map(({ name }) => name)).toContain('task_instance');
    const found: string[] = [];
    for (const { name } of tables) {
      const [row] = await query(
        at,
        `SELECT count(*)::int AS rows FROM ${String(name)} t
          WHERE run_id IS NOT NULL AND NOT EXISTS (SELECT FROM dag_run r WHERE r.dag_id = t.dag_id AND r.run_id = t.run_id)`,
      );
      if (row?.rows !== 0) found.push(`${String(name)}: ${String(row?.rows)}`);
    }
    return found;
  }

  it('is refused while tasks are at work', async () => {
    const before = await counts(['dag_run', 'task_instance']);
    const { error } = await cleanup([], 14);
    expect(JSON.stringify(error)).toContain('lab_inflight.');
    expect(await counts(['dag_run', 'task_instance'])).toEqual(before);
  });

  it('deletes runs with all that hangs on them, and keeps what tells the schedule', async () => {
    const before = await counts(UNTOUCHED);
    const [{ runs } = {}] = await query(at, 'SELECT count(*)::int AS runs FROM dag_run');
    const newest = await query(
      at,
      `SELECT dag_id, max(run_id) AS run_id FROM dag_run WHERE run_type IN ('scheduled', 'backfill') GROUP BY 1 ORDER BY 1`,
    );
    const { cleaned, plan } = await cleanup(['--ignore-running']);
    const left = await query(at, 'SELECT dag_id, run_id FROM dag_run ORDER BY 1');
    expect(left).toEqual(newest);
    expect(left.map(({ dag_id: dag }) => dag)).toContain('lab_catchup');
    expect(cleaned).toMatchObject({ runs: Number(runs) - left.length, refused: [], gone: 0 });
    expect(await orphans()).toEqual([]);
    expect(await counts(UNTOUCHED)).toEqual(before);
    const { [QUEUE]: queued } = await counts([QUEUE]);
    expect((queued ?? 0) > 0).toBe(!hasQueue);
    expect(plan).toMatchObject({ target: { schedulerHeartbeat: expect.any(String) as string } });
  });

  it('done once more it deletes nothing', async () => {
    const { cleaned } = await cleanup([]);
    expect(cleaned).toMatchObject({ runs: 0, queuedEvents: 0 });
  });

  it('starts nothing again: the schedule stands where it stood', async () => {
    const started = new Date().toISOString();
    api.add('scheduler', 'scheduler', '--skip-serve-logs');
    if (!isV1) api.add('dag-processor', 'dag-processor');
    await until('the DAGs were parsed anew', async () => {
      api.mustRun();
      const [row] = await query(
        at,
        `SELECT last_parsed_time > '${started}' AS parsed, is_paused FROM dag WHERE dag_id = 'lab_catchup'`,
      );
      expect(row?.is_paused).toBe(false);
      return row?.parsed === true ? [] : ['lab_catchup not yet'];
    });
    // Some rounds of the scheduler.
    await sleep(10_000);
    expect(await query(at, CATCHUP)).toEqual([{ runs: 1 }]);
  });

  it('with --catchup start the schedule begins anew', async () => {
    const { plan } = await cleanup(['--catchup', 'start']);
    expect((plan as { startsAgain: readonly string[] }).startsAgain).toContain('lab_catchup');
    await until('the runs of the past have started', async () => {
      api.mustRun();
      const [row] = await query(at, CATCHUP);
      return Number(row?.runs) > 1 ? [] : [`${String(row?.runs)} runs`];
    });
    await api.kill();
  });
});
