import { afterEach, describe, expect, test } from 'vitest';
import { isLifeboatError } from '../../src/errors.ts';
import type { FakeRows } from '../helpers/fake-airflow-rows.ts';
import { restWorld, writes } from '../helpers/restore-world.ts';

const OTHER_KEY = `${Buffer.alloc(32, 8).toString('base64url')}=`;
const { backedUp, start, restore, close } = restWorld();
afterEach(close);

const named = (rows: readonly Record<string, unknown>[], key: string, name: string): unknown =>
  rows.find((row) => row[key] === name);

describe('a restore through v2 into an empty Airflow', () => {
  test('adds pools, variables and connections in bulk, and lets DAGs go or pauses them', async () => {
    const ctx = await backedUp('3.2.1', (rows) => rows.dags.push({ dag_id: 'gone' }));
    const { fake, client } = await start('3.2.1', {
      pools: [{ name: 'default_pool', slots: 5, description: 'd', include_deferred: false }],
      dags: [{ dag_id: 'etl', is_paused: false }],
    });
    const result = await restore(ctx, client);
    expect(writes(fake)).toEqual([
      'PATCH v2/pools',
      'PATCH v2/variables',
      'PATCH v2/connections',
      // Its unfinished run; runs have a test file of their own.
      'PATCH v2/dags/etl',
      'POST v2/dags/etl/dagRuns',
      'PATCH v2/dags/etl',
    ]);
    expect(fake.rows.pools).toMatchObject([{ name: 'default_pool', slots: 128, include_deferred: true }]);
    expect(fake.rows.variables).toEqual([
      { key: 'plain', value: 'v\n"1"', description: null },
      { key: 'empty', value: '', description: '' },
    ]);
    expect(fake.rows.connections).toEqual([
      {
        connection_id: 'whole',
        conn_type: 'http',
        host: 'h',
        login: null,
        port: 8080,
        schema: null,
        description: null,
        password: 'pass-in-clear',
        extra: '{"a": 1}',
      },
    ]);
    expect(fake.rows.dags).toMatchObject([{ is_paused: true }]);
    expect(result.plan.dags).toMatchObject({ pause: ['etl'], missing: ['gone'] });
    expect(result.restored).toMatchObject({ paused: ['etl'], unpaused: [], refused: [] });
  });

  test('what Airflow masked in the source is named, and not there', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', {});
    const { plan } = await restore(ctx, client);
    expect(named(fake.rows.variables, 'key', 'api_secret')).toBeUndefined();
    expect(plan.leftOut).toContainEqual({
      table: 'variable',
      reason: 'the backup has no val of it',
      rows: 2,
      names: ['api_secret', 'partly'],
    });
    expect(plan.leftOut).toContainEqual(
      expect.objectContaining({ reason: 'the backup has no password and no extra of it', names: ['masked'] }),
    );
  });

  test('done twice it changes nothing', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', { dags: [{ dag_id: 'etl', is_paused: false }] });
    await restore(ctx, client, { variables: 'replace', connections: 'replace' });
    const rows = JSON.stringify(fake.rows);
    fake.calls.length = 0;
    const again = await restore(ctx, client, { variables: 'replace', connections: 'replace' });
    expect(writes(fake)).toEqual([]);
    expect(JSON.stringify(fake.rows)).toBe(rows);
    expect(
      again.plan.settings.map(({ table, adds, replaces, same }) => [table, adds, replaces, same]),
    ).toEqual([
      ['slot_pool', 0, 0, 1],
      ['variable', 0, 0, 2],
      ['connection', 0, 0, 1],
    ]);
  });

  test('--dry-run writes nothing, and neither does one that is not confirmed', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', {});
    expect((await restore(ctx, client, { dryRun: true })).restored).toBeUndefined();
    await expect(restore(ctx, client, { confirm: () => Promise.resolve(false) })).rejects.toMatchObject({
      kind: 'refused',
    });
    expect(writes(fake)).toEqual([]);
  });
});

