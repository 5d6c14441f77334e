import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { canRead, fernetDecrypt } from '../../src/secrets/fernet.ts';
import { snapshotTables, type DatabaseSnapshot } from '../helpers/compare.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY, FIXTURE_VERSIONS, type FixtureVersion } from '../helpers/fixtures.ts';
import { hurtfulRows } from '../helpers/hurtful-rows.ts';
import { backUp, engine, failureOf, restoreInto, type Engine } from './engine.ts';
import { diffContent, expectedContent, resolveIds } from './expected.ts';
import { otherHistory } from './other-history.ts';

/** Together they take every step; test/airflow has all 21 pairs, against Airflow's own migration. */
const PAIRS: readonly (readonly [FixtureVersion, FixtureVersion])[] = [
  ['2.6.3', '2.7.2'],
  ['2.8.1', '2.9.2'],
  ['2.7.2', '2.10.3'],
  ['2.5.1', '2.11.0'],
];

const TIMEOUT = 300_000;

/** What Airflow's migrations give to rows that are there, by hand from airflow/migrations/versions; not from the specs. */
const NEW_COLUMNS: readonly {
  readonly in: FixtureVersion;
  readonly table: string;
  readonly columns: Readonly<Record<string, string | null>>;
}[] = [
  { in: '2.7.2', table: 'slot_pool', columns: { include_deferred: 'false' } },
  { in: '2.7.2', table: 'task_instance', columns: { custom_operator_name: null } },
  { in: '2.8.1', table: 'dag_run', columns: { clear_number: '0' } },
  { in: '2.8.1', table: 'log', columns: { owner_display_name: null } },
  { in: '2.9.2', table: 'log', columns: { run_id: null } },
  { in: '2.9.2', table: 'task_instance', columns: { rendered_map_index: null, task_display_name: null } },
  {
    in: '2.9.2',
    table: 'dag',
    columns: { dag_display_name: null, dataset_expression: null, max_consecutive_failed_dag_runs: '0' },
  },
  { in: '2.10.3', table: 'task_instance', columns: { executor: null } },
  { in: '2.10.3', table: 'log', columns: { try_number: null } },
];

const at = (version: FixtureVersion): number => FIXTURE_VERSIONS.indexOf(version);
const crosses = (from: FixtureVersion, to: FixtureVersion, step: FixtureVersion): boolean =>
  at(from) < at(step) && at(step) <= at(to);

type Row = Record<string, string | null>;

/** The rows of one table, changed. */
function mapRows(snapshot: DatabaseSnapshot, table: string, change: (row: Row) => Row): DatabaseSnapshot {
  const found = snapshot.get(table);
  if (!found) return snapshot;
  const rows = found.rows.map((row) =>
    change(Object.fromEntries(found.columns.map(({ name }, index) => [name, row[index] ?? null]))),
  );
  const names = [...new Set([...found.columns.map(({ name }) => name), ...rows.flatMap(Object.keys)])].sort();
  return new Map([
    ...snapshot,
    [
      table,
      {
        ...found,
        columns: names.map((name) => ({ name, type: 'any' })),
        rows: rows.map((row) => names.map((name) => row[name] ?? null)),
      },
    ],
  ]);
}

function migrated(content: DatabaseSnapshot, from: FixtureVersion, to: FixtureVersion): DatabaseSnapshot {
  let result = content;
  for (const step of NEW_COLUMNS.filter((one) => crosses(from, to, one.in))) {
    result = mapRows(result, step.table, (row) => ({ ...row, ...step.columns }));
  }
  if (!crosses(from, to, '2.10.3')) return result;
  // The only thing that Airflow's migration does not do, and has to be done: see docs/restore.md.
  return mapRows(result, 'task_instance', (row) =>
    ['scheduled', 'queued', 'deferred', 'up_for_reschedule'].includes(row.state ?? '')
      ? { ...row, try_number: String(Number(row.try_number) + 1) }
      : row,
  );
}

/** Tables that came later are created empty. */
function withTables(content: DatabaseSnapshot, target: DatabaseSnapshot): DatabaseSnapshot {
  const created = [...target].map(([name, table]) => [name, { ...table, rows: [] }] as const);
  return new Map([...created, ...content]);
}

/** Two encryptions of one text differ; what is compared is the text. */
const readable = (snapshot: DatabaseSnapshot): DatabaseSnapshot =>
  mapRows(snapshot, 'trigger', (row) => {
    const token = row.kwargs ?? '';
    if (token.startsWith('{')) return row;
    return { ...row, kwargs: fernetDecrypt([FIXTURE_FERNET_KEY], token)?.toString('utf8') ?? token };
  });

