import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { activate } from '../../src/engine/activate.ts';
import { fernetEncrypt } from '../../src/secrets/fernet.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { backUp, cleanUp, engine, type Engine, restoreInto, targetOf, WAYS } from './engine.ts';

let ctx: Engine;
const encrypted = (text: string): string =>
  fernetEncrypt(FIXTURE_FERNET_KEY, text, { now: new Date(), iv: randomBytes(16) });

/** A source with a few named entries, for all tests here. */
beforeAll(async () => {
  ctx = engine();
  const source = await createDatabase();
  const client = await source.client();
  await client.query(`DELETE FROM variable; DELETE FROM connection`);
  await client.query(
    `INSERT INTO variable (id, key, val, description, is_encrypted) VALUES (1, 'plain', 'backup', NULL, false),
       (2, 'same', 'same', NULL, false), (3, 'token', $1, NULL, true), (4, 'only_backup', '', NULL, false),
       (5, 'other_text', $2, NULL, true), (6, 'flag', 'text', NULL, false), (7, 'description', 'x', 'backup', false)`,
    [encrypted('secret'), encrypted('one')],
  );
  await client.query(
    `INSERT INTO connection (conn_id, conn_type, host, password, extra, is_encrypted, is_extra_encrypted)
     VALUES ('same', 'http', 'h', $1, $2, true, true), ('host', 'http', 'backup', NULL, NULL, false, false), ('only_backup', 'http', NULL, NULL, '', false, false)`,
    [encrypted('p'), encrypted('{}')],
  );
  await client.query(
    `UPDATE slot_pool SET slots = 77 WHERE pool = 'default_pool';
     UPDATE dag SET is_paused = true, next_dagrun = '2026-01-01', next_dagrun_data_interval_start = '2026-01-02',
       next_dagrun_data_interval_end = '2026-01-03', next_dagrun_create_after = '2026-01-04' WHERE dag_id = 'lab_everything';
     UPDATE dag SET is_paused = false WHERE dag_id = 'lab_empty'`,
  );
  await backUp(ctx, source);
  await source.drop();
});

/** A target that has some of the entries, under other ids. */
async function target(): Promise<{ database: TestDatabase; client: pg.Client }> {
  const database = await createDatabase({ from: 'fresh' });
  const client = await database.client();
  await client.query('DELETE FROM connection; DELETE FROM variable');
  await client.query(
    `INSERT INTO variable (id, key, val, is_encrypted) VALUES (4, 'plain', 'target', false), (1, 'same', 'same', false),
       (2, 'token', $1, true), (9, 'only_target', 'mine', false), (5, 'other_text', $2, true), (7, 'flag', $3, true),
       (8, 'description', 'x', false)`,
    [encrypted('secret'), encrypted('two'), encrypted('text')],
  );
  await client.query(
    `INSERT INTO connection (conn_id, conn_type, host, password, extra, is_encrypted, is_extra_encrypted)
     VALUES ('same', 'http', 'h', $1, $2, true, true), ('host', 'http', 'target', NULL, NULL, false, false), ('only_target', 'http', NULL, NULL, NULL, false, false)`,
    [encrypted('p'), encrypted('{}')],
  );
  return { database, client };
}

async function column(client: pg.Client, sql: string): Promise<Readonly<Record<string, unknown>>> {
  const { rows } = await client.query<{ key: string; value: unknown }>(sql);
  return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
}

