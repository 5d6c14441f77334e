import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import { cleanup } from '../../src/engine/cleanup.ts';
import { databaseSource } from '../../src/engine/manifest.ts';
import { verify } from '../../src/engine/verify.ts';
import { fernetDecrypt, fernetEncrypt } from '../../src/secrets/fernet.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { faultyStorage } from '../helpers/faulty-storage.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import {
  backUp,
  cleanUp,
  engine,
  type Engine,
  failureOf,
  type Loaded,
  restoreInto,
  storageContent,
  targetOf,
} from './engine.ts';

/**
 * What other tools for the same job got wrong, one test a bug (docs/peers.md says where each was seen): what is
 * wanted instead, on the metadata of a real Airflow.
 */

const ENCRYPTED = fernetEncrypt(FIXTURE_FERNET_KEY, 'clear text of B19', {
  now: new Date(),
  iv: randomBytes(16),
});
const UNREADABLE = fernetEncrypt(Buffer.alloc(32, 7).toString('base64url'), 'x', {
  now: new Date(),
  iv: randomBytes(16),
});
const LARGE = 200_000;

/** What the fixture lacks: one row or two for each bug. */
const SOURCE = `
  INSERT INTO variable (key, val, description, is_encrypted) VALUES
    ('b9_null', NULL, NULL, false), ('b9_empty', '', '', false), ('b10', E'-----BEGIN-----\\r\\nline\\rline\\n', NULL, false),
    ('b19', '${ENCRYPTED}', NULL, true), ('b21', repeat('x', ${LARGE}), NULL, false), ('b22', '${UNREADABLE}', NULL, true),
    ('DR_BACKUP_BUCKET', 'of the source', NULL, false), ('b25', 'from the backup', NULL, false);
  INSERT INTO log (dttm, event, extra) SELECT now(), 'b11', E'a "quoted"\\nfield | of\\r\\n' || n || E'\\n\\\\.\\nlines' FROM generate_series(1, 6000) n;
  INSERT INTO log_template (id, filename, elasticsearch_id, created_at) VALUES (40, 'b8.log', 'b8', now());
  UPDATE dag_run SET log_template_id = 40 WHERE dag_id = 'lab_catchup';
  UPDATE task_instance SET next_kwargs = '{"a": null, "b": [true, "it''s"]}' WHERE state = 'deferred';
  UPDATE dag SET is_paused = true WHERE dag_id = 'lab_everything'`;

let ctx: Engine;
let source: TestDatabase;
let from: pg.Client;
let target: TestDatabase;
let into: pg.Client;
let loaded: Loaded;
let tables: readonly string[];

/** One source, backed up and restored into a fresh environment: most bugs show in what comes out. */
beforeAll(async () => {
  ctx = engine();
  source = await createDatabase();
  from = await source.client();
  await from.query(SOURCE);
  const { manifest } = await backUp(ctx, source);
  tables = manifest.tables.map(({ name }) => name);
  target = await createDatabase({ from: 'fresh' });
  into = await target.client();
  // Ids that this environment has given out already.
  await into.query("SELECT nextval('trigger_id_seq'), nextval('dag_run_id_seq') FROM generate_series(1, 50)");
  ({ loaded } = await restoreInto(ctx, target));
});

afterAll(async () => {
  await Promise.all([source.drop(), target.drop()]);
});

