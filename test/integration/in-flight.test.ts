import type pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { settleInFlight } from '../../src/engine/in-flight/in-flight.ts';
import { rememberKeptRuns } from '../../src/engine/in-flight/restored.ts';
import type { InFlightPolicy } from '../../src/engine/plans.ts';
import { tablesFor } from '../../src/versions/registry.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import { backUp, engine, type Engine, restoreInto, useWay } from './engine.ts';

const OWNED = {
  queued_by_job_id: 3,
  job_id: 4,
  pid: 4711,
  hostname: 'worker-of-the-past',
  external_executor_id: 'celery-id',
  queued_dttm: '2026-01-01T00:00:00Z',
};
const UNFINISHED = [
  'queued',
  'scheduled',
  'running',
  'restarting',
  'deferred',
  'up_for_retry',
  'up_for_reschedule',
];

interface Task {
  readonly run: string;
  readonly task: string;
  readonly index: number;
  readonly state: string | null;
  readonly try_number: number;
  readonly max_tries: number;
  readonly end_date: string | null;
  readonly trigger: number | null;
  readonly owned: boolean;
  readonly next_method: string | null;
}

/** A DAG of its own in a source: runs of every kind that can be unfinished, and one that is over. */
async function unfinishedWork(client: pg.Client): Promise<void> {
  const runs = ['over', 'running', 'waiting', 'backfill', 'late'];
  const state: Readonly<Record<string, string>> = { over: 'success', waiting: 'queued' };
  for (const [at, run] of runs.entries()) {
    await insertRows(client, 'dag_run', [
      {
        dag_id: 'work',
        run_id: run,
        execution_date: `2026-01-0${at + 1}T00:00:00Z`,
        data_interval_start: `2026-01-0${at + 1}T00:00:00Z`,
        data_interval_end: `2026-01-0${at + 2}T00:00:00Z`,
        start_date: run === 'waiting' ? null : '2026-01-09T00:00:00Z',
        state: state[run] ?? 'running',
        run_type: run === 'backfill' ? 'backfill' : 'scheduled',
      },
    ]);
  }
  const [fired, waits] = (await insertRows(client, 'trigger', [
    { classpath: 'a.B', kwargs: '{}', created_date: '2026-01-01T00:00:00Z', triggerer_id: 1 },
    { classpath: 'a.B', kwargs: '{}', created_date: '2026-01-01T00:00:00Z', triggerer_id: 1 },
  ])) as [number, number];
  const task = (run: string, task_id: string, more: object = {}): object => ({
    dag_id: 'work',
    run_id: run,
    task_id,
    map_index: -1,
    try_number: 1,
    max_tries: 2,
    pool: 'default_pool',
    pool_slots: 1,
    start_date: '2026-01-09T00:00:00Z',
    ...OWNED,
    ...more,
  });
  await insertRows(client, 'task_instance', [
    task('running', 'done', { state: 'success', end_date: '2026-01-09T01:00:00Z' }),
    ...UNFINISHED.map((each) => task('running', each, { state: each })),
    task('running', 'running_mapped', { state: 'running', map_index: 7 }),
    task('running', 'deferred', {
      state: 'deferred',
      map_index: 1,
      trigger_id: waits,
      next_method: 'go',
      next_kwargs: '{}',
      trigger_timeout: '2026-01-10T00:00:00',
    }),
    task('running', 'not_begun', { state: null }),
    task('over', 'done', { state: 'success', end_date: '2026-01-02T00:00:00Z' }),
    task('over', 'never', { state: null }),
    task('over', 'still_running', { state: 'running' }),
    task('backfill', 'a', { state: 'running' }),
    task('backfill', 'b', { state: 'deferred', trigger_id: fired }),
    task('late', 'a', { state: 'up_for_reschedule' }),
  ] as never);
  await insertRows(client, 'task_reschedule', [
    {
      dag_id: 'work',
      run_id: 'late',
      task_id: 'a',
      map_index: -1,
      try_number: 1,
      start_date: '2026-01-09T00:00:00Z',
      end_date: '2026-01-09T00:01:00Z',
      duration: 60,
      reschedule_date: '2026-01-09T00:02:00Z',
    },
  ]);
  await client.query(
    `INSERT INTO dag_run_note (dag_run_id, content, created_at, updated_at)
       SELECT id, 'a person wrote this', now(), now() FROM dag_run WHERE dag_id = 'work' AND run_id = 'backfill'`,
  );
  await client.query(
    `INSERT INTO log (dttm, dag_id, task_id, event, execution_date) VALUES (now(), 'work', 'a', 'of late', '2026-01-05'), (now(), 'work', 'a', 'of over', '2026-01-01')`,
  );
  await insertRows(client, 'dag', [
    { dag_id: 'work', is_paused: false, is_active: true, next_dagrun: '2026-01-06T00:00:00Z' },
  ]);
}