describe('strategies', () => {
  const there = (): Partial<FakeRows> => ({
    variables: [
      { key: 'plain', value: 'mine' },
      { key: 'empty', value: '***' },
      { key: 'mine', value: 'only here' },
    ],
    connections: [{ connection_id: 'whole', conn_type: 'http', host: 'mine', password: '***', extra: null }],
  });

  test('append keeps what is there, and names what differs as far as it can be seen', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', there());
    const { restored } = await restore(ctx, client);
    expect(fake.rows.variables).toEqual(there().variables);
    expect(restored?.settings.map(({ table, keptDifferent }) => [table, keptDifferent])).toEqual([
      ['slot_pool', []],
      ['variable', ['plain']],
      ['connection', ['whole']],
    ]);
  });

  test('replace writes what differs and what the API hides', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', there());
    await restore(ctx, client, { variables: 'replace', connections: 'replace' });
    expect(fake.rows.variables).toMatchObject([{ value: 'v\n"1"' }, { value: '' }, { value: 'only here' }]);
    expect(fake.rows.connections).toMatchObject([{ host: 'h', password: 'pass-in-clear' }]);
  });

  test('skip and --keep-variables leave them alone', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', there());
    await restore(ctx, client, { variables: 'replace', connections: 'skip', keepVariables: ['plain'] });
    expect(fake.rows.variables[0]).toMatchObject({ value: 'mine' });
    expect(fake.rows.connections).toEqual(there().connections);
  });

  test('--keep-connections leaves one alone, whatever the strategy', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', there());
    await restore(ctx, client, { connections: 'replace', keepConnections: ['whole'] });
    expect(fake.rows.connections).toEqual(there().connections);
  });

  test('another layout of the same JSON is no other value', async () => {
    const ctx = await backedUp('3.2.1', (rows) => {
      rows.variables.push({ key: 'json', value: '{"a":1.0,"b":[1]}' });
    });
    const { client } = await start('3.2.1', {
      variables: [{ key: 'json', value: '{"a": 1.0, "b": [1]}', description: null }],
    });
    const { restored } = await restore(ctx, client);
    expect(restored?.settings[1]).toMatchObject({ same: 1, keptDifferent: [] });
  });
});

describe('what Airflow does not take', () => {
  test('one by one, so that the others get in, and named', async () => {
    const ctx = await backedUp('3.2.1', (rows) => {
      rows.connections.push({ connection_id: 'with space', conn_type: 'http', password: 'p', extra: null });
    });
    const { fake, client } = await start('3.2.1', {});
    fake.faults.push({
      method: 'POST',
      path: '/connections',
      kind: { status: 422, body: { detail: 'pattern' } },
    });
    const { restored } = await restore(ctx, client);
    expect(named(fake.rows.connections, 'connection_id', 'with space')).toBeDefined();
    expect(restored?.refused).toEqual([
      { table: 'connection', name: 'whole', message: expect.stringContaining('pattern') as string },
    ]);
  });

  test('a server that fails at one thing again and again is not the end', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', {});
    fake.faults.push({ method: 'PATCH', path: '/variables', times: 3, kind: { status: 500 } });
    fake.faults.push({ method: 'POST', path: '/variables', times: 3, kind: { status: 500 } });
    const { restored } = await restore(ctx, client);
    expect(restored?.refused).toMatchObject([{ table: 'variable', name: 'plain' }]);
    expect(named(fake.rows.variables, 'key', 'empty')).toBeDefined();
  });

  test('a server that is away ends it, and the same command goes on from there', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', {});
    fake.faults.push({ method: 'PATCH', path: '/connections', times: 99, kind: { status: 503 } });
    await expect(restore(ctx, client)).rejects.toMatchObject({ status: 503 });
    expect(fake.rows.variables).toHaveLength(2);
    expect(fake.rows.connections).toHaveLength(0);
    fake.faults.length = 0;
    fake.calls.length = 0;
    await restore(ctx, client);
    expect(writes(fake)).toEqual(['PATCH v2/connections']);
  });

  test.each(['reset', 'lose-answer', { cutAfter: 5 }] as const)(
    '%j in the middle is got over',
    async (kind) => {
      const ctx = await backedUp('3.2.1');
      const { fake, client } = await start('3.2.1', {});
      fake.faults.push({ method: 'PATCH', path: '/variables', kind });
      const { restored } = await restore(ctx, client);
      expect(restored?.refused).toEqual([]);
      expect(fake.rows.variables).toHaveLength(2);
    },
  );
});