const column = async (client: pg.Client, sql: string): Promise<readonly unknown[]> =>
  (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows.map(([value]) => value);

/** The same question has the same answer on both sides, and is not about nothing. */
async function expectSame(sql: string): Promise<void> {
  const expected = await column(from, sql);
  expect(expected.length).toBeGreaterThan(0);
  expect(await column(into, sql)).toEqual(expected);
}

test('B1: JSON columns come back as the JSON that they were', async () => {
  await expectSame(
    "SELECT next_kwargs::text FROM task_instance WHERE state = 'deferred' ORDER BY task_id, run_id",
  );
  await expectSame('SELECT kwargs::text FROM trigger ORDER BY 1');
});

test('B2: a deferred task finds its own trigger, whatever id it gets', async () => {
  expect(await column(into, 'SELECT min(id) > 50 FROM trigger')).toEqual([true]);
  await expectSame(
    `SELECT t.dag_id || t.task_id || t.run_id || g.classpath || g.kwargs::text || g.created_date
       FROM task_instance t JOIN trigger g ON g.id = t.trigger_id ORDER BY 1`,
  );
});

test('B3: XComs of tasks in flight come with their tasks', async () => {
  const unfinished = `SELECT x.key || x.task_id || x.run_id FROM xcom x JOIN task_instance t USING (dag_id, task_id, run_id, map_index)
    WHERE t.state IN ('running', 'up_for_retry', 'deferred', 'up_for_reschedule') ORDER BY 1`;
  const other = await createDatabase();
  const client = await other.client();
  await client.query(
    `INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp)
       SELECT r.id, t.task_id, t.map_index, 'b3', t.dag_id, t.run_id, '\\x22', now() FROM task_instance t JOIN dag_run r USING (dag_id, run_id)
        WHERE t.state IN ('running', 'up_for_retry', 'deferred')`,
  );
  const expected = await column(client, unfinished);
  expect(expected.length).toBeGreaterThan(0);
  const own = engine();
  await backUp(own, other);
  const fresh = await createDatabase({ from: 'fresh' });
  await restoreInto(own, fresh);
  const keys = "SELECT x.key || x.task_id || x.run_id FROM xcom x WHERE key = 'b3' ORDER BY 1";
  expect(await column(await fresh.client(), keys)).toEqual(await column(client, keys));
});

test('B4: failures of tasks that wait for a retry come with their tasks', async () => {
  await expectSame(
    `SELECT f.dag_id || f.task_id || f.run_id || f.start_date FROM task_fail f JOIN task_instance t USING (dag_id, task_id, run_id, map_index) ORDER BY 1`,
  );
});

test('B5: XComs name the run that they are of, and a new run gets ids that are free', async () => {
  await expectSame(
    `SELECT x.key || x.task_id || r.run_id || encode(x.value, 'hex') FROM xcom x JOIN dag_run r ON r.id = x.dag_run_id AND r.run_id = x.run_id ORDER BY 1`,
  );
  await into.query('BEGIN');
  // As a live run of the target writes them: the same tasks and keys, under the id that the sequence gives.
  await into.query(
    `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, clear_number) VALUES ('lab_new', 'new', now(), 'manual', 0);
     INSERT INTO task_instance (dag_id, task_id, run_id, map_index, pool, pool_slots)
       SELECT DISTINCT 'lab_new', task_id, 'new', map_index, 'default_pool', 1 FROM xcom;
     INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, timestamp)
       SELECT DISTINCT r.id, x.task_id, x.map_index, x.key, 'lab_new', 'new', now() FROM dag_run r, xcom x WHERE r.dag_id = 'lab_new'`,
  );
  expect(
    await column(
      into,
      "SELECT id > (SELECT max(dag_run_id) FROM xcom WHERE dag_id <> 'lab_new') FROM dag_run WHERE dag_id = 'lab_new'",
    ),
  ).toEqual([true]);
  await into.query('ROLLBACK');
});

test('B6: runs and tasks of the DAG that makes backups are kept together, on 2.7 too', async () => {
  const other = await createDatabase({ version: '2.7.2' });
  const client = await other.client();
  await client.query(
    `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, state) VALUES ('backup_metadata', 'b6', now(), 'scheduled', 'success');
     INSERT INTO task_instance (dag_id, task_id, run_id, map_index, pool, pool_slots, state) VALUES ('backup_metadata', 'setup', 'b6', -1, 'default_pool', 1, 'success')`,
  );
  const own = engine();
  await backUp(own, other);
  const fresh = await createDatabase({ from: 'fresh', version: '2.7.2' });
  await restoreInto(own, fresh);
  expect(
    await column(await fresh.client(), "SELECT task_id FROM task_instance WHERE dag_id = 'backup_metadata'"),
  ).toEqual(['setup']);
});

test('B7: the run that made the backup comes back as a success, and no other run or task of its DAG does', async () => {
  const other = await createDatabase();
  const client = await other.client();
  const run = (id: string, day: number): string =>
    `INSERT INTO dag_run (dag_id, run_id, execution_date, start_date, run_type, state, clear_number) VALUES ('backup_metadata', '${id}', '2026-01-0${day}', now(), 'scheduled', 'running', 0);
     INSERT INTO task_instance (dag_id, task_id, run_id, map_index, pool, pool_slots, state, start_date, max_tries) VALUES
       ('backup_metadata', 'export', '${id}', -1, 'default_pool', 1, 'running', now(), 0),
       ('backup_metadata', 'beside', '${id}', -1, 'default_pool', 1, 'running', now(), 0),
       ('backup_metadata', 'notify', '${id}', -1, 'default_pool', 1, NULL, NULL, 0)`;
  await client.query(`${run('b7', 1)}; ${run('b7_sibling', 2)}`);
  const own = engine();
  const carriedBy = { dagId: 'backup_metadata', runId: 'b7', taskId: 'export' };
  const { manifest } = await backUp(own, other, { carriedBy });
  expect(databaseSource(manifest).carriedBy).toEqual(carriedBy);
  const fresh = await createDatabase({ from: 'fresh' });
  const result = await restoreInto(own, fresh);
  expect(result.loaded.endedRun).toBe('backup_metadata/b7');
  const restored = await fresh.client();
  expect(
    await column(
      restored,
      "SELECT run_id || ' ' || state FROM dag_run WHERE dag_id = 'backup_metadata' ORDER BY 1",
    ),
  ).toEqual(['b7 success', 'b7_sibling failed']);
  expect(
    await column(
      restored,
      `SELECT run_id || ' ' || task_id || ' ' || coalesce(state, 'none') FROM task_instance WHERE dag_id = 'backup_metadata' ORDER BY 1`,
    ),
  ).toEqual([
    'b7 beside failed',
    'b7 export success',
    'b7 notify none',
    'b7_sibling beside failed',
    'b7_sibling export failed',
    'b7_sibling notify failed',
  ]);
});

test('B8: runs find the template of their task logs by its content', async () => {
  expect(await column(into, 'SELECT count(*)::int FROM log_template')).not.toEqual(
    await column(from, 'SELECT max(id)::int FROM log_template'),
  );
  await expectSame(
    'SELECT r.dag_id || r.run_id || t.filename FROM dag_run r JOIN log_template t ON t.id = r.log_template_id ORDER BY 1',
  );
});

test('B9: NULL and the empty text stay two things', async () => {
  await expectSame(
    `SELECT key || (val IS NULL) || (val = '') || (description IS NULL) FROM variable WHERE key LIKE 'b9%' ORDER BY 1`,
  );
  expect(await column(into, "SELECT key FROM variable WHERE val = ''")).toEqual(['b9_empty']);
});

test('B10: carriage returns in values stay', async () => {
  expect(await column(into, "SELECT val FROM variable WHERE key = 'b10'")).toEqual([
    '-----BEGIN-----\r\nline\rline\n',
  ]);
});

test('B11: thousands of fields with line breaks come back', async () => {
  await expectSame("SELECT md5(string_agg(extra, '|' ORDER BY extra)) FROM log WHERE event = 'b11'");
  expect(await column(into, "SELECT count(*)::int FROM log WHERE event = 'b11'")).toEqual([6000]);
});

const REFUSING = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
  CREATE TRIGGER refuse BEFORE INSERT ON xcom EXECUTE FUNCTION refuse()`;

test('B12: a restore that fails leaves nothing, and the second one works', async () => {
  const fresh = await createDatabase({ from: 'fresh' });
  const client = await fresh.client();
  await client.query(REFUSING);
  const before = await databaseFingerprint(client);
  await expect(restoreInto(ctx, fresh)).rejects.toThrow();
  expect(await databaseFingerprint(client)).toEqual(before);
  await client.query('DROP TRIGGER refuse ON xcom');
  const again = await restoreInto(ctx, fresh);
  expect(again.loaded.rows).toBe(loaded.rows);
});

test('B13: a backup that fails publishes nothing and leaves the last good one', async () => {
  const storage = faultyStorage(createMemoryStorage());
  const own = engine({ storage });
  const { backupId } = await backUp(own, source);
  storage.fail({ operation: 'write', call: storage.calls.write + 5, moment: 'during' });
  await expect(backUp(own, source)).rejects.toThrow();
  expect(storage.missed).toEqual([]);
  expect((await verify(own, { backup: 'latest' })).backupId).toBe(backupId);
});

test('B14: tasks without a state and jobs without a DAG are in it', async () => {
  const without = 'SELECT dag_id || task_id || run_id FROM task_instance WHERE state IS NULL ORDER BY 1';
  const expected = await column(from, without);
  expect(expected.length).toBeGreaterThan(0);
  // Interrupted ones have none now either: they start anew.
  expect(await column(into, without)).toEqual(expect.arrayContaining([...expected]));
  await expectSame('SELECT job_type || start_date FROM job WHERE dag_id IS NULL ORDER BY 1');
});

test('B16: all tables are of one moment', async () => {
  const other = await createDatabase();
  const client = await other.client();
  const inner = createMemoryStorage();
  let written = 0;
  const storage = {
    ...inner,
    write: async (...args: Parameters<typeof inner.write>): Promise<void> => {
      written += 1;
      // Between two tables: a run with its task, and an XCom of it.
      await client.query(
        `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, clear_number) VALUES ('b16', '${written}', now(), 'manual', 0);
         INSERT INTO task_instance (dag_id, task_id, run_id, map_index, pool, pool_slots) VALUES ('b16', 't', '${written}', -1, 'default_pool', 1)`,
      );
      await inner.write(...args);
    },
  };
  const own = engine({ storage });
  await backUp(own, other);
  expect(written).toBeGreaterThan(10);
  const fresh = await createDatabase({ from: 'fresh' });
  await restoreInto(own, fresh);
  expect(
    await column(
      await fresh.client(),
      "SELECT run_id FROM dag_run WHERE dag_id = 'b16' UNION SELECT run_id FROM task_instance WHERE dag_id = 'b16'",
    ),
  ).toEqual([]);
});

test('B17: a second backup leaves the first one alone, and each proves its own parts', async () => {
  const own = engine();
  const first = await backUp(own, source);
  const stored = await storageContent(own.storage);
  const second = await backUp(own, source);
  expect(second.backupId > first.backupId).toBe(true);
  const after = await storageContent(own.storage);
  for (const [key, bytes] of stored) expect(after.get(key)).toBe(bytes);
  const part = first.manifest.tables.find(({ name }) => name === 'dag_run')?.parts[0];
  expect(part).toMatchObject({
    rows: expect.any(Number) as number,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
  });
  expect(databaseSource(first.manifest).alembicHead).toBe('88344c1d9134');
});

test('B18: two backups at once are two backups', async () => {
  const own = engine();
  const both = await Promise.all([backUp(own, source), backUp(own, source)]);
  expect(new Set(both.map(({ backupId }) => backupId)).size).toBe(2);
  for (const { backupId, manifest } of both) {
    expect((await verify(own, { backup: backupId })).rows).toBe(manifest.totals.rows);
  }
});

test('B19: secrets are stored as the database has them, not in clear', async () => {
  const texts = [...(await storageContent(ctx.storage))].map(([key, content]) => {
    const bytes = Buffer.from(content, 'base64');
    return (key.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  });
  expect(texts.some((text) => text.includes(ENCRYPTED))).toBe(true);
  expect(texts.filter((text) => text.includes('clear text of B19'))).toEqual([]);
  expect(
    fernetDecrypt(
      [FIXTURE_FERNET_KEY],
      String((await column(into, "SELECT val FROM variable WHERE key = 'b19'"))[0]),
    )?.toString(),
  ).toBe('clear text of B19');
});

test('B21: large values come back', async () => {
  expect(await column(into, "SELECT length(val) FROM variable WHERE key = 'b21'")).toEqual([LARGE]);
});

test('B22: a secret that no key reads comes back as it was, and is named', async () => {
  expect(await column(into, "SELECT val FROM variable WHERE key = 'b22'")).toEqual([UNREADABLE]);
  expect(loaded.unreadableSecrets).toContain('variable b22');
});

test('B23: settings that the target keeps in variables stay its own', async () => {
  const fresh = await createDatabase({ from: 'fresh' });
  const client = await fresh.client();
  await client.query(
    "INSERT INTO variable (key, val, is_encrypted) VALUES ('DR_BACKUP_BUCKET', 'of the target', false)",
  );
  const result = await restoreInto(ctx, fresh);
  expect(await column(client, "SELECT val FROM variable WHERE key = 'DR_BACKUP_BUCKET'")).toEqual([
    'of the target',
  ]);
  expect(result.loaded.variables.keptDifferent).toContain('DR_BACKUP_BUCKET');
});

test('B24: connections that are replaced are never gone, whenever it fails', async () => {
  const fresh = await createDatabase({ from: 'data' });
  const client = await fresh.client();
  await client.query(`UPDATE connection SET host = 'of the target'; ${REFUSING}`);
  const before = await column(client, 'SELECT conn_id FROM connection ORDER BY 1');
  expect(before.length).toBeGreaterThan(0);
  await expect(restoreInto(ctx, fresh, { clean: true, connections: 'replace' })).rejects.toThrow();
  expect(
    await column(client, "SELECT conn_id FROM connection WHERE host = 'of the target' ORDER BY 1"),
  ).toEqual(before);
});

test('B25: append looks at the table, not at variables of the process', async () => {
  process.env.AIRFLOW_VAR_B25 = 'of the process';
  try {
    const fresh = await createDatabase({ from: 'fresh' });
    await restoreInto(ctx, fresh);
    expect(await column(await fresh.client(), "SELECT val FROM variable WHERE key = 'b25'")).toEqual([
      'from the backup',
    ]);
  } finally {
    delete process.env.AIRFLOW_VAR_B25;
  }
});

test('B26: arguments of triggers are readable with the target’s key', async () => {
  const own = engine();
  const other = await createDatabase({ version: '2.11.0' });
  await backUp(own, other);
  const key = Buffer.alloc(32, 9).toString('base64url');
  const fresh = await createDatabase({ from: 'fresh', version: '2.11.0' });
  await restoreInto(own, fresh, {
    fernetKeys: [key],
    sourceFernetKeys: [FIXTURE_FERNET_KEY],
    unreadable: 'keep',
  });
  const read = async (client: pg.Client, keys: readonly string[]): Promise<readonly unknown[]> =>
    (await column(client, 'SELECT kwargs FROM trigger ORDER BY created_date')).map((token) =>
      fernetDecrypt(keys, String(token))?.toString(),
    );
  const expected = await read(await other.client(), [FIXTURE_FERNET_KEY]);
  expect(expected).toEqual([expect.stringContaining('seconds')]);
  expect(await read(await fresh.client(), [key])).toEqual(expected);
});

test('B27: an unfinished run comes with all of its tasks', async () => {
  const tasks = `SELECT t.dag_id || '/' || t.run_id || '/' || t.task_id || '/' || t.map_index FROM task_instance t JOIN dag_run r USING (dag_id, run_id)
    WHERE r.state IN ('running', 'queued') ORDER BY 1`;
  await expectSame(tasks);
});

test('B28: pause states commit with the rest, also of DAGs that are not parsed yet', async () => {
  await expectSame('SELECT dag_id || is_paused FROM dag ORDER BY 1');
  expect(await column(into, 'SELECT DISTINCT is_active FROM dag')).toEqual([false]);
});

test('B29: the source is only read, and the target gets no tables', async () => {
  const before = await databaseFingerprint(from);
  await backUp(engine(), source);
  expect(await databaseFingerprint(from)).toEqual(before);
  const relations = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1";
  const fresh = await createDatabase({ from: 'fresh' });
  expect(await column(into, relations)).toEqual(await column(await fresh.client(), relations));
});

test('B30: an unknown version is refused by cleanup as by the others, and nothing is deleted', async () => {
  const other = await createDatabase();
  const client = await other.client();
  await client.query("UPDATE alembic_version SET version_num = 'feedfacecafe'");
  const before = await databaseFingerprint(client);
  const works = [
    () => backUp(engine(), other),
    () => restoreInto(ctx, other, { clean: true }),
    () => cleanUp(ctx, other),
  ];
  for (const work of works) expect(await failureOf(work())).toMatchObject({ kind: 'unsupported' });
  expect(await databaseFingerprint(client)).toEqual(before);
});

test('B31: cleanup shows its plan, asks, and leaves live jobs and settings', async () => {
  const other = await createDatabase();
  const client = await other.client();
  await client.query(
    "INSERT INTO job (job_type, state, latest_heartbeat, hostname) VALUES ('TriggererJob', 'running', now(), 'b31')",
  );
  const before = await databaseFingerprint(client);
  const request = { environment: targetOf(other), ignoreRunning: true };
  const { plan } = await cleanup(ctx, { ...request, dryRun: true, confirm: () => Promise.resolve(true) });
  expect(plan.tables.find(({ table }) => table === 'dag_run')?.deletes).toBeGreaterThan(0);
  expect(plan.untouched).toEqual(expect.arrayContaining(['variable', 'connection', 'slot_pool', 'dag']));
  const refused = await failureOf(
    cleanup(ctx, { ...request, dryRun: false, confirm: () => Promise.resolve(false) }),
  );
  expect(refused.kind).toBe('refused');
  expect(await databaseFingerprint(client)).toEqual(before);
  await cleanUp(ctx, other);
  expect(await column(client, 'SELECT hostname FROM job')).toEqual(['b31']);
});

test('B32: Airflow 3 is told from 2 by its Alembic head, never by comparing numbers', async () => {
  const other = await createDatabase();
  await (await other.client()).query("UPDATE alembic_version SET version_num = '29ce7909c52b'");
  const refused = await failureOf(cleanUp(ctx, other));
  expect(refused).toMatchObject({ kind: 'unsupported' });
  expect(refused.message).toMatch(/Airflow 3/);
});

test('B39: no DAG has a special name, and a part of the tables is enough', async () => {
  const own = engine();
  const other = await createDatabase();
  await (await other.client()).query("UPDATE dag_run SET dag_id = 'backup' WHERE dag_id = 'lab_empty'");
  const { backupId } = await backup(own, {
    environment: targetOf(other),
    tables: ['variable', 'dag_run'],
    jobs: 1,
    compression: { codec: 'gzip', level: 1 },
    fernetKeys: [],
    dryRun: false,
  });
  const fresh = await createDatabase({ from: 'fresh' });
  await restoreInto(own, fresh, { backup: backupId });
  expect(
    await column(await fresh.client(), "SELECT DISTINCT dag_id FROM dag_run WHERE dag_id = 'backup'"),
  ).toEqual(['backup']);
});

test('B40: everything that carries state is saved, and what is not is named with its reason', async () => {
  expect(tables).toEqual(
    expect.arrayContaining([
      'task_reschedule',
      'task_map',
      'rendered_task_instance_fields',
      'dag_run_note',
      'task_instance_note',
      'dataset',
      'dataset_event',
      'log_template',
      'dag_tag',
      'sla_miss',
    ]),
  );
  await expectSame('SELECT dag_id FROM dag WHERE is_paused ORDER BY 1');
  const { manifest } = await backUp(engine(), await createDatabase({ version: '2.11.0' }));
  expect(manifest.tables.map(({ name }) => name)).toContain('task_instance_history');
  expect(manifest.leftOut.find(({ table }) => table === 'ab_role')?.reason).toMatch(/belong to the target/);
});