describe.each(PAIRS)('a backup of %s in %s', (from, to) => {
  test('has every row, as Airflow’s migrations make it', { timeout: TIMEOUT }, async () => {
    const source = await createDatabase({ version: from });
    const sourceClient = await source.client();
    await hurtfulRows(sourceClient);
    const content = readable(migrated(await snapshotTables(sourceClient), from, to));
    const ctx = engine();
    const { manifest } = await backUp(ctx, source);
    const restoreAndCheck = async (target: TestDatabase, clean: boolean): Promise<void> => {
      const client = await target.client();
      const { catalog } = await databaseFingerprint(client);
      const before = await snapshotTables(client);
      const { plan } = await restoreInto(ctx, target, { clean });
      const expected = expectedContent(withTables(content, before), readable(before), {
        clean,
        snapshotTime: manifest.snapshotTime,
      });
      expect(diffContent(expected, resolveIds(readable(await snapshotTables(client))))).toEqual([]);
      expect((await databaseFingerprint(client)).catalog).toEqual(catalog);
      const codes = plan.warnings.map(({ code }) => code);
      expect(codes).toContain('newer-minor');
    };

    const fresh = await createDatabase({ version: to, from: 'fresh' });
    await restoreAndCheck(fresh, false);
    const { rows } = await (
      await fresh.client()
    ).query<{ kwargs: string }>('SELECT kwargs::text AS kwargs FROM trigger');
    expect(rows.length).toBeGreaterThan(0);
    if (crosses(from, to, '2.9.2')) {
      expect(rows.filter(({ kwargs }) => !canRead([FIXTURE_FERNET_KEY], kwargs))).toEqual([]);
    }

    // Over a history of its own, with rows in tables that the backup's Airflow did not have.
    const busy = await createDatabase({ version: to, from: 'fresh' });
    await otherHistory(await busy.client());
    await restoreAndCheck(busy, true);
  });
});

/** A backup of the fixture of this release. */
async function backupOf(version: FixtureVersion): Promise<Engine> {
  const ctx = engine();
  await backUp(ctx, await createDatabase({ version }));
  return ctx;
}

test('an older target is refused before anything else is said about it', async () => {
  const ctx = await backupOf('2.8.1');
  for (const version of ['2.5.1', '2.7.2'] as const) {
    // Populated: without --clean this one would be refused for its history, too.
    const target = await createDatabase({ version });
    const client = await target.client();
    const before = await databaseFingerprint(client);
    const error = await failureOf(restoreInto(ctx, target));
    expect(error.kind).toBe('unsupported');
    expect(error.message).toMatch(/is of Airflow 2\.8 .* is Airflow 2\.[57] .*same minor or a newer one/);
    expect(error.next).toBe('Restore into an Airflow 2.8 or newer.');
    expect(await databaseFingerprint(client)).toEqual(before);
  }
});

test('2.11 goes into 2.10.0, whose tables are the same', async () => {
  const ctx = await backupOf('2.11.0');
  const target = await createDatabase({ version: '2.10.3', from: 'fresh' });
  await (await target.client()).query("UPDATE alembic_version SET version_num = '22ed7efa9da2'");
  const { plan } = await restoreInto(ctx, target);
  expect(plan.warnings).toContainEqual(expect.objectContaining({ code: 'patch-release' }));
});

test('tries that wait are counted as 2.10 counts them; what finished, runs or starts anew is not touched', async () => {
  const source = await createDatabase({ version: '2.9.2' });
  const sourceClient = await source.client();
  const tries = async (client: pg.Client): Promise<ReadonlyMap<string, number>> => {
    const { rows } = await client.query<{ key: string; try_number: number }>(
      `SELECT concat_ws('/', dag_id, task_id, run_id, map_index) AS key, try_number FROM task_instance`,
    );
    return new Map(rows.map((row) => [row.key, row.try_number]));
  };
  const before = await tries(sourceClient);
  const { rows: states } = await sourceClient.query<{ key: string; state: string | null }>(
    `SELECT concat_ws('/', dag_id, task_id, run_id, map_index) AS key, state FROM task_instance`,
  );
  const ctx = engine();
  await backUp(ctx, source);
  const target = await createDatabase({ version: '2.10.3', from: 'fresh' });
  await restoreInto(ctx, target);
  const after = await tries(await target.client());
  const added = new Map<string, Set<number>>();
  for (const { key, state } of states) {
    const by = (after.get(key) ?? NaN) - (before.get(key) ?? NaN);
    const name = state ?? 'none';
    added.set(name, (added.get(name) ?? new Set()).add(by));
  }
  const one = new Set([1]);
  const none = new Set([0]);
  expect(Object.fromEntries(added)).toEqual({
    scheduled: one,
    queued: one,
    deferred: one,
    up_for_reschedule: one,
    up_for_retry: none,
    running: none,
    none,
    success: none,
    failed: none,
    skipped: none,
    upstream_failed: none,
  });
});

