import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import { createDatabase } from '../helpers/databases.ts';
import type { TestDatabase } from '../helpers/databases.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import { activate } from '../../src/engine/activate.ts';
import { databaseSource } from '../../src/engine/manifest.ts';
import { backUp, cleanUp, engine, failureOf, restoreInto, targetOf, useWay, WAYS } from './engine.ts';
import type { Engine } from './engine.ts';
import { atLoadOf, DATE, leads, liveLife, liveRows, RUN } from './live-life.ts';
import type { Life } from './live-life.ts';

const CARRIED = { carriedBy: { ...RUN, taskId: 'restore' }, clean: true, ignoreRunning: false } as const;

interface World {
  readonly ctx: Engine;
  readonly source: TestDatabase;
  readonly sourceClient: pg.Client;
  readonly target: TestDatabase;
  readonly client: pg.Client;
  readonly life: Life;
}

/** A backup, and a target at work whose live run has the id of a run of the backup. */
async function world(
  version: '2.8.1' | '2.11.0' = '2.8.1',
  prepare: (source: pg.Client) => Promise<void> = () => Promise.resolve(),
): Promise<World> {
  const source = await createDatabase({ version });
  const sourceClient = await source.client();
  await prepare(sourceClient);
  const ctx = engine();
  await backUp(ctx, source);
  const target = await createDatabase({ version, from: 'fresh' });
  const client = await target.client();
  const { rows } = await sourceClient.query<{ id: number }>('SELECT min(id) AS id FROM dag_run');
  return { ctx, source, sourceClient, target, client, life: await liveLife(client, rows[0]?.id ?? 0) };
}

describe.each([
  ['2.8.1', 'in-place'],
  ['2.11.0', 'in-place'],
  ['2.8.1', 'shadow'],
  ['2.11.0', 'shadow'],
] as const)('Airflow %s, %s', (version, via) => {
  useWay(via);

  test('the run that carries the restore survives, and the backup makes room for its ids', async () => {
    const { ctx, sourceClient, target, client } = await world(version);
    await insertRows(client, 'dag_run', [
      { dag_id: 'old', run_id: 'r', execution_date: DATE, run_type: 'manual', state: 'success' },
    ]);
    const before = await liveRows(client);
    for (const [table, rows] of Object.entries(before)) expect(rows.length, table).toBeGreaterThan(0);
    const { loaded, plan } = await restoreInto(ctx, target, CARRIED);
    expect(await liveRows(client)).toEqual(before);
    const [expected, found] = [await leads(sourceClient), await leads(client)];
    for (const [name, rows] of Object.entries(expected)) expect(rows.length, name).toBeGreaterThan(0);
    expect(found).toEqual(expected);
    const moved = loaded.tables.filter((one) => one.moved > 0).map((one) => one.table);
    expect(moved).toEqual(expect.arrayContaining(['dag_run', 'job', 'log', 'trigger']));
    expect(plan.keepRuns).toEqual([`${RUN.dagId}/${RUN.runId}`]);
    expect(loaded).toMatchObject({ keptRuns: plan.keepRuns, leftOutRuns: [], carryingDags: ['dr'] });
    expect((await client.query(`SELECT FROM dag_run WHERE dag_id = 'old'`)).rowCount).toBe(0);
    expect((await client.query(`SELECT FROM job WHERE hostname = 'here'`)).rowCount).toBe(2);
  });
});

describe.each(WAYS)('%s', (via) => {
  useWay(via);

  test('a live run is no history: it needs no --clean, and cleanup leaves it alone too', async () => {
    const { ctx, target, client, life } = await world();
    await restoreInto(ctx, target, { keepRuns: [RUN], clean: false, ignoreRunning: false });
    const before = await liveRows(client);
    expect(before.dag_run).toHaveLength(1);
    await cleanUp(ctx, target, { keepRuns: [RUN], ignoreRunning: true });
    expect(await liveRows(client)).toEqual(before);
    expect((await client.query('SELECT id FROM dag_run')).rows).toEqual([{ id: life.runId }]);
  });

  test('a run of the backup with the name of a live one stays out, with all that is part of it', async () => {
    const { ctx, target, client } = await world('2.8.1', async (source) => {
      await liveLife(source, 900);
      await insertRows(source, 'dag_run', [
        { id: 902, dag_id: 'dr', run_id: 'other', execution_date: '2020-01-01', run_type: 'manual' },
      ]);
      await source.query(`UPDATE xcom SET value = 'old' WHERE dag_id = 'dr'`);
    });
    const before = await liveRows(client);
    const { loaded } = await restoreInto(ctx, target, CARRIED);
    expect(loaded.leftOutRuns).toEqual([`${RUN.dagId}/${RUN.runId}`]);
    const after = await liveRows(client);
    for (const table of ['task_instance', 'xcom', 'task_map', 'task_fail', 'dag_run_note', 'trigger']) {
      expect(after[table], table).toEqual(before[table]);
    }
    const { rows } = await client.query(`SELECT run_id FROM dag_run WHERE dag_id = 'dr' ORDER BY 1`);
    expect(rows).toEqual([{ run_id: RUN.runId }, { run_id: 'other' }]);
  });

  test('a run of the backup under another name but at the same date stays out', async () => {
    const { ctx, target, client } = await world('2.8.1', async (source) => {
      await insertRows(source, 'dag_run', [
        { id: 901, dag_id: 'dr', run_id: 'same date', execution_date: DATE, run_type: 'manual' },
      ]);
    });
    const { loaded } = await restoreInto(ctx, target, CARRIED);
    expect(loaded.leftOutRuns).toEqual(['dr/same date']);
    expect((await client.query(`SELECT FROM dag_run WHERE dag_id = 'dr'`)).rowCount).toBe(1);
  });
});