describe('keys', () => {
  test('no key that reads a single secret: refused, unless they stay as they are', async () => {
    const ctx = await backedUp('3.2.1');
    const { fake, client } = await start('3.2.1', {});
    const thrown: unknown = await restore(ctx, client, { fernetKeys: [OTHER_KEY] }).catch((e: unknown) => e);
    expect(isLifeboatError(thrown, 'refused') && thrown.message).toMatch(/No known Fernet key reads/);
    expect(writes(fake)).toEqual([]);
    const { plan } = await restore(ctx, client, { fernetKeys: [OTHER_KEY], unreadable: 'keep' });
    expect(fake.rows.variables.map(({ key }) => key)).toEqual([]);
    expect(plan.leftOut).toContainEqual(
      expect.objectContaining({ table: 'connection', reason: 'no known Fernet key reads its secrets' }),
    );
  });
});

describe('a restore through v1', () => {
  test('one by one, with the description that 2.8 drops', async () => {
    const ctx = await backedUp('3.2.1', (rows) => {
      rows.variables.push({ key: 'told', value: 'x', description: 'what for' });
      rows.pools.push({ name: 'a/b', slots: 1 }, { name: 'own', slots: 2, include_deferred: false });
    });
    const { fake, client } = await start('2.8.1', {
      pools: [{ name: 'default_pool', slots: 1, description: 'd', include_deferred: true }],
    });
    const { restored } = await restore(ctx, client);
    expect(named(fake.rows.variables, 'key', 'told')).toMatchObject({ value: 'x', description: 'what for' });
    expect(fake.rows.pools).toMatchObject([{ slots: 128 }, { name: 'a/b' }, { name: 'own', slots: 2 }]);
    expect(fake.rows.connections).toMatchObject([{ connection_id: 'whole', password: 'pass-in-clear' }]);
    expect(restored?.refused).toEqual([]);
  });

  test('what is NULL in the backup gets in, and takes away what it can', async () => {
    const ctx = await backedUp('3.2.1', (rows) => {
      rows.connections.push({ connection_id: 'open', conn_type: 'http', password: null, extra: null });
    });
    const { fake, client } = await start('2.11.0', {});
    const first = await restore(ctx, client);
    expect(first.restored?.refused).toEqual([]);
    expect(named(fake.rows.variables, 'key', 'plain')).toMatchObject({ value: 'v\n"1"' });
    expect(named(fake.rows.connections, 'connection_id', 'open')).toMatchObject({ conn_type: 'http' });
    Object.assign(named(fake.rows.variables, 'key', 'plain') as object, { description: 'mine' });
    Object.assign(named(fake.rows.connections, 'connection_id', 'open') as object, { password: 'mine' });
    const { plan, restored } = await restore(ctx, client, { variables: 'replace', connections: 'replace' });
    expect(restored?.refused).toEqual([]);
    expect(named(fake.rows.variables, 'key', 'plain')).toMatchObject({ description: '' });
    expect(named(fake.rows.connections, 'connection_id', 'open')).toMatchObject({ password: 'mine' });
    expect(plan.leftOut).toContainEqual(
      expect.objectContaining({ table: 'connection', columns: ['password'], names: ['open'] }),
    );
  });

  test('2.5 takes no description: it is named, and the variable is the same the next time', async () => {
    const ctx = await backedUp('3.2.1', (rows) => {
      rows.variables.push({ key: 'told', value: 'x', description: 'what for' });
    });
    const { fake, client } = await start('2.5.1', {});
    const { plan, restored } = await restore(ctx, client);
    expect(restored?.refused).toEqual([]);
    expect(named(fake.rows.variables, 'key', 'told')).toMatchObject({ value: 'x' });
    expect(plan.leftOut).toContainEqual(
      expect.objectContaining({ table: 'variable', columns: ['description'], names: ['told'] }),
    );
    const again = await restore(ctx, client, { variables: 'replace' });
    expect(again.plan.settings.find(({ table }) => table === 'variable')).toMatchObject({ replaces: 0 });
  });

  test('a backup of v1 has no passwords: its connections stay out', async () => {
    const ctx = await backedUp('2.8.1');
    const { fake, client } = await start('2.8.1', {});
    const { plan } = await restore(ctx, client);
    expect(fake.rows.connections).toEqual([]);
    expect(plan.settings.find(({ table }) => table === 'connection')).toMatchObject({ lacking: 2 });
    expect(fake.rows.variables).toMatchObject([{ key: 'plain' }, { key: 'empty' }]);
  });
});

