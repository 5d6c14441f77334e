import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { diff } from '../../src/engine/diff/diff.ts';
import { databaseSource, storedTable } from '../../src/engine/manifest.ts';
import { parseGivenSecrets } from '../../src/engine/rest/given.ts';
import { verify } from '../../src/engine/verify.ts';
import type { FakeApiCall } from '../helpers/fake-airflow-api.ts';
import { CONF } from '../helpers/fake-airflow-sample.ts';
import {
  inClear as clear,
  namedGaps as gaps,
  type RestWorld,
  startRestWorld,
  WORLD_KEY as KEY,
} from '../helpers/rest-world.ts';

let world: RestWorld;

async function start(version: string): Promise<void> {
  world = await startRestWorld(version);
}

afterEach(() => world.close());

const backUp: RestWorld['backUp'] = (more) => world.backUp(more);
const rowsOf: RestWorld['rowsOf'] = (manifest, table) => world.rowsOf(manifest, table);

describe('a backup through v2', () => {
  test('has a row for each of the API, as the database would write it', async () => {
    await start('3.2.1');
    const manifest = await backUp();
    expect(Object.fromEntries(manifest.tables.map(({ name, rows }) => [name, rows]))).toEqual({
      slot_pool: 1,
      variable: 4,
      connection: 2,
      dag: 1,
      asset: 2,
      asset_alias: 1,
      asset_event: 2,
      asset_dag_run_queue: 1,
      dag_version: 1,
      backfill: 0,
      dag_run: 3,
      task_instance: 6,
      task_instance_history: 1,
      xcom: 4,
      log: 1,
      import_error: 1,
    });
    const [first, second] = await rowsOf(manifest, 'dag_run');
    expect(first).toMatchObject({
      run_id: 'scheduled__1',
      logical_date: '2026-11-20 01:02:03.45+00',
      conf: CONF,
      note: 'done',
      triggered_by: 'TIMETABLE',
    });
    expect(second).toMatchObject({ logical_date: '2026-11-20 01:00:00+00', conf: '{}', note: null });
    const tasks = await rowsOf(manifest, 'task_instance');
    expect(tasks[0]).toMatchObject({ run_id: 'scheduled__1', duration: '16', map_index: '-1' });
    expect(await rowsOf(manifest, 'task_instance_history')).toMatchObject([
      { state: 'failed', try_number: '1' },
    ]);
    const xcoms = await rowsOf(manifest, 'xcom');
    expect(xcoms.map(({ key, map_index, value }) => [key, map_index, value])).toEqual([
      ['return_value', '-1', '{"n":1.0}'],
      ['return_value', '1', '"null as text"'],
      ['nothing', '-1', null],
      ['progress', '-1', '7'],
    ]);
    expect(await rowsOf(manifest, 'slot_pool')).toMatchObject([{ slots: '128', include_deferred: 't' }]);
  });

  test('is verified, says where it is from, and goes into no database', async () => {
    await start('3.2.1');
    const manifest = await backUp({ label: 'night' });
    expect(await verify(world.ctx, { backup: 'latest' })).toMatchObject({ rows: 31, parts: 16 });
    expect(manifest).toMatchObject({
      formatVersion: 2,
      label: 'night',
      source: { kind: 'rest', airflow: '3.2.1', api: 'v2', via: 'http', span: { changed: [] } },
      unfinished: { runs: { running: 1 }, backfillRuns: 0, tasks: { running: 1 } },
    });
    expect(() => databaseSource(manifest)).toThrow(/made through the REST API/);
  });

  test('what Airflow masks is not stored, and every such value is named', async () => {
    await start('3.2.1');
    const manifest = await backUp();
    const variables = await rowsOf(manifest, 'variable');
    expect(variables.map(({ key, unreadable }) => [key, unreadable])).toEqual([
      ['plain', null],
      ['api_secret', 'val'],
      ['partly', 'val'],
      ['empty', null],
    ]);
    expect(variables.map(({ val }) => (val === null ? null : clear(val)))).toEqual([
      'v\n"1"',
      null,
      null,
      '',
    ]);
    const [whole, masked] = await rowsOf(manifest, 'connection');
    expect([clear(whole?.password), clear(whole?.extra)]).toEqual(['pass-in-clear', '{"a": 1}']);
    expect(masked).toMatchObject({ password: null, extra: null, unreadable: 'password,extra' });
    expect((await rowsOf(manifest, 'asset_event')).map(({ extra }) => extra)).toEqual(['{"rows":3}', null]);
    expect(gaps(manifest, 'variable')).toEqual([['val', 'api_secret', 'partly']]);
    expect(gaps(manifest, 'connection')).toEqual([
      ['password', 'masked'],
      ['extra', 'masked'],
    ]);
    expect(gaps(manifest, 'asset_event')).toEqual([['extra', '2']]);
    // What the log says stands so in Airflow's own table.
    expect(await rowsOf(manifest, 'log')).toMatchObject([{ extra: '{"p": "***"}' }]);
  });

  test('rows that the server fails at are named one by one, and the others are there', async () => {
    await start('3.2.1');
    const broken = [9, 10].map((id) => ({ id, key: `other-key-${id}`, broken: true }));
    world.fake.rows.variables.splice(1, 0, ...broken);
    const manifest = await backUp();
    expect(storedTable(manifest, 'variable')?.rows).toBe(4);
    const named = ['the row after plain', 'the 2. row after plain'];
    expect(gaps(manifest, 'variable')).toContainEqual(['row', ...named]);
  });

  test('3.3: null for the value of a variable says that the server could not read it', async () => {
    await start('3.3.2');
    world.fake.rows.variables.push({ id: 9, key: 'other-key', value: null });
    const manifest = await backUp();
    expect((await rowsOf(manifest, 'variable')).at(-1)).toMatchObject({
      key: 'other-key',
      val: null,
      is_encrypted: 'f',
      unreadable: 'val',
    });
    expect(gaps(manifest, 'variable')).toContainEqual(['val', 'other-key']);
  });

  test('what the API never gives is listed with its reason', async () => {
    await start('3.2.1');
    const { leftOut } = await backUp();
    expect(leftOut).toContainEqual({
      table: 'dag_version',
      columns: ['last_updated'],
      reason: 'the parser of DAG files makes it anew',
    });
  });
});