describe('variables and connections', () => {
  const VALUES = "SELECT key, CASE WHEN is_encrypted THEN 'token' ELSE val END AS value FROM variable";
  const HOSTS = 'SELECT conn_id AS key, host AS value FROM connection';

  test('append adds what is missing, keeps the rest, and names what differs by its text', async () => {
    const { database, client } = await target();
    const { loaded } = await restoreInto(ctx, database);
    expect(loaded.variables).toEqual({
      added: 1,
      replaced: 0,
      kept: 6,
      keptDifferent: ['description', 'other_text', 'plain'],
    });
    expect(loaded.connections).toEqual({ added: 1, replaced: 0, kept: 2, keptDifferent: ['host'] });
    expect(await column(client, VALUES)).toMatchObject({
      plain: 'target',
      only_target: 'mine',
      only_backup: '',
    });
    expect(await column(client, HOSTS)).toEqual({
      same: 'h',
      host: 'target',
      only_target: null,
      only_backup: null,
    });
    expect(loaded.unreadableSecrets).toEqual([]);
  });

  test('variables to keep are neither replaced nor added', async () => {
    const { database, client } = await target();
    const keepVariables = ['plain', 'only_backup', 'nowhere'];
    const { loaded } = await restoreInto(ctx, database, { variables: 'replace', keepVariables });
    expect(loaded.variables).toMatchObject({ added: 0, replaced: 5 });
    const values = await column(client, VALUES);
    expect(values).toMatchObject({ plain: 'target', only_target: 'mine', description: 'x' });
    expect(values).not.toHaveProperty('only_backup');
  });

  test('without a key, two tokens that cannot be compared count as different', async () => {
    const { database } = await target();
    const { loaded } = await restoreInto(ctx, database, { fernetKeys: [] });
    expect(loaded.variables.keptDifferent).toEqual(['description', 'flag', 'other_text', 'plain', 'token']);
    expect(loaded.unreadableSecrets).toBeNull();
  });

  test('skip adds nothing, and still says what differs', async () => {
    const { database, client } = await target();
    const { loaded } = await restoreInto(ctx, database, { variables: 'skip', connections: 'skip' });
    expect(loaded.variables).toMatchObject({ added: 0, replaced: 0, kept: 6 });
    expect(Object.keys(await column(client, VALUES))).not.toContain('only_backup');
    expect(Object.keys(await column(client, HOSTS)).sort()).toEqual(['host', 'only_target', 'same']);
  });

  test('replace takes the backup’s, keeps what only the target has, and its ids', async () => {
    const { database, client } = await target();
    const ids = await column(client, 'SELECT key, id AS value FROM variable');
    const { loaded } = await restoreInto(ctx, database, { variables: 'replace', connections: 'append' });
    expect(loaded.variables).toEqual({ added: 1, replaced: 6, kept: 0, keptDifferent: [] });
    expect(await column(client, VALUES)).toMatchObject({
      plain: 'backup',
      only_target: 'mine',
      only_backup: '',
      flag: 'text',
    });
    expect(await column(client, 'SELECT key, id AS value FROM variable')).toMatchObject(ids);
    expect((await column(client, HOSTS)).host).toBe('target');
    await client.query("INSERT INTO variable (key, val, is_encrypted) VALUES ('new', '', false)");
  });

  test('the two have strategies of their own', async () => {
    const { database, client } = await target();
    await restoreInto(ctx, database, { variables: 'skip', connections: 'replace' });
    expect((await column(client, HOSTS)).host).toBe('backup');
    expect((await column(client, VALUES)).plain).toBe('target');
  });

  test('names of values that no known key reads are in the summary', async () => {
    const own = engine();
    // One of the fixture's variables is encrypted with another key on purpose.
    await backUp(own, await createDatabase());
    const { loaded } = await restoreInto(own, await createDatabase({ from: 'fresh' }));
    expect(loaded.unreadableSecrets).toEqual([expect.stringContaining('lab_other_fernet_key')]);
  });
});

test('pools go by name: the backup’s slots win, pools of the target stay', async () => {
  const { database, client } = await target();
  await client.query(
    `UPDATE slot_pool SET slots = 5; INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('only_target', 9, false)`,
  );
  const id = await column(client, 'SELECT pool AS key, id AS value FROM slot_pool');
  await restoreInto(ctx, database);
  const slots = await column(client, 'SELECT pool AS key, slots AS value FROM slot_pool');
  expect(slots).toMatchObject({ default_pool: 77, only_target: 9 });
  expect(Object.keys(slots).length).toBe(6);
  expect(await column(client, 'SELECT pool AS key, id AS value FROM slot_pool')).toMatchObject(id);
  await cleanUp(ctx, database);
  expect(await column(client, 'SELECT pool AS key, slots AS value FROM slot_pool')).toEqual(slots);
});

