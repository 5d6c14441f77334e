import { afterEach, describe, expect, test } from 'vitest';
import type { RestRestoreResult } from '../../src/engine/rest-restore/api.ts';
import { newRunId } from '../../src/engine/rest-restore/plan-runs.ts';
import { noteOf } from '../../src/engine/rest-restore/make-run.ts';
import { stringifyExact } from '../../src/rest/exact-json.ts';
import { type FakeAirflowApi, type FakeApiFault } from '../helpers/fake-airflow-api.ts';
import { noHistory } from '../helpers/fake-airflow-history.ts';
import type { FakeRows } from '../helpers/fake-airflow-rows.ts';
import { CONF } from '../helpers/fake-airflow-sample.ts';
import { parseExact } from '../../src/rest/exact-json.ts';
import { restWorld, writes } from '../helpers/restore-world.ts';

const world = restWorld();
afterEach(() => world.close());

const DATE = '2026-11-21T01:02:03.45+00:00';
const EMPTY_TARGET = (): Partial<FakeRows> => ({
  dags: [{ dag_id: 'etl', is_paused: false, tasks: ['extract', 'load', 'check', 'report'] }],
  history: noHistory(),
});

/** A scheduled run in the middle of its work: one task done with an XCom, one skipped, one failed, one running. */
function inTheMiddle(rows: FakeRows): void {
  rows.dags.splice(0, 1, { dag_id: 'etl', is_paused: false });
  rows.dag_runs.splice(2, 1, {
    dag_id: 'etl',
    dag_run_id: 'scheduled__2026-11-21',
    run_type: 'scheduled',
    state: 'running',
    logical_date: DATE,
    data_interval_start: DATE,
    data_interval_end: '2026-11-22T01:02:03Z',
    run_after: '2026-11-22T01:02:03Z',
    conf: parseExact(CONF),
    note: 'watch it',
  });
  const task = (id: string, state: string | null, start: string | null): Record<string, unknown> => ({
    id,
    dag_id: 'etl',
    dag_run_id: 'scheduled__2026-11-21',
    task_id: id,
    map_index: -1,
    state,
    start_date: start,
    try_number: 1,
  });
  rows.history.task_instances.splice(
    4,
    2,
    task('check', 'failed', '2026-11-21T01:03:00Z'),
    task('extract', 'success', '2026-11-21T01:02:30Z'),
    task('load', 'skipped', '2026-11-21T01:04:00Z'),
    task('report', 'running', '2026-11-21T01:05:00Z'),
  );
  const xcom = { dag_id: 'etl', run_id: 'scheduled__2026-11-21', map_index: -1, timestamp: DATE };
  rows.history.xcoms.splice(
    3,
    1,
    { ...xcom, task_id: 'extract', key: 'return_value', value: parseExact('{"n":1.0}') },
    { ...xcom, task_id: 'extract', key: 'nothing', value: null },
    { ...xcom, task_id: 'report', key: 'half', value: 1 },
  );
}

const NEW_ID = 'restored__scheduled__2026-11-21';

function statesOf(fake: FakeAirflowApi): Record<string, unknown> {
  return Object.fromEntries(
    fake.rows.history.task_instances.map(({ task_id: id, state }) => [String(id), state]),
  );
}