describe('secrets of a backup through the API', () => {
  test('nobody to read them: they stay out, and a warning says so', async () => {
    await start('3.2.1');
    const manifest = await backUp({ fernetKeys: [] });
    expect(manifest.secrets.mode).toBe('omit');
    expect(storedTable(manifest, 'variable')?.columns).not.toContain('val');
    expect((await rowsOf(manifest, 'connection')).map(({ unreadable }) => unreadable)).toEqual([
      'password,extra',
      'password,extra',
    ]);
    expect(world.events).toContainEqual(
      expect.objectContaining({ event: 'warning', code: 'secrets-left-out' }),
    );
  });

  test('sealed: the identity alone opens them', async () => {
    await start('3.2.1');
    const identity = await generateX25519Identity();
    const manifest = await backUp({ fernetKeys: [], sealTo: [await identityToRecipient(identity)] });
    expect(storedTable(manifest, 'connection')?.sealed).toEqual(['password', 'extra']);
    expect(storedTable(manifest, 'connection')?.columns).not.toContain('password');
    const opened = await verify(world.ctx, { backup: 'latest', identities: [identity] });
    expect(opened).toMatchObject({ sealed: 'opened' });
  });
});

describe('secrets that the API masks and somebody hands over', () => {
  const given = parseGivenSecrets(
    '{"variables": {"api_secret": "s", "plain": "not asked for"}, "connections": {"masked": {"password": "p", "extra": null}}}',
  );

  test('a dry run names what would have to be handed over', async () => {
    await start('3.2.1');
    await world.run({ dryRun: true });
    const plan = world.events.find((event) => event.event === 'plan')?.plan;
    expect(plan).toMatchObject({
      masked: [
        { table: 'variable', columns: ['val'], names: ['api_secret', 'partly'] },
        { table: 'connection', columns: ['password'], names: ['masked'] },
        { table: 'connection', columns: ['extra'], names: ['masked'] },
      ],
    });
  });

  test('they take the place of what is masked, and of nothing else; what is missing is named', async () => {
    await start('3.2.1');
    const manifest = await backUp({ given });
    const variables = await rowsOf(manifest, 'variable');
    expect(variables.map(({ val }) => (val === null ? null : clear(val)))).toEqual(['v\n"1"', 's', null, '']);
    expect(variables.map(({ unreadable }) => unreadable)).toEqual([null, null, 'val', null]);
    const [, masked] = await rowsOf(manifest, 'connection');
    expect(clear(masked?.password)).toBe('p');
    expect(masked).toMatchObject({ extra: null, unreadable: 'extra', is_encrypted: 't' });
    expect(gaps(manifest, 'variable')).toEqual([['val', 'partly']]);
    expect(gaps(manifest, 'connection')).toEqual([['extra', 'masked']]);
    expect(JSON.stringify(manifest.leftOut)).toContain('--secrets-from has no value for it');
  });

  test('with nobody to seal them for they are refused', async () => {
    await start('3.2.1');
    await expect(backUp({ given, fernetKeys: [] })).rejects.toMatchObject({ kind: 'refused' });
  });

  test('v1: passwords, which it has no field for', async () => {
    await start('2.8.1');
    const manifest = await backUp({ given });
    const [whole, masked] = await rowsOf(manifest, 'connection');
    expect(clear(masked?.password)).toBe('p');
    expect(whole).toMatchObject({ password: null, unreadable: 'password' });
    expect(gaps(manifest, 'connection')).toContainEqual(['password', 'whole']);
    expect(manifest.leftOut).not.toContainEqual(
      expect.objectContaining({ table: 'connection', reason: 'the API of Airflow 2 gives no password' }),
    );
  });
});

