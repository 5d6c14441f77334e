import { afterEach, describe, expect, test } from 'vitest';
import type { FakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { noHistory } from '../helpers/fake-airflow-history.ts';
import type { FakeRows } from '../helpers/fake-airflow-rows.ts';
import { restWorld, writes } from '../helpers/restore-world.ts';

const world = restWorld();
afterEach(() => world.close());

const TASKS = ['extract', 'load', 'check', 'clean'];
const day = (number: number): string => new Date(Date.UTC(2026, 9, 1 + number)).toISOString();
const TARGET = (more: Record<string, unknown> = {}): Partial<FakeRows> => ({
  dags: [{ dag_id: 'etl', is_paused: false, tasks: TASKS, ...more }],
  history: noHistory(),
});

/** Finished runs, a day apart: a success with a skipped task, a failure, and as many plain ones as wanted. */
function finished(plain = 0): (rows: FakeRows) => void {
  return (rows) => {
    const states = ['success', 'failed', ...Array.from({ length: plain }, () => 'success')];
    rows.dags.splice(0, 100, { dag_id: 'etl', is_paused: false });
    rows.dag_runs.splice(
      0,
      100,
      ...states.map((state, at) => ({
        dag_id: 'etl',
        dag_run_id: at === 1 ? 'manual__1' : `scheduled__${at}`,
        run_type: at === 1 ? 'manual' : 'scheduled',
        state,
        logical_date: day(at),
        data_interval_start: day(at),
        data_interval_end: day(at + 1),
        run_after: day(at + 1),
        start_date: day(at + 1),
        end_date: day(at + 2),
        conf: { at },
        note: at === 1 ? 'look here' : null,
      })),
    );
    const task = (run: string, id: string, state: string, at: number): Record<string, unknown> => ({
      id: `${run}-${id}`,
      dag_id: 'etl',
      dag_run_id: run,
      task_id: id,
      map_index: -1,
      state,
      start_date: day(at),
      try_number: 1,
    });
    rows.history.task_instances.splice(
      0,
      100,
      ...TASKS.map((id, at) => task('scheduled__0', id, id === 'load' ? 'skipped' : 'success', at)),
      task('manual__1', 'extract', 'success', 1),
      task('manual__1', 'load', 'failed', 2),
      task('manual__1', 'check', 'failed', 3),
      task('manual__1', 'clean', 'upstream_failed', 4),
    );
    rows.history.tries.length = 0;
    rows.history.xcoms.length = 0;
  };
}

function statesOf(fake: FakeAirflowApi): Record<string, unknown> {
  return Object.fromEntries(
    fake.rows.dag_runs.map(({ dag_run_id: run, state }) => [
      String(run),
      [
        state,
        ...fake.rows.history.task_instances
          .filter((task) => task.dag_run_id === run)
          .map((task) => task.state),
      ].join(' '),
    ]),
  );
}

const MARKED = {
  restored__scheduled__0: 'success success skipped success success',
  manual__1: 'failed success failed failed skipped',
};

describe('--history mark', () => {
  test('makes finished runs again in their final state, while their DAG is paused', async () => {
    const ctx = await world.backedUp('3.2.1', finished());
    const { fake, client } = await world.start('3.2.1', TARGET());
    const { plan, restored } = await world.restore(ctx, client, { history: 'mark' });
    expect(plan.history).toEqual({ inBackup: 2, marks: 2, success: 1, failed: 1, renamed: 1, before: 0 });
    expect(statesOf(fake)).toEqual(MARKED);
    expect(restored?.history).toEqual({
      made: 2,
      before: 0,
      tasksSet: 4,
      tasksDifferent: 1,
      notMarked: [],
    });
    const failed = fake.rows.dag_runs.find((run) => run.dag_run_id === 'manual__1');
    expect(failed).toMatchObject({
      logical_date: day(1).replace('.000Z', '+00:00'),
      conf: { at: 1 },
      note: `look here\nRestored by Lifeboat from backup ${plan.backupId}, where it was manual__1, ended as failed at ${day(3).replace('.000Z', '+00:00')}.`,
    });
    const dag = writes(fake).filter((one) => one === 'PATCH v2/dags/etl');
    expect(dag).toHaveLength(2);
    expect(writes(fake).at(-1)).toBe('PATCH v2/dags/etl');
    expect(fake.rows.dags[0]).toMatchObject({ is_paused: false });
  });

  test('without it they stay in the backup; a dry run counts them and changes nothing', async () => {
    const ctx = await world.backedUp('3.2.1', finished());
    const { fake, client } = await world.start('3.2.1', TARGET());
    const { plan } = await world.restore(ctx, client);
    expect(plan.history).toBeNull();
    fake.calls.length = 0;
    const dry = await world.restore(ctx, client, { history: 'mark', dryRun: true });
    expect(dry.plan.history).toMatchObject({ marks: 2 });
    expect(writes(fake)).toEqual([]);
    expect(fake.rows.dag_runs).toEqual([]);
  });

  test('two requests are enough for a plain one, and a second time none is sent', async () => {
    const ctx = await world.backedUp('3.2.1', finished(250));
    const { fake, client } = await world.start('3.2.1', TARGET());
    const first = await world.restore(ctx, client, { history: 'mark' });
    expect(first.restored?.history).toMatchObject({ made: 252, notMarked: [] });
    const asked = fake.calls.filter(({ path }) => path.includes('restored__scheduled__77'));
    expect(asked.map(({ method }) => method)).toEqual(['PATCH']);
    fake.calls.length = 0;
    const again = await world.restore(ctx, client, { history: 'mark' });
    expect(writes(fake)).toEqual([]);
    expect(again.plan.history).toMatchObject({ marks: 0, before: 252 });
    expect(again.restored?.history).toMatchObject({ made: 0, before: 252 });
  });

  test('after a cleanup of the target they are made once more', async () => {
    const ctx = await world.backedUp('3.2.1', finished(150));
    const { fake, client } = await world.start('3.2.1', TARGET());
    await world.restore(ctx, client, { history: 'mark' });
    const states = statesOf(fake);
    fake.rows.dag_runs.length = 0;
    fake.rows.history.task_instances.length = 0;
    const again = await world.restore(ctx, client, { history: 'mark' });
    expect(again.plan.history).toMatchObject({ marks: 152, before: 0 });
    expect(again.restored?.history).toMatchObject({ made: 152, notMarked: [] });
    expect(statesOf(fake)).toEqual(states);
    expect(fake.rows.dags[0]).toMatchObject({ is_paused: false });
  });

  test('of chosen DAGs, and since a time', async () => {
    const ctx = await world.backedUp('3.2.1', finished(10));
    const { client } = await world.start('3.2.1', TARGET());
    const none = await world.restore(ctx, client, { history: 'mark', excludeDags: ['e*'], dryRun: true });
    expect(none.plan.history).toMatchObject({ inBackup: 0 });
    const [snapshot, tenth] = [Date.parse('2026-11-21T12:00:00Z'), Date.parse(day(11))];
    const since = snapshot - tenth;
    const late = await world.restore(ctx, client, { history: 'mark', since, dryRun: true });
    expect(late.plan.history).toMatchObject({ inBackup: 2, marks: 2 });
  });

  test('a teardown that has not run does not keep a run open', async () => {
    const ctx = await world.backedUp('3.2.1', finished());
    const { fake, client } = await world.start('3.2.1', TARGET({ teardowns: ['clean'] }));
    await world.restore(ctx, client, { history: 'mark' });
    expect(statesOf(fake)).toEqual(MARKED);
  });

  test('v1 leaves tasks of a failed run without a state, and sets no skipped ones', async () => {
    const ctx = await world.backedUp('3.2.1', finished());
    const { fake, client } = await world.start('2.8.1', TARGET());
    await world.restore(ctx, client, { history: 'mark' });
    expect(statesOf(fake)).toEqual({
      restored__scheduled__0: 'success success success success success',
      manual__1: 'failed success failed failed ',
    });
  });

  test('another run of that name or date is left alone, and named', async () => {
    const ctx = await world.backedUp('3.2.1', finished());
    const { fake, client } = await world.start('3.2.1', {
      ...TARGET(),
      dag_runs: [
        { dag_id: 'etl', dag_run_id: 'manual__1', state: 'success', note: 'mine', logical_date: null },
        {
          dag_id: 'etl',
          dag_run_id: 'own',
          state: 'running',
          logical_date: day(0).replace('.000Z', '+00:00'),
        },
      ],
    });
    const { restored } = await world.restore(ctx, client, { history: 'mark' });
    expect(restored?.history?.notMarked).toEqual([
      {
        table: 'dag_run',
        reason: 'another run of the target has its logical date (409)',
        rows: 1,
        names: ['etl/scheduled__0'],
      },
      {
        table: 'dag_run',
        reason: 'the target has a run of its own under this name, and keeps it',
        rows: 1,
        names: ['etl/manual__1'],
      },
    ]);
    expect(fake.rows.dag_runs.map(({ state }) => state)).toEqual(['success', 'running']);
  });

  test('runs that cannot be made are in the plan, with the reason', async () => {
    const ctx = await world.backedUp('3.2.1', finished());
    const { client } = await world.start('3.2.1', { dags: [{ dag_id: 'other', is_paused: true }] });
    const { plan } = await world.restore(ctx, client, { history: 'mark', dryRun: true });
    expect(plan.history).toMatchObject({ inBackup: 2, marks: 0 });
    expect(plan.leftOut).toContainEqual({
      table: 'dag_run',
      reason: expect.stringContaining('not parsed') as string,
      rows: 2,
      names: ['etl/scheduled__0', 'etl/manual__1'],
    });
  });
});

describe('interrupted after any of its requests', () => {
  test.each(Array.from({ length: 12 }, (_, at) => at))(
    'number %i is lost: the same command ends where one without a fault does',
    async (at) => {
      const ctx = await world.backedUp('3.2.1', finished(3));
      const { fake, client } = await world.start('3.2.1', TARGET({ teardowns: ['clean'] }));
      let seen = 0;
      fake.onCall = ({ method, path }) => {
        if (method === 'GET' || path.includes('token')) return;
        if (seen === at) fake.faults.push({ kind: 'lose-answer' }, { times: 999, kind: 'reset' });
        seen += 1;
      };
      const first: unknown = await world
        .restore(ctx, client, { history: 'mark' })
        .catch((thrown: unknown) => thrown);
      expect(first).toBeInstanceOf(Error);
      fake.onCall = () => undefined;
      fake.faults.length = 0;
      const { restored } = await world.restore(ctx, client, { history: 'mark' });
      expect(restored?.history?.notMarked).toEqual([]);
      expect(statesOf(fake)).toMatchObject(MARKED);
      expect(fake.rows.dag_runs.map(({ state }) => state).toSorted()).toEqual([
        'failed',
        ...Array.from({ length: 4 }, () => 'success'),
      ]);
      expect(fake.rows.dags[0]).toMatchObject({ is_paused: false });
      fake.calls.length = 0;
      await world.restore(ctx, client, { history: 'mark' });
      expect(writes(fake)).toEqual([]);
    },
  );
});