describe('an unfinished run', () => {
  test('is made again while its DAG is paused, with what had ended, before it is let go', async () => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', EMPTY_TARGET());
    const { restored, plan } = await world.restore(ctx, client);
    const run = `v2/dags/etl/dagRuns/${NEW_ID}`;
    expect(writes(fake).slice(3)).toEqual([
      'PATCH v2/dags/etl',
      'POST v2/dags/etl/dagRuns',
      `POST ${run}/taskInstances/extract/xcomEntries`,
      `POST ${run}/taskInstances/extract/xcomEntries`,
      `PATCH ${run}/taskInstances/extract`,
      `PATCH ${run}/taskInstances/load`,
      `PATCH ${run}/taskInstances/check`,
      'PATCH v2/dags/etl',
    ]);
    expect(fake.rows.dag_runs).toHaveLength(1);
    expect(fake.rows.dag_runs[0]).toMatchObject({
      dag_run_id: NEW_ID,
      logical_date: DATE,
      data_interval_start: DATE,
      data_interval_end: '2026-11-22T01:02:03+00:00',
      note: `watch it\nRestored by Lifeboat from backup ${plan.backupId}, where it was scheduled__2026-11-21.`,
    });
    const posted = fake.calls.find(({ path }) => path.endsWith('/etl/dagRuns'))?.text ?? '';
    expect(posted).toContain(CONF);
    expect(fake.rows.history.xcoms.map(({ key, value }) => [key, stringifyExact(value)])).toEqual([
      ['return_value', '{"n":1}'],
      ['nothing', 'null'],
    ]);
    expect(statesOf(fake)).toEqual({ extract: 'success', load: 'skipped', check: 'failed', report: null });
    expect(fake.rows.dags[0]).toMatchObject({ is_paused: false });
    expect(restored?.runs).toEqual({
      made: [`etl/${NEW_ID}`],
      before: [],
      others: [],
      tasksSet: 3,
      xcomsWritten: 2,
      again: [],
      problems: [],
    });
    expect(plan.runs).toMatchObject({ inBackup: 1, restores: 1, renamed: 1, finishedTasks: 3, xcoms: 2 });
  });

  test('a second time nothing is written, whatever became of the run', async () => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', EMPTY_TARGET());
    await world.restore(ctx, client);
    Object.assign(fake.rows.dag_runs[0] ?? {}, { state: 'success' });
    for (const task of fake.rows.history.task_instances) task.state = 'success';
    fake.calls.length = 0;
    const { restored } = await world.restore(ctx, client);
    expect(writes(fake)).toEqual([]);
    expect(restored?.runs).toMatchObject({ made: [], before: [`etl/${NEW_ID}`], again: [] });
  });

  test('one that was deleted since is made once more', async () => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', EMPTY_TARGET());
    await world.restore(ctx, client);
    fake.rows.dag_runs.length = 0;
    fake.rows.history.task_instances.length = 0;
    fake.rows.history.xcoms.length = 0;
    const { restored } = await world.restore(ctx, client);
    expect(restored?.runs).toMatchObject({ made: [`etl/${NEW_ID}`], tasksSet: 3, xcomsWritten: 2 });
  });

  test('a run of that name which is none of ours is left alone, and named', async () => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', {
      ...EMPTY_TARGET(),
      dag_runs: [{ dag_id: 'etl', dag_run_id: NEW_ID, state: 'success' }],
    });
    const { restored } = await world.restore(ctx, client);
    expect(restored?.runs).toMatchObject({ made: [], others: [`etl/${NEW_ID}`] });
    expect(writes(fake).some((one) => one.includes('dagRuns'))).toBe(false);
  });

  test('another run has its date: Airflow’s no is named, and its DAG is let go again', async () => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', {
      ...EMPTY_TARGET(),
      dag_runs: [{ dag_id: 'etl', dag_run_id: 'scheduled__own', state: 'success', logical_date: DATE }],
    });
    const { restored } = await world.restore(ctx, client);
    expect(restored?.refused).toMatchObject([{ table: 'dag_run', name: 'etl/scheduled__2026-11-21' }]);
    expect(fake.rows.dags[0]).toMatchObject({ is_paused: false });
  });

  test('--in-flight fail ends it as failed, exclude leaves it out', async () => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', EMPTY_TARGET());
    const excluded = await world.restore(ctx, client, { inFlight: 'exclude' });
    expect(fake.rows.dag_runs).toEqual([]);
    expect(excluded.plan.leftOut).toContainEqual({
      table: 'dag_run',
      reason: 'it had not ended (--in-flight exclude)',
      rows: 1,
      names: ['etl/scheduled__2026-11-21'],
    });
    await world.restore(ctx, client, { inFlight: 'fail' });
    expect(fake.rows.dag_runs).toMatchObject([{ dag_run_id: NEW_ID, state: 'failed' }]);
    expect(statesOf(fake)).toMatchObject({ extract: 'success' });
  });

  test.each([
    ['the target has not parsed its DAG', { dags: [{ dag_id: 'other', is_paused: true }] }],
    ['carries backups', { dags: [{ dag_id: 'etl', is_paused: true, tags: [{ name: 'lifeboat' }] }] }],
  ])('%s: it stays out', async (reason, rows) => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', rows);
    const { plan } = await world.restore(ctx, client);
    expect(plan.leftOut.map((one) => one.reason).join()).toContain(reason);
    expect(fake.rows.dag_runs).toEqual([]);
  });

  test('a finished task whose XCom Airflow does not take runs again, and is named', async () => {
    const ctx = await world.backedUp('3.2.1', inTheMiddle);
    const { fake, client } = await world.start('3.3.2', EMPTY_TARGET());
    fake.faults.push({
      method: 'POST',
      path: '/xcomEntries',
      kind: { status: 422, body: { detail: 'reserved serialization keys' } },
    });
    const { restored } = await world.restore(ctx, client);
    expect(statesOf(fake)).toEqual({ extract: null, load: 'skipped', check: 'failed', report: null });
    expect(restored?.runs?.again).toEqual(['etl/scheduled__2026-11-21/extract']);
    expect(restored?.runs?.problems.join()).toContain('reserved serialization keys');
  });

  test('so does a mapped task that is not there yet', async () => {
    const ctx = await world.backedUp('3.2.1', (rows) => {
      inTheMiddle(rows);
      Object.assign(rows.history.task_instances[6] ?? {}, { map_index: 0 });
    });
    const { client } = await world.start('3.3.2', EMPTY_TARGET());
    const { restored } = await world.restore(ctx, client);
    expect(restored?.runs).toMatchObject({ tasksSet: 2, again: ['etl/scheduled__2026-11-21/load[0]'] });
  });

  test.each([
    ['2.8.1', ['tasks-again', 'interval-inferred'], null],
    ['2.9.2', ['tasks-again'], null],
    ['2.10.3', ['tasks-again'], 'skipped'],
    ['3.2.1', ['tasks-again'], 'skipped'],
  ])(
    '%s: what it cannot set, and what left XComs that it cannot write, runs again',
    async (version, warnings, load) => {
      const ctx = await world.backedUp('3.2.1', inTheMiddle);
      const { fake, client } = await world.start(version, EMPTY_TARGET());
      const { plan, restored } = await world.restore(ctx, client);
      expect(statesOf(fake)).toEqual({ extract: null, load, check: 'failed', report: null });
      expect(plan.runs?.tasksAgain).toEqual([
        'etl/scheduled__2026-11-21/extract',
        ...(load === null ? ['etl/scheduled__2026-11-21/load'] : []),
      ]);
      expect(plan.warnings.map(({ code }) => code)).toEqual(warnings);
      expect(fake.rows.history.xcoms).toEqual([]);
      expect(restored?.runs).toMatchObject({ made: [`etl/${NEW_ID}`], tasksSet: load === null ? 1 : 2 });
      expect(restored?.runs?.problems).toEqual([]);
    },
  );
});