/** Which is not yet asked for when runs that have ended are read; the plan has counted it. */
const isXcomList = ({ path, query }: FakeApiCall): boolean =>
  path.endsWith('/~/xcomEntries') && query.get('limit') !== '1';

describe('runs that change while they are read', () => {
  test('one that ends meanwhile is stored as it ended, and one that comes is there', async () => {
    await start('3.2.1');
    const { dag_runs: runs, history } = world.fake.rows;
    let done = false;
    world.fake.onCall = (call) => {
      if (done || !isXcomList(call)) return;
      done = true;
      Object.assign(runs[2] ?? {}, { state: 'success', updated_at: new Date().toISOString() });
      Object.assign(history.task_instances[4] ?? {}, { state: 'success' });
      runs.push({ ...runs[2], dag_run_id: 'manual__new', state: 'queued', conf: {} });
    };
    const manifest = await backUp();
    const states = (await rowsOf(manifest, 'dag_run')).map(({ run_id: id, state }) => [id, state]);
    expect(Object.fromEntries(states)).toEqual({
      scheduled__1: 'success',
      manual__failed: 'failed',
      manual__unfinished: 'success',
      manual__new: 'queued',
    });
    expect(states).toHaveLength(4);
    expect(manifest.source).toMatchObject({ span: { changed: [] } });
  });

  test('one that changes between its first request and its last is read again', async () => {
    await start('3.2.1');
    const { history } = world.fake.rows;
    let done = false;
    world.fake.onCall = ({ path }) => {
      if (done || !path.endsWith('/manual__unfinished/taskInstances/~/xcomEntries')) return;
      done = true;
      Object.assign(history.task_instances[4] ?? {}, { state: 'success' });
      history.xcoms.push({ ...history.xcoms[3], key: 'return_value', value: 8 });
    };
    const manifest = await backUp();
    expect(done).toBe(true);
    const tasks = await rowsOf(manifest, 'task_instance');
    expect(tasks.find((row) => row.run_id === 'manual__unfinished')).toMatchObject({ state: 'success' });
    expect((await rowsOf(manifest, 'xcom')).at(-1)).toMatchObject({ key: 'return_value', value: '8' });
    expect(manifest.source).toMatchObject({ span: { changed: [] } });
  });

  test('one that never rests is named', async () => {
    await start('3.2.1');
    let beats = 0;
    world.fake.onCall = () => {
      Object.assign(world.fake.rows.history.task_instances[4] ?? {}, { pid: (beats += 1) });
    };
    const manifest = await backUp();
    expect(manifest.source).toMatchObject({ span: { changed: ['etl/manual__unfinished'] } });
    expect(world.events).toContainEqual(expect.objectContaining({ code: 'rest-changing' }));
  });

  test('one that was read as ended and then cleared is named', async () => {
    await start('3.2.1');
    world.fake.onCall = (call) => {
      if (!isXcomList(call)) return;
      Object.assign(world.fake.rows.dag_runs[1] ?? {}, {
        state: 'queued',
        updated_at: new Date().toISOString(),
      });
    };
    expect((await backUp()).source).toMatchObject({ span: { changed: ['etl/manual__failed'] } });
  });
});

test('a backup that fails leaves nothing', async () => {
  await start('3.2.1');
  world.fake.faults.push({ path: '/eventLogs', times: 999, kind: { status: 503 } });
  await expect(backUp()).rejects.toMatchObject({ status: 503 });
  const left: string[] = [];
  for await (const { key } of world.ctx.storage.list('')) left.push(key);
  expect(left).toEqual([]);
});

test('a table of the past that these credentials may not read is left out with a warning', async () => {
  await start('3.2.1');
  world.fake.faults.push({ path: '/eventLogs', times: 999, kind: { status: 403 } });
  const { leftOut } = await backUp();
  expect(leftOut).toContainEqual({ table: 'log', reason: 'these credentials may not read it' });
  expect(world.events).toContainEqual(expect.objectContaining({ code: 'rest-closed' }));
});