test('running and queued tasks of the target are refused by name; runs to keep must exist', async () => {
  const { ctx, target, client } = await world();
  const before = await liveRows(client);
  const base = { dag_id: 'busy', run_id: 'r', pool: 'default_pool', pool_slots: 1 };
  await insertRows(client, 'dag_run', [
    { dag_id: 'busy', run_id: 'r', execution_date: DATE, run_type: 'manual', state: 'running' },
  ]);
  await insertRows(
    client,
    'task_instance',
    ['running', 'queued', 'restarting', 'scheduled', 'deferred', 'success'].map((state, at) => ({
      ...base,
      task_id: state,
      map_index: at - 1,
      state,
    })),
  );
  for (const work of [() => restoreInto(ctx, target, CARRIED), () => cleanUp(ctx, target, CARRIED)]) {
    const error = await failureOf(work());
    expect(error.kind).toBe('refused');
    expect(error.message).toContain('3 tasks of 127.0.0.1');
    expect(error.message).toContain(
      'busy.queued[0], run r (queued); busy.restarting[1], run r (restarting); busy.running, run r (running).',
    );
    expect(error.next).toContain('--ignore-running');
  }
  const missing = { ...CARRIED, ignoreRunning: true, keepRuns: [RUN, { dagId: 'dr', runId: 'nope' }] };
  for (const work of [() => restoreInto(ctx, target, missing), () => cleanUp(ctx, target, missing)]) {
    const error = await failureOf(work());
    expect(error.kind).toBe('refused');
    expect(error.message).toMatch(/has no run dr\/nope, /);
  }
  // A task that this process runs in, in another Airflow than the target, is nothing to the target.
  const elsewhere = { dagId: 'dr', runId: 'of another Airflow', taskId: 't' };
  const { plan } = await restoreInto(ctx, target, {
    ...CARRIED,
    carriedBy: elsewhere,
    ignoreRunning: true,
    dryRun: true,
  });
  expect(plan).toMatchObject({ keepRuns: [], warnings: [{ code: 'running-tasks' }] });
  expect(await liveRows(client)).toEqual(before);
  await restoreInto(ctx, target, { ...CARRIED, ignoreRunning: true });
  expect((await client.query(`SELECT FROM task_instance WHERE dag_id = 'busy'`)).rowCount).toBe(0);
});