test('triggers are encrypted for the target’s key, or stay as they were when there is none', async () => {
  const ctx = await backupOf('2.8.1');
  const otherKey = Buffer.alloc(32, 7).toString('base64url') + '=';
  const kwargs = async (fernetKeys: readonly string[]): Promise<readonly string[]> => {
    const target = await createDatabase({ version: '2.9.2', from: 'fresh' });
    const { plan } = await restoreInto(ctx, target, {
      fernetKeys,
      sourceFernetKeys: [FIXTURE_FERNET_KEY],
      unreadable: 'keep',
    });
    const note = plan.tables.find(({ table }) => table === 'trigger')?.note;
    expect(note).toMatch(
      fernetKeys.length > 0 ? /kwargs encrypted/ : /in clear: the target’s key is not known/,
    );
    const client = await target.client();
    const { rows } = await client.query<{ kwargs: string }>('SELECT kwargs FROM trigger ORDER BY id');
    return rows.map((row) => row.kwargs);
  };
  const clear = await kwargs([]);
  expect(clear.length).toBeGreaterThan(0);
  expect(clear.every((text) => text.startsWith('{'))).toBe(true);
  for (const key of [FIXTURE_FERNET_KEY, otherKey]) {
    const tokens = await kwargs([key, 'Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMDE=']);
    expect(tokens.map((token) => fernetDecrypt([key], token)?.toString('utf8'))).toEqual(clear);
  }
});

test('max_consecutive_failed_dag_runs that 2.9.0 left empty becomes 0, as 2.9.2 has it', async () => {
  const source = await createDatabase({ version: '2.9.2' });
  await (
    await source.client()
  ).query(
    `ALTER TABLE dag ALTER COLUMN max_consecutive_failed_dag_runs DROP NOT NULL;
     UPDATE dag SET max_consecutive_failed_dag_runs = CASE WHEN right(dag_id, 1) > 'm' THEN 3 END;
     UPDATE alembic_version SET version_num = '1949afb29106'`,
  );
  const ctx = engine();
  await backUp(ctx, source);
  const target = await createDatabase({ version: '2.9.2', from: 'fresh' });
  await restoreInto(ctx, target);
  const { rows } = await (
    await target.client()
  ).query(
    "SELECT DISTINCT right(dag_id, 1) > 'm' AS set, max_consecutive_failed_dag_runs AS max FROM dag ORDER BY 2",
  );
  expect(rows).toEqual([
    { set: false, max: 0 },
    { set: true, max: 3 },
  ]);
});

test('a column that the migration left empty and the target does not allow to be is refused', async () => {
  const ctx = await backupOf('2.9.2');
  const target = await createDatabase({ version: '2.10.3', from: 'fresh' });
  await (await target.client()).query('ALTER TABLE task_instance ALTER COLUMN executor SET NOT NULL');
  const error = await failureOf(restoreInto(ctx, target));
  expect(error.kind).toBe('unsupported');
  expect(error.message).toContain('task_instance.executor');
});

test('a default that is not what the migration gave is not used', async () => {
  const ctx = await backupOf('2.7.2');
  const target = await createDatabase({ version: '2.8.1', from: 'fresh' });
  const client = await target.client();
  await client.query(
    `ALTER TABLE dag_run ALTER COLUMN clear_number SET DEFAULT 5; ALTER TABLE log ALTER COLUMN owner_display_name SET DEFAULT 'me'`,
  );
  await restoreInto(ctx, target);
  expect((await client.query('SELECT DISTINCT clear_number FROM dag_run')).rows).toEqual([
    { clear_number: 0 },
  ]);
  expect((await client.query("SELECT count(*)::int FROM log WHERE owner_display_name = 'me'")).rows).toEqual([
    { count: 0 },
  ]);
});

test('a part of an older backup takes only those newer tables along that hang on it', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase({ version: '2.9.2' }), { tables: ['task_instance'] });
  const target = await createDatabase({ version: '2.10.3', from: 'fresh' });
  const { plan } = await restoreInto(ctx, target);
  const tables = plan.tables.map(({ table }) => table);
  expect(tables).toContain('task_instance_history');
  expect(tables).not.toContain('dataset_alias_dataset_event');
  expect(plan.tables.find(({ table }) => table === 'task_instance_history')).toMatchObject({
    loads: 0,
    note: 'not in the backup’s Airflow',
  });
});