test('2.5 takes the note of a run that is there', async () => {
  const ctx = await world.backedUp('3.2.1', inTheMiddle);
  const { fake, client } = await world.start('2.5.1', EMPTY_TARGET());
  const { restored, plan } = await world.restore(ctx, client);
  expect(fake.rows.dag_runs).toMatchObject([
    {
      dag_run_id: NEW_ID,
      note: `watch it\nRestored by Lifeboat from backup ${plan.backupId}, where it was scheduled__2026-11-21.`,
    },
  ]);
  expect(restored?.refused).toEqual([]);
});

describe('interrupted after any of its requests', () => {
  /** The writes of a restore that nothing interrupts. */
  const WRITES = 11;

  test.each(Array.from({ length: WRITES }, (_, at) => at))(
    'number %i is lost: the same command ends where one without a fault does',
    async (at) => {
      const ctx = await world.backedUp('3.2.1', inTheMiddle);
      const { fake, client } = await world.start('3.3.2', EMPTY_TARGET());
      let seen = 0;
      let cut: FakeApiFault['kind'] | undefined;
      fake.onCall = ({ method, path }) => {
        if (method === 'GET' || path.includes('token')) return;
        if (seen === at) cut = 'lose-answer';
        seen += 1;
        // From then on the server is away.
        if (cut !== undefined) {
          fake.faults.length = 0;
          fake.faults.push({ times: 99, kind: seen === at + 1 ? cut : 'reset' });
        }
      };
      const first: unknown = await world.restore(ctx, client).catch((thrown: unknown) => thrown);
      expect(first).toBeInstanceOf(Error);
      expect(seen).toBeGreaterThan(at);
      fake.onCall = () => undefined;
      fake.faults.length = 0;
      const second: RestRestoreResult = await world.restore(ctx, client);
      expect(second.restored?.refused).toEqual([]);
      expect(second.restored?.runs?.problems).toEqual([]);
      expect(statesOf(fake)).toEqual({ extract: 'success', load: 'skipped', check: 'failed', report: null });
      expect(fake.rows.dag_runs).toHaveLength(1);
      expect(fake.rows.history.xcoms).toHaveLength(2);
      expect(fake.rows.dags[0]).toMatchObject({ is_paused: false });
      fake.calls.length = 0;
      await world.restore(ctx, client);
      expect(writes(fake)).toEqual([]);
    },
  );
});

test('ids that only a scheduler may give become others', () => {
  expect(['manual__1', 'scheduled__1', 'backfill__1', 'asset_triggered__1', 'own'].map(newRunId)).toEqual([
    'manual__1',
    'restored__scheduled__1',
    'restored__backfill__1',
    'restored__asset_triggered__1',
    'own',
  ]);
});

test('a note that is full loses its end, not ours', () => {
  const note = noteOf('x'.repeat(1000), 'manual__1', 'ID');
  expect(note).toHaveLength(1000);
  expect(note).toMatch(/xx\nRestored by Lifeboat from backup ID, where it was manual__1\.$/);
});
