import { afterEach, expect, test } from 'vitest';
import { storedTable } from '../../src/engine/manifest.ts';
import { noHistory } from '../helpers/fake-airflow-history.ts';
import { restWorld } from '../helpers/restore-world.ts';
import { namedGaps, type RestWorld, startRestWorld } from '../helpers/rest-world.ts';

const targets = restWorld();
let world: RestWorld | undefined;

afterEach(async () => {
  await targets.close();
  await world?.close();
  world = undefined;
});

test.each(['2.5.1', '2.6.3'])(
  '%s tells no index of XComs: the column is not there, and named',
  async (release) => {
    world = await startRestWorld(release);
    const { xcoms } = world.fake.rows.history;
    // Two of one name, of which it tells the value of neither.
    xcoms.push({ ...xcoms[1], map_index: 0, timestamp: '2026-11-20T01:02:03.500000Z' });
    const manifest = await world.backUp();
    const stored = storedTable(manifest, 'xcom');
    expect(stored?.columns).not.toContain('map_index');
    expect(manifest.leftOut).toContainEqual(
      expect.objectContaining({ table: 'xcom', columns: ['map_index', 'dag_run_id'] }),
    );
    const rows = await world.rowsOf(manifest, 'xcom');
    expect(rows.map(({ key, task_id: id, value_text: value }) => [id, key, value])).toEqual([
      ['load', 'return_value', '{"n":1.0}'],
      ['mapped', 'return_value', null],
      ['load', 'nothing', 'null'],
      ['mapped', 'return_value', null],
      ['load', 'progress', '7'],
    ]);
    expect(namedGaps(manifest, 'xcom')).toEqual([['value_text', 'etl/scheduled__1/mapped/return_value']]);
  },
);

test('2.7 tells it', async () => {
  world = await startRestWorld('2.7.2');
  const rows = await world.rowsOf(await world.backUp(), 'xcom');
  expect(rows.map(({ map_index: index }) => index)).toEqual(['-1', '1', '-1', '-1']);
});

test('2.10 tells the try of a task that waits for the next one twice', async () => {
  world = await startRestWorld('2.10.3');
  const { history } = world.fake.rows;
  Object.assign(history.task_instances[4] ?? {}, { state: 'up_for_retry', try_number: 2 });
  const waiting = { dag_run_id: 'manual__unfinished', state: 'failed' };
  for (const number of [1, 2]) history.tries.push({ ...history.tries[0], ...waiting, try_number: number });
  const rows = await world.rowsOf(await world.backUp(), 'task_instance_history');
  const own = rows.filter(({ run_id: id }) => id === 'manual__unfinished');
  expect(own.map(({ try_number: number, state }) => [number, state])).toEqual([
    ['1', 'failed'],
    ['2', 'failed'],
  ]);
});

test('a mapped task of a run of 2.6 whose XComs may be those of another one runs again', async () => {
  const ctx = await targets.backedUp('2.6.3', ({ dag_runs: runs, history }) => {
    Object.assign(runs[2] ?? {}, { conf: {} });
    const [, mapped] = history.task_instances;
    const ended = {
      ...mapped,
      dag_run_id: 'manual__unfinished',
      state: 'success',
      execution_date: undefined,
    };
    history.task_instances.push(
      { ...ended, id: 'a', task_id: 'mapped', map_index: 0 },
      { ...ended, id: 'b', task_id: 'quiet', map_index: -1 },
    );
    const [, , , xcom] = history.xcoms;
    history.xcoms.push({ ...xcom, task_id: 'mapped', map_index: 0, key: 'return_value', value: '1' });
  });
  const { client } = await targets.start('3.3.2', {
    dags: [{ dag_id: 'etl', is_paused: false, tasks: ['load', 'report', 'mapped', 'quiet'] }],
    history: noHistory(),
  });
  const { plan } = await targets.restore(ctx, client);
  expect(plan.runs).toMatchObject({
    restores: 1,
    finishedTasks: 1,
    tasksAgain: ['etl/manual__unfinished/mapped[0]'],
  });
});
