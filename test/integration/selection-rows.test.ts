import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { planText } from '../../src/cli/text/plan.ts';
import type { RestorePlan } from '../../src/engine/plans.ts';
import { restore } from '../../src/engine/restore.ts';
import { snapshotTables, type DatabaseSnapshot } from '../helpers/compare.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY, type FixtureVersion } from '../helpers/fixtures.ts';
import { backUp, engine, type Engine, failureOf, restoreInto, targetOf } from './engine.ts';
import { otherHistory } from './other-history.ts';
import { danglingReferences, storyDifferences, tellStory, type Told } from './story.ts';

const VERSIONS: readonly FixtureVersion[] = ['2.8.1', '2.11.0'];
/** A DAG with mapped tasks, XComs and notes, and one whose runs were made by another DAG's datasets. */
const CHOSEN = ['lab_everything', 'lab_cons*r'];
const isChosen = ({ dag }: Told): boolean => dag === 'lab_everything' || dag === 'lab_consumer';

/** Dataset events that made a run. */
function consumed(story: readonly Told[]): readonly Told[] {
  const links = story.filter(({ table }) => table === 'dagrun_dataset_event').map(({ row }) => row);
  return story.filter(({ table, row }) => {
    const { timestamp = '' } = table === 'dataset_event' ? (JSON.parse(row) as { timestamp?: string }) : {};
    return timestamp !== '' && links.some((link) => link.includes(timestamp));
  });
}

interface Source {
  readonly ctx: Engine;
  readonly database: TestDatabase;
  readonly client: pg.Client;
  readonly story: readonly Told[];
}

async function sourceOf(version: FixtureVersion, change = ''): Promise<Source> {
  const ctx = engine();
  const database = await createDatabase({ version });
  const client = await database.client();
  await client.query(change);
  await backUp(ctx, database);
  return { ctx, database, client, story: await tellStory(client) };
}

/** Every row of `before` that is not of the given DAGs is there unchanged, to the byte. */
function expectUntouched(before: DatabaseSnapshot, after: DatabaseSnapshot, dags: readonly string[]): void {
  for (const [table, { columns, rows }] of before) {
    const at = columns.findIndex(({ name }) => ['dag_id', 'source_dag_id', 'target_dag_id'].includes(name));
    const left = new Set(after.get(table)?.rows.map((row) => JSON.stringify(row)));
    const gone = rows
      .filter((row) => at < 0 || !dags.includes(row[at] ?? ''))
      .filter((row) => !left.has(JSON.stringify(row)));
    expect(gone, table).toEqual([]);
  }
}

