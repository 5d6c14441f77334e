import { afterEach, describe, expect, test } from 'vitest';
import { storedTable } from '../../src/engine/manifest.ts';
import { createGaps } from '../../src/engine/rest/gaps.ts';
import { namedGaps, type RestWorld, startRestWorld } from '../helpers/rest-world.ts';

let world: RestWorld;

afterEach(() => world.close());

const FIRST = 'etl/scheduled__1';

describe.each(['3.2.1', '2.8.1'])('a server of %s that fails at one thing', (version) => {
  test('a task instance is named with its run, and all others are there', async () => {
    world = await startRestWorld(version);
    const { task_instances: tasks } = world.fake.rows.history;
    tasks.splice(1, 0, { ...tasks[0], id: 'broken', task_id: 'other', broken: true });
    const manifest = await world.backUp();
    expect(storedTable(manifest, 'task_instance')?.rows).toBe(6);
    expect(namedGaps(manifest, 'task_instance')).toEqual([['row', `${FIRST}: the one after load`]]);
  });

  test('an entry among the XComs is named, and all others are there', async () => {
    world = await startRestWorld(version);
    const { xcoms } = world.fake.rows.history;
    xcoms.splice(1, 0, { ...xcoms[0], key: 'other', broken: true });
    const manifest = await world.backUp();
    expect(storedTable(manifest, 'xcom')?.rows).toBe(4);
    expect(namedGaps(manifest, 'xcom')).toHaveLength(1);
  });

  test('a value of an XCom is named, and its row says that it is lacking', async () => {
    world = await startRestWorld(version);
    Object.assign(world.fake.rows.history.xcoms[0] ?? {}, { brokenValue: true });
    const manifest = await world.backUp();
    const column = version === '2.8.1' ? 'value_text' : 'value';
    expect(namedGaps(manifest, 'xcom')).toEqual([[column, `${FIRST}/load/return_value`]]);
    const rows = await world.rowsOf(manifest, 'xcom');
    expect(rows.map((row) => [row.unreadable, row[column] === null])).toContainEqual([column, true]);
    expect(rows.filter(({ unreadable }) => unreadable !== null)).toHaveLength(1);
  });
});

test('tries that the server fails at are named', async () => {
  world = await startRestWorld('3.2.1');
  Object.assign(world.fake.rows.history.tries[0] ?? {}, { broken: true });
  const manifest = await world.backUp();
  expect(namedGaps(manifest, 'task_instance_history')).toEqual([['row', `${FIRST}/load`]]);
});

test('a connection of 2.x whose extra does not come says so', async () => {
  world = await startRestWorld('2.8.1');
  world.fake.faults.push({ path: '/connections/whole', times: 4, kind: { status: 500 } });
  const manifest = await world.backUp();
  expect(namedGaps(manifest, 'connection')).toContainEqual(['extra', 'whole']);
  const [whole] = await world.rowsOf(manifest, 'connection');
  expect(whole).toMatchObject({ conn_id: 'whole', extra: null, unreadable: 'password,extra' });
});

test('what fails three times and comes then is there', async () => {
  world = await startRestWorld('2.8.1');
  world.fake.faults.push({ path: '/connections/whole', times: 3, kind: { status: 500 } });
  const manifest = await world.backUp();
  expect(namedGaps(manifest, 'connection')).not.toContainEqual(['extra', 'whole']);
});

test('a server that fails for a while fails at nothing', async () => {
  world = await startRestWorld('3.2.1');
  const value = '/load/xcomEntries/return_value';
  world.fake.onCall = ({ path }) => {
    if (!path.endsWith(value)) return;
    // Its database is away: the value does not come, nor what is asked to find out.
    world.fake.onCall = () => undefined;
    world.fake.faults.push({ path: value, kind: { status: 500 } });
    world.fake.faults.push({ path: '/pools', times: 2, kind: { status: 500 } });
  };
  const manifest = await world.backUp();
  expect(world.fake.faults).toEqual([]);
  expect(namedGaps(manifest, 'xcom')).toEqual([]);
});

test('a gateway that is busy is waited for', async () => {
  world = await startRestWorld('3.2.1');
  world.fake.faults.push({ path: '/xcomEntries/return_value', times: 2, kind: { status: 503 } });
  const manifest = await world.backUp();
  expect(namedGaps(manifest, 'xcom')).toEqual([]);
});

test('of tables that grow with the runs the first thousand are named, and the others counted', async () => {
  world = await startRestWorld('3.2.1');
  const gaps = createGaps();
  for (let number = 0; number < 1_500; number++) {
    for (const table of ['xcom', 'variable', 'xcom']) gaps.value(table, 'value', `n${number}`, 'why');
  }
  const count = (table: string): readonly (number | undefined)[] => {
    const entries = gaps.list().filter((one) => one.table === table);
    const named = entries.flatMap(({ names = [] }) => names).length;
    return [named, entries.find(({ names }) => names === undefined)?.rows];
  };
  expect(count('xcom')).toEqual([1_000, 500]);
  expect(count('variable')).toEqual([1_500, undefined]);
});