describe('DAGs', () => {
  const PAUSED = 'SELECT dag_id AS key, is_paused AS value FROM dag';

  /** lab_everything is paused in the backup and lab_empty is not; here it is the other way round. */
  async function parsed(): Promise<{ database: TestDatabase; client: pg.Client }> {
    const made = await target();
    await made.client.query(
      `INSERT INTO dag (dag_id, is_active, is_paused, max_active_tasks, has_task_concurrency_limits, owners, next_dagrun, last_parsed_time)
       VALUES ('lab_everything', true, false, 16, false, 'parser', '2001-01-01', now()), ('lab_empty', true, true, 16, false, 'parser', '2001-01-01', now()),
         ('only_target', true, false, 16, false, 'parser', '2001-01-01', now())`,
    );
    return made;
  }

  test.each([
    ['backup', { lab_everything: true, lab_empty: false, only_target: false, lab_producer: false }],
    ['paused', { lab_everything: true, lab_empty: true, only_target: false, lab_producer: true }],
    ['unchanged', { lab_everything: false, lab_empty: true, only_target: false, lab_producer: true }],
  ] as const)('--pause-state %s', async (pauseState, expected) => {
    const { database, client } = await parsed();
    await restoreInto(ctx, database, { pauseState });
    expect(await column(client, PAUSED)).toMatchObject(expected);
    const { rows } = await client.query<Record<string, unknown>>(
      `SELECT dag_id, is_active, owners, next_dagrun::text AS a, next_dagrun_data_interval_start::date::text AS b,
         next_dagrun_data_interval_end::date::text AS c, next_dagrun_create_after::date::text AS d
       FROM dag WHERE dag_id IN ('lab_everything', 'only_target', 'lab_producer') ORDER BY dag_id`,
    );
    expect(rows[0]).toMatchObject({
      is_active: true,
      owners: 'parser',
      b: '2026-01-02',
      c: '2026-01-03',
      d: '2026-01-04',
    });
    expect(rows[0]?.a).toMatch(/^2026-01-01/);
    expect(rows[1]).toMatchObject({ dag_id: 'lab_producer', is_active: false });
    expect(rows[2]).toMatchObject({ dag_id: 'only_target', is_active: true });
    expect(rows[2]?.a).toMatch(/^2001-01-01/);
  });

  test('activate gives the pause states back, in waves by pattern', async () => {
    const { database, client } = await parsed();
    await restoreInto(ctx, database, { pauseState: 'paused' });
    await client.query("DELETE FROM dag WHERE dag_id = 'lab_sensor'");
    const before = await databaseFingerprint(client);
    const request = { environment: targetOf(database), backup: 'latest' };
    const dry = await activate(ctx, { ...request, dags: 'lab_e*', dryRun: true });
    expect(dry.unpaused).toEqual(['lab_empty']);
    expect(await databaseFingerprint(client)).toEqual(before);

    const wave = await activate(ctx, { ...request, dags: 'lab_e*', dryRun: false });
    expect(wave).toMatchObject({ unpaused: ['lab_empty'], paused: [], unchanged: 1, missing: [] });
    expect(await column(client, PAUSED)).toMatchObject({
      lab_empty: false,
      lab_everything: true,
      lab_producer: true,
    });
    const rest = await activate(ctx, { ...request, dryRun: false });
    expect(rest.missing).toEqual(['lab_sensor']);
    expect(rest.unpaused).toContain('lab_producer');
    expect(await column(client, PAUSED)).toMatchObject({
      lab_producer: false,
      lab_paused: true,
      only_target: false,
    });
  });
});

test('notes find their author by name; an unknown author is counted and left empty', async () => {
  const own = engine();
  const source = await createDatabase();
  const sourceClient = await source.client();
  await sourceClient.query(
    `INSERT INTO ab_user (id, first_name, last_name, username, email) VALUES (70, '', '', 'ann', 'a'), (71, '', '', 'bob', 'b'), (72, '', '', 'mute', 'm');
     DELETE FROM dag_run_note; DELETE FROM task_instance_note;
     INSERT INTO dag_run_note (dag_run_id, user_id, content, created_at, updated_at)
       SELECT id, CASE WHEN n <= 2 THEN 69 + n END, n::text, now(), now() FROM (SELECT id, row_number() OVER (ORDER BY id)::int AS n FROM dag_run) r WHERE n <= 3;
     INSERT INTO task_instance_note (dag_id, task_id, run_id, map_index, user_id, content, created_at, updated_at)
       SELECT dag_id, task_id, run_id, map_index, 69 + n, n::text, now(), now()
         FROM (SELECT *, row_number() OVER (ORDER BY dag_id, task_id, run_id, map_index)::int AS n FROM task_instance) t WHERE n <= 2`,
  );
  const { manifest } = await backUp(own, source);
  expect(manifest.tables.find(({ name }) => name === 'ab_user')?.rows).toBe(2);
  const { database, client } = await target();
  await client.query(
    `INSERT INTO ab_user (id, first_name, last_name, username, email) VALUES (70, '', '', 'zoe', 'z'), (80, '', '', 'ann', 'a')`,
  );
  const { loaded } = await restoreInto(own, database);
  expect(loaded.notesWithoutUser).toBe(2);
  expect(await column(client, 'SELECT content AS key, user_id AS value FROM task_instance_note')).toEqual({
    1: 80,
    2: null,
  });
  expect(await column(client, 'SELECT content AS key, user_id AS value FROM dag_run_note')).toEqual({
    1: 80,
    2: null,
    3: null,
  });
  const users = await client.query("SELECT 1 FROM ab_user WHERE username IN ('bob', 'mute')");
  expect(users.rowCount).toBe(0);
});