test('of XComs those of unfinished runs alone, if it is said so; the others are counted', async () => {
  await start('3.2.1');
  const manifest = await backUp({ xcoms: 'unfinished' });
  expect((await rowsOf(manifest, 'xcom')).map(({ run_id: id }) => id)).toEqual(['manual__unfinished']);
  expect(manifest.leftOut).toContainEqual(expect.objectContaining({ table: 'xcom', rows: 3 }));
});

test('two backups are compared by what they hold', async () => {
  await start('3.2.1');
  const [event] = world.fake.rows.events;
  Object.assign(event ?? {}, { extra: { rows: 3, list: [{ b: 1, a: 2 }] } });
  const first = await backUp();
  // As 2.11 gives it.
  Object.assign(event ?? {}, { extra: { list: [{ a: 2, b: 1 }], rows: 3 } });
  const same = await backUp();
  const compare = async (): ReturnType<typeof diff> =>
    diff(world.ctx, { backup: first.backupId, other: { backup: 'latest' }, fernetKeys: [KEY] });
  expect(same.backupId).not.toBe(first.backupId);
  expect(await compare()).toMatchObject({ different: false });
  const identity = await generateX25519Identity();
  await backUp({ sealTo: [await identityToRecipient(identity)] });
  const sealed = { backup: first.backupId, other: { backup: 'latest' }, fernetKeys: [KEY] };
  expect(await diff(world.ctx, { ...sealed, identities: [identity] })).toMatchObject({ different: false });

  Object.assign(world.fake.rows.variables[0] ?? {}, { value: 'new' });
  world.fake.rows.dag_runs.splice(1, 1);
  await backUp();
  const { tables } = await compare();
  const found = tables.filter((one) => one.missing + one.added + one.changed > 0);
  expect(found.map(({ table, missing, changed }) => [table, missing, changed])).toEqual([
    ['variable', 0, 1],
    ['dag_run', 1, 0],
    ['task_instance', 1, 0],
  ]);
});

test('v1: runs of XComs are found by their dates, and no connection is whole', async () => {
  await start('2.8.1');
  const manifest = await backUp();
  expect(
    (await rowsOf(manifest, 'xcom')).map(({ run_id: id, key, value_text: value }) => [id, key, value]),
  ).toEqual([
    ['scheduled__1', 'return_value', '{"n":1.0}'],
    ['scheduled__1', 'return_value', 'null as text'],
    ['scheduled__1', 'nothing', 'null'],
    ['manual__unfinished', 'progress', '7'],
  ]);
  expect((await rowsOf(manifest, 'connection')).map(({ unreadable }) => unreadable)).toEqual([
    'password',
    'password,extra',
  ]);
  expect(manifest.tables.map(({ name }) => name)).not.toContain('task_instance_history');
});

describe('what the API shows now', () => {
  test('is compared with a backup, and left nowhere', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lifeboat-rest-diff-'));
    vi.stubEnv('TMPDIR', folder);
    await start('3.2.1');
    const { backupId } = await backUp();
    const { client, ctx } = world;
    const compare = (tables?: readonly string[]): ReturnType<typeof diff> =>
      diff(ctx, {
        backup: backupId,
        other: { client, via: 'http' },
        fernetKeys: [KEY],
        ...(tables === undefined ? {} : { tables }),
      });
    expect(await compare()).toMatchObject({ different: false, notCompared: [] });
    Object.assign(world.fake.rows.variables[0] ?? {}, { value: 'new' });
    world.fake.rows.variables.splice(3, 1);
    const { tables } = await compare(['variable']);
    expect(tables).toMatchObject([{ table: 'variable', missing: 1, changed: 1, notComparable: 0 }]);
    expect(readdirSync(folder)).toEqual([]);
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });

  test('what is masked now was not changed: it cannot be compared', async () => {
    await start('3.2.1');
    const { backupId } = await backUp();
    Object.assign(world.fake.rows.variables[0] ?? {}, { value: '***' });
    const other = { client: world.client, via: 'http' } as const;
    const { tables } = await diff(world.ctx, { backup: backupId, other, fernetKeys: [KEY] });
    expect(tables.filter((one) => one.notComparable + one.changed > 0)).toMatchObject([
      { table: 'variable', changed: 0, notComparable: 1, examples: { notComparable: ['plain'] } },
    ]);
  });

  test('is counted against a backup; what the API does not count is said', async () => {
    await start('3.2.1');
    await backUp();
    const count = async (): Promise<unknown> => {
      const { differences } = await verify(world.ctx, {
        backup: 'latest',
        environment: { client: world.client, via: 'http' },
      });
      return differences;
    };
    expect(await count()).toEqual([]);
    expect(world.events).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('task_instance_history') as string }),
    );
    world.fake.rows.dag_runs.splice(1, 1);
    expect(await count()).toEqual([{ table: 'dag_run', backup: 3, database: 2 }]);
  });
});
