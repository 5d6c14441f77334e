import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { EngineContext } from '../../src/engine/api.ts';
import type { Manifest } from '../../src/engine/manifest.ts';
import { TABLE_SPECS } from '../../src/tables/index.ts';
import { snapshotTables, type DatabaseSnapshot } from '../helpers/compare.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_VERSIONS } from '../helpers/fixtures.ts';
import { hurtfulRows } from '../helpers/hurtful-rows.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import { backUp, cleanUp, engine, restoreInto, useWay, WAYS } from './engine.ts';
import { diffContent, expectedContent, namedRows, resolveIds } from './expected.ts';
import { otherHistory } from './other-history.ts';

const SERIALS = TABLE_SPECS.filter((spec) => spec.serial !== undefined && spec.restore.kind !== 'lookup').map(
  (spec) => spec.name,
);

/** Under load each of these takes a while: hundreds of large rows go through the test's own comparison. */
const TIMEOUT = 300_000;

/** Both ways for the oldest, the newest and the most used; the others in place. */
const BOTH_WAYS: readonly string[] = ['2.5.1', '2.8.1', '2.11.0'];
const CASES = FIXTURE_VERSIONS.flatMap((version) =>
  WAYS.filter((via) => via === 'in-place' || BOTH_WAYS.includes(version)).map((via) => ({ version, via })),
);

describe.each(CASES)('Airflow $version, $via', ({ version, via }) => {
  useWay(via);

  test('rows made to hurt come back in a fresh environment, and in place', { timeout: TIMEOUT }, async () => {
    const source = await createDatabase({ version });
    const client = await source.client();
    await hurtfulRows(client);
    const content = await snapshotTables(client);
    const ctx = engine();
    const backup = { content, ...(await backUp(ctx, source)) };

    const fresh = await createDatabase({ version, from: 'fresh' });
    await checkRestore(ctx, backup, fresh, { clean: false });
    await insertEverywhere(await fresh.client());

    await cleanUp(ctx, source);
    await client.query(
      `DELETE FROM variable; DELETE FROM connection; DELETE FROM slot_pool WHERE id % 2 = 0; UPDATE slot_pool SET slots = 3;
       UPDATE dag SET is_paused = NOT is_paused, next_dagrun = NULL, next_dagrun_create_after = now()`,
    );
    const wrecked = await snapshotTables(client);
    for (const table of ['dag_run', 'task_instance', 'xcom', 'log', 'job', 'trigger', 'dataset_event']) {
      expect(namedRows(wrecked, table), table).toEqual([]);
    }
    await checkRestore(ctx, backup, source, { clean: false });
    await insertEverywhere(client);
  });

  test('the history of a target makes room, and nothing else of it does', { timeout: TIMEOUT }, async () => {
    const source = await createDatabase({ version });
    const client = await source.client();
    const content = await snapshotTables(client);
    const untouched = await databaseFingerprint(client);
    const ctx = engine();
    const backup = { content, ...(await backUp(ctx, source)) };
    expect(await databaseFingerprint(client), 'the source after a backup').toEqual(untouched);

    const target = await createDatabase({ version, from: 'fresh' });
    const targetClient = await target.client();
    await otherHistory(targetClient);
    const { catalog } = await databaseFingerprint(targetClient);
    const first = await checkRestore(ctx, backup, target, { clean: true });
    expect((await databaseFingerprint(targetClient)).catalog).toEqual(catalog);
    const second = await checkRestore(ctx, backup, target, { clean: true });
    expect(diffContent(resolveIds(first), resolveIds(second)), 'a second restore').toEqual([]);
    await insertEverywhere(targetClient);
  });
});

interface Backup {
  readonly content: DatabaseSnapshot;
  readonly manifest: Manifest;
}

/** Restores the newest backup, compares every table with what must be in it, and returns what is. */
async function checkRestore(
  ctx: EngineContext,
  { content, manifest }: Backup,
  target: TestDatabase,
  { clean }: { clean: boolean },
): Promise<DatabaseSnapshot> {
  const client = await target.client();
  const before = await snapshotTables(client);
  const issued = await issuedIds(client);
  await restoreInto(ctx, target, { clean });
  const after = await snapshotTables(client);
  const expected = expectedContent(content, before, { clean, snapshotTime: manifest.snapshotTime });
  expect(diffContent(expected, resolveIds(after))).toEqual([]);
  expect(movedWithoutNeed(content, before, after, clean, issued)).toEqual([]);
  return after;
}

/** Largest id that each of these sequences ever gave. */
async function issuedIds(client: pg.Client): Promise<ReadonlyMap<string, number>> {
  const issued = new Map<string, number>();
  for (const table of NEVER_REUSED) {
    const { rows } = await client.query<{ issued: number }>(
      `SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END::int AS issued FROM "${table}_id_seq"`,
    );
    issued.set(table, rows[0]?.issued ?? 0);
  }
  return issued;
}

/** Natural keys: a row of the backup with the key of a row in the target takes that row's id. */
const MATCHED_BY: Readonly<Record<string, readonly string[]>> = {
  variable: ['key'],
  connection: ['conn_id'],
  slot_pool: ['pool'],
  log_template: ['filename', 'elasticsearch_id'],
  dataset: ['uri'],
  dataset_alias: ['name'],
};
const NEVER_REUSED = new Set(['job', 'trigger']);
/** Ids that stay free for what the target begins while the restore is at work. */
const ROOM: Readonly<Record<string, number>> = { job: 10_000 };

/** Rows that have another id than in the backup although theirs was free. */
function movedWithoutNeed(
  source: DatabaseSnapshot,
  before: DatabaseSnapshot,
  after: DatabaseSnapshot,
  clean: boolean,
  issued: ReadonlyMap<string, number>,
): readonly string[] {
  return SERIALS.flatMap((table) => {
    const key = MATCHED_BY[table];
    const stays = key !== undefined || !clean;
    const own = stays ? namedRows(before, table) : [];
    const taken = new Set(own.map((row) => row.id));
    const matched = new Set(own.map((row) => JSON.stringify(key?.map((column) => row[column]))));
    const there = new Set(namedRows(after, table).map((row) => row.id));
    return namedRows(source, table)
      .filter((row) => key === undefined || !matched.has(JSON.stringify(key.map((column) => row[column]))))
      .filter((row) => !taken.has(row.id ?? null))
      .filter(
        (row) => !NEVER_REUSED.has(table) || Number(row.id) > (issued.get(table) ?? 0) + (ROOM[table] ?? 0),
      )
      .filter((row) => !there.has(row.id ?? null))
      .map((row) => `${table} ${row.id}`);
  });
}

/** One more row in each table with a sequence: a sequence that is not above every id fails here. */
async function insertEverywhere(client: pg.Client): Promise<void> {
  const [run] = (
    await client.query<Record<string, string>>(
      'SELECT dag_id, task_id, run_id, map_index FROM task_instance ORDER BY 1, 2, 3, 4 LIMIT 1',
    )
  ).rows;
  for (const table of SERIALS) {
    const unique = { key: 'new', conn_id: 'new', pool: 'new', uri: 'new', name: 'new' };
    const ids = await insertRows(client, table, [
      table === 'dag_run'
        ? { dag_id: 'new', run_id: 'new', execution_date: 'epoch', run_type: 'manual' }
        : { ...run, ...unique, try_number: 32_000 },
    ]);
    if (ids === undefined) continue;
    const { rows } = await client.query<{ max: number }>(`SELECT max(id) AS max FROM "${table}"`);
    expect(ids[0], table).toBe(rows[0]?.max);
  }
}