describe('DAGs', () => {
  const DAILY = { next_dagrun_run_after: '2026-11-01T00:00:00Z', timetable_summary: '0 0 * * *' };
  const released = (rows: FakeRows): void => {
    rows.dags.splice(
      0,
      1,
      { dag_id: 'past', is_paused: false },
      { dag_id: 'latest', is_paused: false },
      { dag_id: 'covered', is_paused: false },
      { dag_id: 'carrier', is_paused: false },
    );
  };
  const target = (): Partial<FakeRows> => ({
    dags: [
      { dag_id: 'past', is_paused: true, ...DAILY, catchup: true },
      { dag_id: 'latest', is_paused: true, ...DAILY, catchup: false },
      { dag_id: 'covered', is_paused: true, next_dagrun_run_after: '2026-11-22T00:00:00Z', catchup: true },
      { dag_id: 'carrier', is_paused: true, tags: [{ name: 'lifeboat' }] },
    ],
  });

  test('with catchup they stay paused, and are named with the runs that would start', async () => {
    const ctx = await backedUp('3.2.1', released);
    const { fake, client } = await start('3.2.1', target());
    const { plan } = await restore(ctx, client);
    expect(plan.dags).toEqual({
      unpause: ['latest', 'covered'],
      pause: [],
      unchanged: 0,
      held: [{ dagId: 'past', runs: 21 }],
      startsOne: ['latest'],
      missing: [],
      carrying: ['carrier'],
    });
    expect(fake.rows.dags.map(({ is_paused: paused }) => paused)).toEqual([true, false, false, true]);
  });

  test('--catchup start lets them go', async () => {
    const ctx = await backedUp('3.2.1', released);
    const { fake, client } = await start('3.2.1', target());
    await restore(ctx, client, { catchup: 'start' });
    expect(fake.rows.dags[0]).toMatchObject({ is_paused: false });
  });

  test('paused pauses all, unchanged none, --dags and --exclude-dags choose', async () => {
    const ctx = await backedUp('3.2.1', released);
    const { fake, client } = await start('3.2.1', target());
    await restore(ctx, client, { pauseState: 'unchanged' });
    expect(writes(fake)).not.toContain('PATCH v2/dags/latest');
    await restore(ctx, client, { dags: ['l*', 'past'], excludeDags: ['past'] });
    expect(fake.rows.dags.map(({ is_paused: paused }) => paused)).toEqual([true, false, true, true]);
    await restore(ctx, client, { pauseState: 'paused' });
    expect(fake.rows.dags.map(({ is_paused: paused }) => paused)).toEqual([true, true, true, true]);
  });
});
