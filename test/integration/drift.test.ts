import { beforeAll, describe, expect, test } from 'vitest';
import { diffSnapshots, snapshotTables } from '../helpers/compare.ts';
import { createDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { backUp, engine, type Engine, failureOf, restoreInto, storageContent } from './engine.ts';
import { type Content, diffContent, endJobs, expectedContent, resolveIds } from './expected.ts';
import { resumed } from './resumed.ts';

/** What in-place upgraded databases and their owners differ in: the backup works, and says what it leaves out. */
const HARMLESS: readonly (readonly [name: string, sql: string, note: RegExp | undefined])[] = [
  ['an extra index', 'CREATE INDEX theirs ON log (owner, event)', undefined],
  ['a missing index', 'DROP INDEX idx_log_dag', undefined],
  ['an extra table', 'CREATE TABLE theirs (id int)', undefined],
  [
    'an extra column with a default',
    "ALTER TABLE dag_run ADD tenant text NOT NULL DEFAULT 'x'",
    /dag_run\.tenant \(text\) is not Airflow's and is left out/,
  ],
  ['a generated column', 'ALTER TABLE log ADD twice int GENERATED ALWAYS AS (id * 2) STORED', /log\.twice/],
  ['a wider varchar', 'ALTER TABLE task_instance ALTER queue TYPE varchar(4000)', undefined],
  ['text for varchar', 'ALTER TABLE variable ALTER key TYPE text', undefined],
  ['varchar for text', 'ALTER TABLE variable ALTER val TYPE varchar(1000000)', undefined],
  ['bigint for integer', 'ALTER TABLE log ALTER id TYPE bigint', undefined],
  ['a column that may be NULL', 'ALTER TABLE slot_pool ALTER include_deferred DROP NOT NULL', undefined],
  ['a column that may not be NULL', 'ALTER TABLE log ALTER event SET NOT NULL', undefined],
  [
    'another constraint name',
    'ALTER TABLE xcom RENAME CONSTRAINT xcom_task_instance_fkey TO theirs',
    undefined,
  ],
  ['no foreign key', 'ALTER TABLE xcom DROP CONSTRAINT xcom_task_instance_fkey', undefined],
  [
    'a sequence that nobody owns',
    'ALTER SEQUENCE log_id_seq OWNED BY NONE; ALTER SEQUENCE log_id_seq RENAME TO theirs',
    undefined,
  ],
  [
    'another column order',
    `ALTER TABLE log RENAME extra TO old; ALTER TABLE log ADD extra text; UPDATE log SET extra = old; ALTER TABLE log DROP old;
     ALTER TABLE variable RENAME description TO old; ALTER TABLE variable ADD description text;
     UPDATE variable SET description = old; ALTER TABLE variable DROP old`,
    undefined,
  ],
];

/** A backup of a database of the usual shape, for all the targets. */
let usual: { readonly ctx: Engine; readonly content: Content };

beforeAll(async () => {
  const source = await createDatabase();
  const content = await snapshotTables(await source.client());
  const ctx = engine();
  const { manifest } = await backUp(ctx, source);
  usual = {
    ctx,
    content: resolveIds(resumed(endJobs(content, manifest.snapshotTime), manifest.snapshotTime)),
  };
  await source.drop();
});

describe.each(HARMLESS)('a source with %s', (_, sql, note) => {
  test('is backed up, and restored into a database of the usual shape', async () => {
    const source = await createDatabase();
    const client = await source.client();
    const content = await snapshotTables(client);
    await client.query(sql);
    const ctx = engine();
    const { manifest } = await backUp(ctx, source);
    const warnings = ctx.events.flatMap((event) => (event.event === 'plan' ? event.plan : []));
    const notes = warnings.flatMap((plan) =>
      'warnings' in plan
        ? plan.warnings.filter(({ code }) => code === 'drift').map(({ message }) => message)
        : [],
    );
    if (note) expect(notes.join()).toMatch(note);
    else expect(notes).toEqual([]);

    const target = await createDatabase({ from: 'fresh' });
    const restored = await target.client();
    const before = await snapshotTables(restored);
    await restoreInto(ctx, target);
    const expected = expectedContent(content, before, { clean: false, snapshotTime: manifest.snapshotTime });
    expect(diffContent(expected, resolveIds(await snapshotTables(restored)))).toEqual([]);
  });

  test('as a target takes a usual backup', async () => {
    const target = await createDatabase({ from: 'fresh' });
    const client = await target.client();
    await client.query(sql);
    await restoreInto(usual.ctx, target);
    const after = resolveIds(await snapshotTables(client));
    for (const table of ['variable', 'xcom', 'task_instance', 'dag_run', 'dataset_event']) {
      const rows = usual.content.get(table) ?? [];
      const columns = new Set(Object.keys(rows[0] ?? {}));
      const own = (after.get(table) ?? []).map((row) =>
        Object.fromEntries(Object.entries(row).filter(([column]) => columns.has(column))),
      );
      expect(diffContent(new Map([[table, rows]]), new Map([[table, own]]))).toEqual([]);
    }
    await client.query("INSERT INTO log (event, dttm) VALUES ('after', now())");
  });
});

/** What makes the spec wrong about the database. */
const HARMFUL: readonly (readonly [name: string, sql: string, problem: RegExp])[] = [
  ['a missing column', 'ALTER TABLE xcom DROP value', /column xcom\.value is missing/],
  ['a missing table', 'DROP TABLE sla_miss', /table sla_miss is missing/],
  [
    'jsonb for json',
    'ALTER TABLE rendered_task_instance_fields ALTER rendered_fields TYPE jsonb',
    /rendered_fields is jsonb, expected json/,
  ],
  ['text for bytea', 'ALTER TABLE dag_run ALTER conf TYPE text', /dag_run\.conf is text, expected bytea/],
  [
    'timestamp without a zone',
    'ALTER TABLE log ALTER dttm TYPE timestamp',
    /log\.dttm is timestamp without time zone, expected timestamptz/,
  ],
  [
    'text for integer',
    'ALTER TABLE log ALTER map_index TYPE text',
    /log\.map_index is text, expected integer/,
  ],
  [
    'a view for a table',
    'ALTER TABLE sla_miss RENAME TO s; CREATE VIEW sla_miss AS SELECT * FROM s',
    /sla_miss/,
  ],
];

describe.each(HARMFUL)('a database with %s', (_, sql, problem) => {
  test('is refused before a byte moves', async () => {
    const { ctx } = usual;
    const stored = await storageContent(ctx.storage);
    const database = await createDatabase();
    const client = await database.client();
    await client.query(sql);
    const before = await databaseFingerprint(client);
    for (const work of [() => backUp(ctx, database), () => restoreInto(ctx, database, { clean: true })]) {
      const error = await failureOf(work());
      expect(error.kind).toBe('unsupported');
      expect(error.message).toMatch(problem);
      expect(error.next).toBeTruthy();
    }
    expect(await storageContent(ctx.storage)).toEqual(stored);
    expect(await databaseFingerprint(client)).toEqual(before);
  });
});

describe('a target with narrower columns', () => {
  test('is refused where a value does not fit, in characters, before anything is deleted', async () => {
    const source = await createDatabase();
    const sourceClient = await source.client();
    await sourceClient.query(
      `ALTER TABLE log ALTER owner TYPE varchar(900);
       INSERT INTO log (event, dttm, owner) VALUES ('x', now(), repeat('😀', 499) || E'",\\n'), ('x', now(), NULL)`,
    );
    const ctx = engine();
    await backUp(ctx, source);
    const target = await createDatabase();
    const client = await target.client();
    const before = await databaseFingerprint(client);
    const error = await failureOf(restoreInto(ctx, target, { clean: true }));
    expect(error.kind).toBe('unsupported');
    expect(error.message).toMatch(/log\.owner holds 500 characters, the backup has 502/);
    expect(error.next).toMatch(/varchar/);
    expect(await databaseFingerprint(client)).toEqual(before);
  });

  test('takes what fits', async () => {
    const source = await createDatabase();
    await (
      await source.client()
    ).query(
      `ALTER TABLE log ALTER owner TYPE text; INSERT INTO log (event, dttm, owner) VALUES ('x', now(), repeat('😀', 500))`,
    );
    const ctx = engine();
    await backUp(ctx, source);
    const target = await createDatabase({ from: 'fresh' });
    await restoreInto(ctx, target);
    const { rows } = await (
      await target.client()
    ).query("SELECT owner = repeat('😀', 500) AS same FROM log WHERE event = 'x'");
    expect(rows).toEqual([{ same: true }]);
  });
});

test('a column of the target that no backup can fill is refused', async () => {
  const target = await createDatabase();
  const client = await target.client();
  await client.query('DELETE FROM dag_run; ALTER TABLE dag_run ADD tenant text NOT NULL');
  const before = await snapshotTables(client);
  const error = await failureOf(restoreInto(usual.ctx, target, { clean: true }));
  expect(error.kind).toBe('unsupported');
  expect(error.message).toMatch(/dag_run\.tenant .*NOT NULL without a default/);
  expect(error.next).toMatch(/default/);
  expect(diffSnapshots(before, await snapshotTables(client))).toEqual([]);
});