/** Until that many sessions wait for a lock. */
async function untilWaiting(client: pg.Client, count: number): Promise<void> {
  for (;;) {
    const { rowCount } = await client.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    if ((rowCount ?? 0) >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test(
  'late heartbeats and state changes of live rows survive, and nobody deadlocks',
  { timeout: 120_000 },
  async () => {
    const { ctx, target, client, life } = await world();
    const [beating, changing, amid] = [await target.client(), await target.client(), await target.client()];
    let beats = true;
    let longest = 0;
    const beat = async (): Promise<void> => {
      while (beats) {
        const from = performance.now();
        await beating.query('UPDATE job SET latest_heartbeat = now() WHERE id = $1', [life.job]);
        await beating.query(
          'SELECT pid, run_type FROM task_instance JOIN dag_run USING (dag_id, run_id) WHERE job_id = $1',
          [life.job],
        );
        longest = Math.max(longest, performance.now() - from);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    const waiting: Promise<unknown>[] = [];
    let started = 0;
    const storage = atLoadOf(ctx.storage, 'xcom', async () => {
      // A task that was thought dead beats again, and holds its job while it waits for its task instance.
      await amid.query('BEGIN');
      await amid.query('UPDATE job SET latest_heartbeat = now() WHERE id = $1', [life.staleJob]);
      const later = await insertRows(amid, 'job', [
        { job_type: 'LocalTaskJob', state: 'running', latest_heartbeat: DATE, hostname: 'late' },
      ]);
      started = later?.[0] ?? 0;
      waiting.push(
        amid
          .query(`UPDATE task_instance SET pid = 7 WHERE dag_id = 'dr' AND task_id = 'waits'`)
          .then(() => amid.query('COMMIT')),
      );
      waiting.push(
        changing.query(
          `UPDATE task_instance SET state = 'success' WHERE dag_id = 'dr' AND task_id = 'restore'`,
        ),
      );
      await untilWaiting(client, 2);
      await new Promise((resolve) => setTimeout(resolve, 1500));
    });
    const heart = beat();
    const events: LifeboatEvent[] = [];
    const { loaded } = await restoreInto(
      {
        ...ctx,
        storage,
        report: (event) => {
          events.push(event);
          if (event.event === 'phase' && event.phase === 'load') storage.begin();
        },
      },
      target,
      // Via shadow nobody waits for the load: what this is about has no place there.
      { ...CARRIED, via: 'in-place' },
    );
    beats = false;
    await Promise.all([heart, ...waiting]);
    expect(longest, 'longest wait of a heartbeat, in ms').toBeLessThan(1000);
    expect(loaded.locks.heldSeconds).toBeGreaterThan(1.5);
    expect(loaded.locks.heldSeconds).toBeLessThan(loaded.seconds);
    const { rows } = await client.query(
      `SELECT task_id, state, pid FROM task_instance WHERE dag_id = 'dr' ORDER BY 1`,
    );
    expect(rows).toEqual([
      { task_id: 'restore', state: 'success', pid: null },
      { task_id: 'waits', state: 'deferred', pid: 7 },
    ]);
    // Both are somebody's; and the next id is above every one.
    const jobs = await client.query('SELECT id FROM job WHERE id IN ($1, $2)', [life.staleJob, started]);
    expect(jobs.rowCount).toBe(2);
    const next = await client.query<{ ok: boolean }>(`SELECT nextval('job_id_seq') > max(id) AS ok FROM job`);
    expect(next.rows).toEqual([{ ok: true }]);
  },
);

describe.each(WAYS)('%s', (via) => {
  useWay(via);

  test('the run that made the backup is a success, and DAGs that carry keep the pause state of the target', async () => {
    const source = await createDatabase();
    const sourceClient = await source.client();
    await liveLife(sourceClient, 900);
    await insertRows(sourceClient, 'dag', [
      { dag_id: 'tagged', is_active: true, is_paused: false },
      { dag_id: 'tagged_too', is_active: true, is_paused: false },
    ]);
    await insertRows(sourceClient, 'dag_tag', [
      { name: 'lifeboat', dag_id: 'tagged' },
      { name: 'lifeboat', dag_id: 'tagged_too' },
    ]);
    const ctx = engine();
    const carriedBy = { ...RUN, taskId: 'restore' };
    const { manifest } = await backUp(ctx, source, { carriedBy });
    expect(databaseSource(manifest).carriedBy).toEqual(carriedBy);
    const other = await backUp(engine(), source, {
      carriedBy: { ...carriedBy, runId: 'of another Airflow' },
    });
    expect(databaseSource(other.manifest).carriedBy).toBeUndefined();

    const target = await createDatabase({ from: 'fresh' });
    const client = await target.client();
    await insertRows(client, 'dag', [
      { dag_id: 'dr', is_active: true, is_paused: true },
      { dag_id: 'tagged', is_active: true, is_paused: true },
    ]);
    const { loaded } = await restoreInto(ctx, target, { pauseState: 'backup' });
    expect(loaded).toMatchObject({
      carryingDags: ['dr', 'tagged', 'tagged_too'],
      endedRun: `${RUN.dagId}/${RUN.runId}`,
    });
    const dags = await client.query(
      `SELECT dag_id FROM dag WHERE dag_id IN ('dr', 'tagged', 'tagged_too') AND is_paused ORDER BY 1`,
    );
    expect(dags.rows.length).toBe(3);
    const run = await client.query(
      `SELECT r.state AS run, t.state AS task, r.end_date = $1::timestamptz AND t.end_date = $1::timestamptz AND t.duration > 0 AS ended
       FROM dag_run r JOIN task_instance t USING (dag_id, run_id) WHERE r.dag_id = 'dr' AND task_id = 'restore'`,
      [manifest.snapshotTime],
    );
    expect(run.rows).toEqual([{ run: 'success', task: 'success', ended: true }]);
    const activated = await activate(ctx, { environment: targetOf(target), backup: 'latest', dryRun: false });
    expect(activated.carrying).toEqual(['dr', 'tagged', 'tagged_too']);
    expect(activated.unpaused).not.toContain('dr');
  });
});

test('a run that made the backup and is still at work in its own environment goes on there', async () => {
  const source = await createDatabase();
  const client = await source.client();
  await liveLife(client, 900);
  const ctx = engine();
  await backUp(ctx, source, { carriedBy: { ...RUN, taskId: 'restore' } });
  await client.query("DELETE FROM dag_run WHERE dag_id = 'lab_everything'");
  const { loaded } = await restoreInto(ctx, source, { dags: ['lab_everything'] });
  expect(loaded.endedRun).toBeNull();
  const run = await client.query(
    `SELECT r.state AS run, r.end_date, t.state AS task FROM dag_run r JOIN task_instance t USING (dag_id, run_id)
      WHERE r.dag_id = $1 AND r.run_id = $2 AND t.task_id = 'restore'`,
    [RUN.dagId, RUN.runId],
  );
  expect(run.rows).toEqual([{ run: 'running', end_date: null, task: 'running' }]);
});