describe('live jobs', () => {
  const LIVE = `INSERT INTO job (id, state, job_type, hostname, latest_heartbeat) VALUES (3, 'running', 'SchedulerJob', 'alive', now()),
    (4, 'running', 'SchedulerJob', 'dead', now() - interval '10 minutes'), (5, 'success', 'SchedulerJob', 'over', now())`;

  test('survive --clean and cleanup with their ids, and nothing restored takes or names those', async () => {
    const database = await createDatabase({ from: 'fresh' });
    const client = await database.client();
    await client.query(`SELECT setval('job_id_seq', 5)`);
    await client.query(LIVE);
    await restoreInto(ctx, database, { clean: true });
    const { rows } = await client.query<{ id: number; hostname: string }>(
      "SELECT id, hostname FROM job WHERE hostname IN ('alive', 'dead', 'over')",
    );
    expect(rows).toEqual([{ id: 3, hostname: 'alive' }]);
    const named = await client.query(
      'SELECT 1 FROM task_instance WHERE job_id <= 5 OR queued_by_job_id <= 5 UNION ALL SELECT 1 FROM dag_run WHERE creating_job_id <= 5',
    );
    expect(named.rowCount).toBe(0);
    await cleanUp(ctx, database);
    expect((await client.query('SELECT id FROM job')).rows).toEqual([{ id: 3 }]);
  });

  test('are not named by tasks whose own job is gone from the backup', async () => {
    const own = engine();
    const source = await createDatabase();
    await (await source.client()).query('DELETE FROM job WHERE id <= 50');
    await backUp(own, source);
    const database = await createDatabase({ from: 'fresh' });
    const client = await database.client();
    await client.query(`SELECT setval('job_id_seq', 60)`);
    await client.query(
      `INSERT INTO job (id, state, job_type, hostname, latest_heartbeat) SELECT i, 'running', 'SchedulerJob', 'alive', now() FROM generate_series(1, 60) i`,
    );
    await restoreInto(own, database, { clean: true });
    const { rows } = await client.query(
      `SELECT t.task_id FROM task_instance t JOIN job j ON j.id IN (t.job_id, t.queued_by_job_id) WHERE j.hostname = 'alive'
       UNION ALL SELECT r.run_id FROM dag_run r JOIN job j ON j.id = r.creating_job_id WHERE j.hostname = 'alive'
       UNION ALL SELECT g.classpath FROM trigger g JOIN job j ON j.id = g.triggerer_id WHERE j.hostname = 'alive'`,
    );
    expect(rows).toEqual([]);
  });
});

test.each(WAYS.flatMap((via) => [false, true].map((events) => ({ via, events }))))(
  'an event of a dataset that is gone from the backup is left out with its links, and counted ($via, events in the target: $events)',
  async ({ via, events }) => {
    const own = engine();
    const source = await createDatabase();
    await (
      await source.client()
    ).query(
      `INSERT INTO dataset_event (dataset_id, extra, source_run_id, source_map_index, timestamp) VALUES (4711, '{}', 'orphan', -1, now());
       INSERT INTO dagrun_dataset_event (dag_run_id, event_id)
         SELECT (SELECT min(id) FROM dag_run), id FROM dataset_event WHERE source_run_id = 'orphan'`,
    );
    const { manifest } = await backUp(own, source);
    const stored = (name: string): number => manifest.tables.find((table) => table.name === name)?.rows ?? 0;
    const { database, client } = await target();
    await client.query(
      "INSERT INTO dataset (id, uri, extra, created_at, updated_at, is_orphaned) VALUES (4711, 'target://x', '{}', now(), now(), false)",
    );
    if (events) {
      // Under the id of the orphan, so that it moves.
      await client.query(
        `INSERT INTO dataset_event (id, dataset_id, extra, source_run_id, source_map_index, timestamp)
           SELECT n, 4711, '{}', 'of the target', -1, now() FROM generate_series(1, 200) n`,
      );
    }
    const { loaded } = await restoreInto(own, database, { via });
    expect(loaded.eventsWithoutDataset).toBe(1);
    const { rows } = await client.query(
      'SELECT source_run_id, count(*)::int FROM dataset_event WHERE dataset_id = 4711 GROUP BY 1',
    );
    expect(rows).toEqual(events ? [{ source_run_id: 'of the target', count: 200 }] : []);
    const links = await client.query('SELECT 1 FROM dagrun_dataset_event');
    expect(links.rowCount).toBe(stored('dagrun_dataset_event') - 1);
    const told = (name: string): number | undefined =>
      loaded.tables.find(({ table }) => table === name)?.rows;
    expect(told('dagrun_dataset_event')).toBe(links.rowCount);
    expect(told('dataset_event')).toBe(stored('dataset_event') - 1);
  },
);