const column = async (client: pg.Client, sql: string): Promise<readonly unknown[]> =>
  (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows.map(([value]) => value);

describe.each(VERSIONS)('on %s', (version) => {
  test('chosen DAGs come into a fresh target with all that they refer to, and nothing else does', async () => {
    const { ctx, story } = await sourceOf(version);
    const target = await createDatabase({ from: 'fresh', version });
    const client = await target.client();
    const before = await snapshotTables(client);
    const own = await tellStory(client);
    const { loaded, plan } = await restoreInto(ctx, target, { dags: CHOSEN });
    const after = await tellStory(client);

    // The producer's events are not of a chosen DAG, and the consumer's runs point to them.
    const events = consumed(story);
    expect(events.length).toBeGreaterThan(0);
    expect(storyDifferences([...own, ...story.filter(isChosen), ...events], after)).toEqual([]);
    expect(await danglingReferences(client)).toEqual([]);
    expectUntouched(before, await snapshotTables(client), CHOSEN);
    expect(await column(client, 'SELECT dag_id FROM dag ORDER BY 1')).toEqual([
      'lab_consumer',
      'lab_everything',
    ]);
    const tries = version === '2.8.1' ? [] : ['task_instance_history'];
    const referred = await column(
      client,
      [
        'SELECT creating_job_id FROM dag_run UNION SELECT triggerer_id FROM trigger',
        ...['task_instance', ...tries].map(
          (table) => `SELECT job_id FROM ${table} UNION SELECT queued_by_job_id FROM ${table}`,
        ),
      ].join(' UNION '),
    );
    const jobs = loaded.tables.find(({ table }) => table === 'job')?.rows ?? 0;
    expect(jobs).toBe(referred.filter((id) => id !== null).length);
    expect(plan.chosen).toMatchObject({
      dagIds: ['lab_consumer', 'lab_everything'],
      dagCount: 2,
      since: null,
    });
    const runs = story.filter((told) => told.table === 'dag_run' && isChosen(told)).length;
    expect(plan.tables.find(({ table }) => table === 'dag_run')?.loads).toBe(runs);
    expect(plan.chosen?.runs).toBe(runs);
    // What the plan could not count, it did not promise too little of.
    for (const { table, rows } of loaded.tables) {
      expect(plan.tables.find((one) => one.table === table)?.loads, table).toBeGreaterThanOrEqual(rows);
    }
  });

  test('into a target that lives on, without --clean: ids that are taken move, and every reference with them', async () => {
    const { ctx, client: from, story } = await sourceOf(version);
    const target = await createDatabase({ from: 'fresh', version });
    const client = await target.client();
    await otherHistory(client);
    await client.query(
      `INSERT INTO dag_run (id, dag_id, run_id, execution_date, run_type, clear_number)
         SELECT n, 'target_dag', 'taken_' || n, 'epoch'::timestamptz + n * interval '1 day', 'manual', 0 FROM generate_series(1, 40) n
         ON CONFLICT DO NOTHING`,
    );
    const before = await snapshotTables(client);
    const own = await tellStory(client);
    const { loaded } = await restoreInto(ctx, target, { dags: CHOSEN, pauseState: 'unchanged' });

    const after = await tellStory(client);
    const events = consumed(story);
    expect(storyDifferences([...own, ...story.filter(isChosen), ...events], after)).toEqual([]);
    expect(await danglingReferences(client)).toEqual([]);
    expectUntouched(before, await snapshotTables(client), CHOSEN);
    const runs = loaded.tables.find(({ table }) => table === 'dag_run');
    expect(runs?.moved).toBe(runs?.rows);

    // As Airflow reads it (airflow/models/xcom.py, BaseXCom.get_many): by run_id, joined through dag_run_id.
    const readable = `SELECT x.key || x.task_id || r.run_id || encode(x.value, 'hex') FROM xcom x JOIN dag_run r ON r.id = x.dag_run_id
      WHERE r.dag_id = 'lab_everything' AND x.dag_id = r.dag_id AND x.run_id = r.run_id ORDER BY 1`;
    expect((await column(client, readable)).length).toBeGreaterThan(0);
    expect(await column(client, readable)).toEqual(await column(from, readable));
    for (const table of ['dag_run', 'log', 'job', 'trigger', 'dataset_event']) {
      const [next] = await column(
        client,
        `SELECT nextval('${table}_id_seq')::int > coalesce(max(id), 0) FROM ${table}`,
      );
      expect(next, table).toBe(true);
    }
  });

  test('a DAG that was deleted comes back into its own environment, and nothing is there twice', async () => {
    const { ctx, client: from, story } = await sourceOf(version);
    const target = await createDatabase({ version });
    const client = await target.client();
    // As `airflow dags delete` does it (airflow/api/common/delete_dag.py): the log and dataset events stay.
    await client.query(
      "DELETE FROM dag_run WHERE dag_id = 'lab_everything'; DELETE FROM dag WHERE dag_id = 'lab_everything'",
    );
    await client.query("DELETE FROM dag_run WHERE dag_id = 'lab_producer'");
    const before = await snapshotTables(client);
    await restoreInto(ctx, target, { dags: ['lab_everything', 'lab_producer'] });
    expect(storyDifferences(story, await tellStory(client))).toEqual([]);
    expectUntouched(before, await snapshotTables(client), ['lab_everything', 'lab_producer']);
    for (const table of ['job', 'log', 'dataset_event', 'dagrun_dataset_event', 'xcom', 'task_instance']) {
      expect([table, await column(client, `SELECT count(*)::int FROM ${table}`)]).toEqual([
        table,
        await column(from, `SELECT count(*)::int FROM ${table}`),
      ]);
    }
    expect(await column(client, "SELECT id FROM dag_run WHERE dag_id LIKE 'lab_e%' ORDER BY 1")).toEqual(
      await column(from, "SELECT id FROM dag_run WHERE dag_id LIKE 'lab_e%' ORDER BY 1"),
    );
  });

  test('runs that the target has are refused by name, the first ten and a count', async () => {
    const { ctx } = await sourceOf(version);
    const target = await createDatabase({ version });
    const before = await databaseFingerprint(await target.client());
    const one = await failureOf(restoreInto(ctx, target, { dags: ['lab_backfill'] }));
    expect(one.kind).toBe('refused');
    expect(one.message).toMatch(/same run_id or logical date as the backup: lab_backfill\/backfill__/);
    expect(one.next).toContain('--clean');
    const all = await failureOf(restoreInto(ctx, target, { excludeDags: ['lab_backfill'] }));
    expect(all.message.match(/lab_[^/ ]+\/|池[^/]*\//g)).toHaveLength(10);
    expect(all.message).toMatch(/ and \d+ more\.$/);
    expect(await databaseFingerprint(await target.client())).toEqual(before);
  });

  test('--clean deletes the history of the chosen DAGs only, exactly as many rows as the plan says', async () => {
    const { ctx, story } = await sourceOf(version);
    const target = await createDatabase({ version });
    const client = await target.client();
    await client.query(
      `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, clear_number) VALUES ('lab_everything', 'newer', '2027-01-01', 'manual', 0);
       INSERT INTO log (dag_id, event, dttm) VALUES ('lab_everything', 'newer', '2027-01-01')`,
    );
    const before = await snapshotTables(client);
    const dags = ['lab_everything', 'lab_producer'];
    const { plan, loaded } = await restoreInto(ctx, target, { dags, clean: true, ignoreRunning: false });
    // Tasks of other DAGs may be at work meanwhile; those of chosen ones may not.
    const running = await failureOf(
      restoreInto(ctx, target, { dags: ['lab_inf*'], clean: true, ignoreRunning: false }),
    );
    expect(running.message).toMatch(/are running or queued: lab_inflight\./);
    expect(running.message).not.toMatch(/lab_(?!inflight)/);
    expect(storyDifferences(story, await tellStory(client))).toEqual([]);
    expect(await danglingReferences(client)).toEqual([]);
    expectUntouched(before, await snapshotTables(client), dags);
    expect(loaded.deleted).toBe(plan.tables.reduce((sum, table) => sum + table.deletes, 0));
    const planned = (name: string): number | undefined =>
      plan.tables.find(({ table }) => table === name)?.deletes;
    const of = (table: string): number =>
      story.filter((told) => told.table === table && dags.includes(told.dag ?? '')).length;
    expect(planned('dag_run')).toBe(of('dag_run') + 1);
    expect(planned('log')).toBe(of('log') + 1);
    expect(planned('xcom')).toBe(of('xcom'));
    // The consumer's runs point to the producer's events: those stay.
    expect(planned('dataset_event')).toBe(of('dataset_event') - consumed(story).length);
    expect(planned('job')).toBe(0);
  });

  test('--since takes runs by their start, unfinished ones always, and what hangs on them', async () => {
    const change = `UPDATE dag_run SET start_date = now() - interval '40 days', end_date = now() - interval '39 days', state = 'success',
        queued_at = now() - interval '40 days' WHERE dag_id <> 'lab_catchup';
      UPDATE dag_run SET state = 'running', end_date = NULL WHERE dag_id = 'lab_empty';
      UPDATE dag_run SET execution_date = '2001-01-01' WHERE id = (SELECT min(id) FROM dag_run WHERE dag_id = 'lab_catchup');
      UPDATE dag_run SET start_date = now() - interval '1 day' WHERE dag_id = 'lab_catchup';
      UPDATE log SET dttm = now() - interval '40 days';
      UPDATE log SET dttm = now() - interval '1 day' WHERE id = (SELECT min(id) FROM log WHERE dag_id IS NULL);
      UPDATE dataset_event SET timestamp = now() - interval '40 days' - id * interval '1 hour';
      DELETE FROM sla_miss WHERE ctid <> (SELECT min(ctid) FROM sla_miss);
      UPDATE sla_miss SET timestamp = now() - interval '40 days', execution_date = (SELECT max(execution_date) FROM dag_run WHERE dag_id = 'lab_catchup')`;
    const { ctx, story } = await sourceOf(version, change);
    const target = await createDatabase({ from: 'fresh', version });
    const client = await target.client();
    await client.query('TRUNCATE log');
    const { plan } = await restoreInto(ctx, target, { since: 30 * 86_400_000 });
    const young = ({ dag }: Told): boolean => dag === 'lab_catchup' || dag === 'lab_empty';
    const after = await tellStory(client);
    const without = (told: Told): boolean =>
      !['log', 'sla_miss', 'dataset_dag_run_queue'].includes(told.table);
    expect(after.filter((told) => told.table === 'dag_run').length).toBeGreaterThan(2);
    expect(storyDifferences(story.filter(young).filter(without), after.filter(without))).toEqual([]);
    expect(await danglingReferences(client)).toEqual([]);
    expect(plan.chosen?.since).toMatch(/^\d{4}-\d\d-\d\dT/);
    // An old entry comes with its run, a young one by itself.
    const entries = after.filter(({ table }) => table === 'log');
    expect(new Set(entries.map(({ dag }) => dag))).toEqual(new Set(['lab_catchup', null]));
    expect(entries.filter(({ dag }) => dag === null)).toHaveLength(1);
    const sla = (told: readonly Told[]): number => told.filter(({ table }) => table === 'sla_miss').length;
    expect([sla(story), sla(after)]).toEqual([1, 1]);
  });

  test('--exclude-dags leaves out what it names, also from what --dags names, and keeps what is of no DAG', async () => {
    const { ctx, story } = await sourceOf(version);
    const target = await createDatabase({ from: 'fresh', version });
    const client = await target.client();
    const own = await tellStory(client);
    await restoreInto(ctx, target, { excludeDags: ['lab_[!ep]*'] });
    const left = (told: Told): boolean => told.dag === null || /^lab_(e|p|\[)/.test(told.dag);
    // Dataset events of excluded DAGs that nothing points to stay away; those of lab_producer are its own.
    expect(storyDifferences([...own, ...story.filter(left)], await tellStory(client))).toEqual([]);

    const second = await createDatabase({ from: 'fresh', version });
    const { plan } = await restoreInto(ctx, second, {
      dags: ['lab_e*', 'lab_p*'],
      excludeDags: ['*everything'],
    });
    expect(plan.chosen?.dagIds).toEqual(['lab_empty', 'lab_paused', 'lab_producer']);
    const dags = await column(await second.client(), 'SELECT DISTINCT dag_id FROM dag_run ORDER BY 1');
    expect(dags).toEqual(['lab_empty', 'lab_paused', 'lab_producer']);
  });
});

test('deferred tasks bring their triggers, and only their triggers have to be readable', async () => {
  const { ctx } = await sourceOf('2.11.0');
  const keys = {
    fernetKeys: [Buffer.alloc(32, 9).toString('base64url')],
    variables: 'skip',
    connections: 'skip',
  } as const;
  const target = await createDatabase({ from: 'fresh', version: '2.11.0' });
  const refused = await failureOf(restoreInto(ctx, target, { ...keys, dags: ['lab_inflight'] }));
  expect(refused.message).toMatch(/no known key reads 1 secrets of the backup: trigger/);
  await restoreInto(ctx, target, { ...keys, dags: ['lab_everything'] });
  const client = await target.client();
  expect(await column(client, 'SELECT count(*)::int FROM trigger')).toEqual([0]);
  await restoreInto(ctx, target, { dags: ['lab_inflight'], variables: 'skip', connections: 'skip' });
  const deferred = await column(
    client,
    'SELECT g.classpath FROM task_instance t JOIN trigger g ON g.id = t.trigger_id',
  );
  expect(deferred).toEqual(await column(client, 'SELECT classpath FROM trigger'));
  expect(deferred.length).toBe(1);
});

test('a DAG that has run in the target since keeps its next run there and waits for nothing old', async () => {
  const change = `UPDATE dag SET next_dagrun = '2026-02-02', next_dagrun_create_after = '2026-02-03'`;
  const { ctx } = await sourceOf('2.8.1', change);
  const target = await createDatabase({ version: '2.8.1' });
  const client = await target.client();
  await client.query(
    `DELETE FROM dag_run; DELETE FROM dataset_dag_run_queue;
     UPDATE dag SET next_dagrun = '2027-03-03', next_dagrun_create_after = '2027-03-04';
     INSERT INTO dag_run (dag_id, run_id, execution_date, queued_at, run_type, clear_number)
       VALUES ('lab_catchup', 'since', '2027-01-01', now() + interval '1 hour', 'manual', 0), ('lab_consumer_both', 'since', '2027-01-01', now() + interval '1 hour', 'manual', 0)`,
  );
  await restoreInto(ctx, target, { dags: ['lab_ca*', 'lab_consumer*', 'lab_empty'] });
  expect(
    await column(
      client,
      `SELECT dag_id || ' ' || next_dagrun::date FROM dag WHERE dag_id IN ('lab_catchup', 'lab_empty', 'lab_sensor') ORDER BY 1`,
    ),
  ).toEqual(['lab_catchup 2027-03-03', 'lab_empty 2026-02-02', 'lab_sensor 2027-03-03']);
  expect(await column(client, 'SELECT target_dag_id FROM dataset_dag_run_queue')).toEqual([]);
});

test('pools stay as they are; those that chosen tasks use and the target lacks are added', async () => {
  const change = `INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('used', 3, false), ('unused', 4, false);
    UPDATE task_instance SET pool = 'used' WHERE dag_id = 'lab_empty' OR dag_id = 'lab_catchup';
    UPDATE slot_pool SET slots = 77 WHERE pool = 'default_pool'`;
  const { ctx } = await sourceOf('2.8.1', change);
  const target = await createDatabase({ from: 'fresh' });
  const client = await target.client();
  const { loaded } = await restoreInto(ctx, target, { dags: ['lab_catchup', 'lab_everything'] });
  const pools = await column(
    client,
    "SELECT pool || ' ' || slots FROM slot_pool WHERE pool IN ('default_pool', 'used', 'unused') ORDER BY 1",
  );
  expect(pools).toEqual(['default_pool 128', 'used 3']);
  expect(loaded.missingPools).toEqual([]);
});

test('patterns that choose nothing, and those that are none, are told at once', async () => {
  const { ctx } = await sourceOf('2.8.1');
  const target = await createDatabase({ from: 'fresh' });
  const nothing = await failureOf(restoreInto(ctx, target, { dags: ['typo_*'] }));
  expect(nothing).toMatchObject({ kind: 'usage' });
  expect(nothing.message).toMatch(/--dags typo_\* chooses no DAG/);
  expect(nothing.next).toContain('lab_backfill');
  const broken = await failureOf(restoreInto(ctx, target, { excludeDags: ['[z-a]'] }));
  expect(broken).toMatchObject({ kind: 'usage' });
  expect(broken.message).toContain('[z-a]');
});

test('a run that appears after the plan is refused too, and the target is as it was', async () => {
  const { ctx } = await sourceOf('2.8.1');
  const target = await createDatabase({ from: 'fresh' });
  const client = await target.client();
  let before: unknown;
  const late = await failureOf(
    restoreInto(ctx, target, {
      dags: ['lab_catchup'],
      confirm: async () => {
        await client.query(
          `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, clear_number)
             VALUES ('lab_catchup', 'late', (SELECT '2026-01-01'::timestamptz), 'manual', 0)`,
        );
        const dates = await (
          await sourceOf('2.8.1')
        ).client.query<{ run_id: string }>("SELECT run_id FROM dag_run WHERE dag_id = 'lab_catchup' LIMIT 1");
        await client.query('UPDATE dag_run SET run_id = $1', [dates.rows[0]?.run_id]);
        before = await databaseFingerprint(client);
        return true;
      },
    }),
  );
  expect(late).toMatchObject({ kind: 'refused' });
  expect(late.message).toMatch(/has a run of the same run_id or logical date as the backup: lab_catchup\//);
  expect(await databaseFingerprint(client)).toEqual(before);
});

test('the plan says what is chosen, what comes along, and what is only an upper bound', async () => {
  const { ctx } = await sourceOf('2.8.1');
  const target = await createDatabase({ from: 'fresh' });
  const plans: RestorePlan[] = [];
  const { plan } = await restore(ctx, {
    environment: targetOf(target),
    backup: 'latest',
    clean: true,
    variables: 'append',
    connections: 'append',
    pauseState: 'backup',
    fernetKeys: [FIXTURE_FERNET_KEY],
    dags: ['lab_everything', 'lab_c*'],
    excludeDags: ['lab_catchup'],
    since: 3650 * 86_400_000,
    dryRun: true,
    confirm: () => Promise.resolve(false),
  });
  plans.push(plan);
  const plain = (text: string): string => text;
  const style = {
    bold: plain,
    dim: plain,
    red: plain,
    green: plain,
    yellow: plain,
    cyan: plain,
    width: 200,
    now: () => new Date(),
  };
  const text = planText(plan, style);
  expect(text).toMatch(
    /^ {2}DAGs +lab_everything, lab_c\* without lab_catchup \(3: lab_consumer, lab_consumer_both, lab_everything\)$/m,
  );
  expect(text).toMatch(
    /^ {2}runs +\d+ of \d+; those that started since \d{4}-\d\d-\d\d .+ or had not ended$/m,
  );
  expect(text).toMatch(
    /^ {2}clean +yes: the same part of the target’s history is deleted first, and nothing else$/m,
  );
  expect(text).toMatch(/^job +load +0 +≤ \d+ +\d+ +those that chosen rows refer to$/m);
  expect(text).toMatch(/^dag_run +load +0 +\d+ +0/m);
  expect(text).toMatch(/^total .+≤ /m);
});