async function tasksOf(client: pg.Client): Promise<readonly Task[]> {
  const { rows } = await client.query<Task>(
    `SELECT run_id AS run, task_id AS task, map_index AS index, state, try_number, max_tries, end_date::text, trigger_id AS trigger,
            next_method, coalesce(queued_by_job_id, job_id, pid) IS NOT NULL OR hostname <> '' OR external_executor_id IS NOT NULL AS owned
       FROM task_instance WHERE dag_id = 'work' ORDER BY 1, 2, 3`,
  );
  return rows;
}

const one = (tasks: readonly Task[], run: string, task: string, index = -1): Task | undefined =>
  tasks.find((row) => row.run === run && row.task === task && row.index === index);

async function runStates(client: pg.Client): Promise<Readonly<Record<string, string>>> {
  const { rows } = await client.query<{ run_id: string; state: string }>(
    `SELECT run_id, state FROM dag_run WHERE dag_id = 'work' ORDER BY execution_date`,
  );
  return Object.fromEntries(rows.map((row) => [row.run_id, row.state]));
}

const AT_WORK = `SELECT dag_id, run_id, task_id, state FROM task_instance WHERE state IN ('queued', 'running', 'restarting') AND run_id <> 'of the target'`;

describe.each([
  ['2.8.1', 'in-place'],
  ['2.11.0', 'in-place'],
  ['2.8.1', 'shadow'],
  ['2.11.0', 'shadow'],
] as const)('Airflow %s, %s', (version, via) => {
  useWay(via);

  let source: TestDatabase;
  let ctx: Engine;
  let snapshot: string;
  const hasHistory = version === '2.11.0';
  beforeAll(async () => {
    source = await createDatabase({ version });
    await unfinishedWork(await source.client());
    ctx = engine();
    snapshot = (await backUp(ctx, source)).manifest.snapshotTime;
  });

  async function restored(
    inFlight?: InFlightPolicy,
  ): Promise<{ client: pg.Client; result: Awaited<ReturnType<typeof restoreInto>> }> {
    const target = await createDatabase({ version, from: 'fresh' });
    const client = await target.client();
    const result = await restoreInto(ctx, target, inFlight === undefined ? {} : { inFlight });
    expect((await client.query(AT_WORK)).rows, 'queued, running or restarting after the restore').toEqual([]);
    return { client, result };
  }

  test('resume is the default: what ended stays, what was interrupted starts anew, the rest waits as it did', async () => {
    const { client, result } = await restored();
    const tasks = await tasksOf(client);
    expect(await runStates(client)).toEqual({
      over: 'success',
      running: 'running',
      waiting: 'queued',
      backfill: 'failed',
      late: 'running',
    });
    expect(one(tasks, 'running', 'done')).toMatchObject({
      state: 'success',
      owned: true,
      max_tries: 2,
      try_number: 1,
    });
    for (const task of ['queued', 'scheduled']) {
      expect(one(tasks, 'running', task)).toMatchObject({
        state: 'scheduled',
        try_number: 1,
        max_tries: 2,
        owned: false,
      });
    }
    // A deferred task without a trigger waits for nothing.
    for (const task of ['running', 'restarting', 'deferred']) {
      expect(one(tasks, 'running', task)).toMatchObject({
        state: null,
        try_number: 1,
        max_tries: 3,
        owned: false,
      });
    }
    expect(one(tasks, 'running', 'running_mapped', 7)).toMatchObject({ state: null, max_tries: 3 });
    expect(one(tasks, 'running', 'deferred', 1)).toMatchObject({
      state: 'deferred',
      max_tries: 2,
      owned: false,
      next_method: 'go',
      trigger: expect.any(Number) as number,
    });
    for (const task of ['up_for_retry', 'up_for_reschedule']) {
      expect(one(tasks, 'running', task)).toMatchObject({ state: task, max_tries: 2, owned: false });
    }
    expect(one(tasks, 'running', 'not_begun')).toMatchObject({ state: null, max_tries: 2, owned: false });
    expect(one(tasks, 'over', 'never')).toMatchObject({ state: null, max_tries: 2 });
    expect(one(tasks, 'over', 'still_running')).toMatchObject({ state: 'failed' });
    expect(one(tasks, 'backfill', 'a')).toMatchObject({ state: 'failed' });
    const { rows: owners } = await client.query('SELECT 1 FROM trigger WHERE triggerer_id IS NOT NULL');
    expect(owners).toEqual([]);
    const { rows: notes } = await client.query<{ content: string }>(
      `SELECT content FROM dag_run_note n JOIN dag_run r ON r.id = n.dag_run_id WHERE r.dag_id = 'work'`,
    );
    expect(notes).toHaveLength(1);
    expect(notes[0]?.content).toMatch(
      /^a person wrote this\nEnded as failed by Lifeboat, restoring backup .* was running\.$/,
    );
    if (hasHistory) {
      const { rows } = await client.query(
        `SELECT task_id, map_index, try_number, state FROM task_instance_history WHERE dag_id = 'work' ORDER BY 1, 2`,
      );
      expect(rows).toEqual([
        { task_id: 'deferred', map_index: -1, try_number: 1, state: 'failed' },
        { task_id: 'restarting', map_index: -1, try_number: 1, state: 'failed' },
        { task_id: 'running', map_index: -1, try_number: 1, state: 'failed' },
        { task_id: 'running_mapped', map_index: 7, try_number: 1, state: 'failed' },
      ]);
    }
    expect(result.loaded.inFlight).toMatchObject({ policy: 'resume', failedRuns: 1, excludedRuns: 0 });
    expect(result.plan.inFlight.backfillRuns).toBe(1);
  });

  test('time limits that are passed stand in the plan and in the summary', async () => {
    const target = await createDatabase({ version, from: 'fresh' });
    const client = await target.client();
    await insertRows(client, 'serialized_dag', [
      {
        dag_id: 'work',
        fileloc: 'f',
        fileloc_hash: 1,
        data: '{"dag":{"dagrun_timeout":3600.0}}',
        last_updated: '2026-01-01T00:00:00Z',
        dag_hash: 'x',
      },
    ]);
    const result = await restoreInto(ctx, target, {});
    const limits = [
      { dagId: 'work', runId: 'late', kind: 'dagrun' },
      { dagId: 'work', runId: 'late', taskId: 'a', kind: 'sensor' },
      { dagId: 'work', runId: 'running', taskId: 'deferred', mapIndex: 1, kind: 'trigger' },
    ];
    for (const limit of limits) {
      expect(result.plan.inFlight.passedLimits).toContainEqual(expect.objectContaining(limit));
      expect(result.loaded.inFlight?.passedLimits).toContainEqual(expect.objectContaining(limit));
    }
  });

  test('fail: every unfinished run and task ends as failed, with a note, and its triggers go', async () => {
    const { client, result } = await restored('fail');
    expect(new Set(Object.values(await runStates(client)))).toEqual(new Set(['success', 'failed']));
    const tasks = await tasksOf(client);
    const running = tasks.filter((row) => row.run === 'running' && row.task !== 'done');
    expect(new Set(running.map((row) => row.state))).toEqual(new Set(['failed']));
    expect(running.every((row) => row.end_date !== null && row.trigger === null)).toBe(true);
    expect(one(tasks, 'running', 'done')).toMatchObject({ state: 'success' });
    const { rows: left } = await client.query(
      'SELECT 1 FROM trigger g WHERE NOT EXISTS (SELECT 1 FROM task_instance t WHERE t.trigger_id = g.id)',
    );
    const { rows: before } = await (
      await source.client()
    ).query(
      'SELECT 1 FROM trigger g WHERE NOT EXISTS (SELECT 1 FROM task_instance t WHERE t.trigger_id = g.id)',
    );
    expect(left).toHaveLength(before.length);
    const { rows: unfinished } = await client.query(
      `SELECT 1 FROM dag_run WHERE state IN ('queued', 'running')`,
    );
    expect(unfinished).toEqual([]);
    const { rows: notes } = await client.query<{ content: string }>(
      `SELECT content FROM task_instance_note WHERE dag_id = 'work' AND task_id = 'up_for_retry'`,
    );
    expect(notes[0]?.content).toContain(
      `the in-flight policy was fail; its state in the backup (${snapshot}) was up_for_retry.`,
    );
    expect(result.loaded.inFlight).toMatchObject({ policy: 'fail', resumedRuns: 0, resumedTasks: {} });
  });

  test('exclude: unfinished runs are left out with all that is theirs, and their interval comes again', async () => {
    const { client, result } = await restored('exclude');
    expect(await runStates(client)).toEqual({ over: 'success' });
    const { rows: orphans } = await client.query(
      `SELECT dag_id, run_id FROM task_instance t WHERE NOT EXISTS (SELECT 1 FROM dag_run r WHERE r.dag_id = t.dag_id AND r.run_id = t.run_id)
       UNION ALL SELECT dag_id, run_id FROM xcom x WHERE NOT EXISTS (SELECT 1 FROM dag_run r WHERE r.id = x.dag_run_id)`,
    );
    expect(orphans).toEqual([]);
    const { rows: log } = await client.query(`SELECT event FROM log WHERE dag_id = 'work'`);
    expect(log).toEqual([{ event: 'of over' }]);
    const { rows: dag } = await client.query(
      `SELECT next_dagrun::text AS next, next_dagrun_create_after::text AS after FROM dag WHERE dag_id = 'work'`,
    );
    expect(dag).toEqual([{ next: '2026-01-02 00:00:00+00', after: '2026-01-03 00:00:00+00' }]);
    expect(result.loaded.inFlight?.excludedRuns).toBeGreaterThanOrEqual(4);
  });

  test('the unfinished runs of the target itself are not touched', async () => {
    const target = await createDatabase({ version, from: 'fresh' });
    const client = await target.client();
    await insertRows(client, 'dag_run', [
      {
        dag_id: 'own',
        run_id: 'of the target',
        execution_date: '2026-01-01T00:00:00Z',
        state: 'running',
        run_type: 'manual',
      },
    ]);
    await insertRows(client, 'task_instance', [
      {
        dag_id: 'own',
        run_id: 'of the target',
        task_id: 't',
        map_index: -1,
        state: 'scheduled',
        pool: 'default_pool',
        pool_slots: 1,
        ...OWNED,
      },
    ]);
    await client.query('BEGIN');
    await rememberKeptRuns(client, 'public');
    const before = (await client.query('SELECT * FROM task_instance')).rows;
    await settleInFlight(client, 'public', {
      policy: 'fail',
      backupId: 'b',
      snapshotTime: snapshot,
      tables: tablesFor(hasHistory ? '2.11' : '2.8'),
      now: new Date(),
      beside: { brought: () => 'true', ownSchedule: () => 'false' },
      carrying: ['own'],
    });
    expect((await client.query('SELECT * FROM task_instance')).rows).toEqual(before);
    await client.query('ROLLBACK');
  });
});
