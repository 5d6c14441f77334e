import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import type { FixtureVersion } from '../helpers/fixtures.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import { backUp, engine, type Engine, failureOf, restoreInto, WAYS } from './engine.ts';
import { danglingReferences, storyDifferences, tellStory, type Told } from './story.ts';

/** A part of a backup beside what the target has of the same runs: only what the restore brought is its business. */

const DATE = '2026-01-05T00:00:00Z';
const RUN = { dag_id: 'work', run_id: 'unfinished' };

const column = async (client: pg.Client, sql: string): Promise<readonly unknown[]> =>
  (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows.map(([value]) => value);

/** A run at work, with a row in every table that only tells of it. */
async function runAtWork(client: pg.Client): Promise<void> {
  const old = '2026-01-05T01:00:00Z';
  await insertRows(client, 'dag', [
    { dag_id: 'work', is_paused: false, is_active: true, next_dagrun: '2026-01-06T00:00:00Z' },
  ]);
  await insertRows(client, 'dag_run', [
    {
      ...RUN,
      execution_date: DATE,
      data_interval_start: DATE,
      data_interval_end: '2026-01-06T00:00:00Z',
      start_date: old,
      state: 'running',
      run_type: 'scheduled',
    },
  ]);
  await insertRows(client, 'task_instance', [
    {
      ...RUN,
      task_id: 'a',
      map_index: -1,
      state: 'running',
      pool: 'default_pool',
      pool_slots: 1,
      max_tries: 0,
    },
  ]);
  await tellOfRun(client, 'both', old);
  await tellOfRun(client, 'backup', '2026-01-05T02:00:00Z');
}

/** What Airflow keeps when a run is deleted. */
async function tellOfRun(client: pg.Client, whose: string, at: string): Promise<void> {
  await insertRows(client, 'log', [
    { ...RUN, dttm: at, task_id: 'a', event: 'running', owner: whose, execution_date: DATE },
  ]);
  await insertRows(client, 'sla_miss', [
    { dag_id: 'work', task_id: whose, execution_date: DATE, timestamp: at },
  ]);
  await client.query(
    `INSERT INTO dataset_event (dataset_id, extra, source_dag_id, source_run_id, source_task_id, source_map_index, timestamp)
       SELECT min(id), '{}', 'work', 'unfinished', $1, -1, $2 FROM dataset`,
    [whose, at],
  );
}

const TOLD = `SELECT 'log ' || owner FROM log WHERE dag_id = 'work' UNION ALL SELECT 'sla_miss ' || task_id FROM sla_miss WHERE dag_id = 'work'
  UNION ALL SELECT 'dataset_event ' || source_task_id FROM dataset_event WHERE source_dag_id = 'work' ORDER BY 1`;
const told = (...whose: string[]): readonly string[] =>
  ['dataset_event', 'log', 'sla_miss'].flatMap((table) => whose.map((one) => `${table} ${one}`));

async function work(
  version: FixtureVersion,
): Promise<{ ctx: Engine; target: TestDatabase; client: pg.Client }> {
  const ctx = engine();
  const source = await createDatabase({ version });
  await runAtWork(await source.client());
  await backUp(ctx, source);
  const target = await createDatabase({ version });
  return { ctx, target, client: await target.client() };
}

describe.each(['2.8.1', '2.11.0'] as const)('on %s', (version) => {
  test('--in-flight exclude takes out what came with the backup, and leaves what the target had of that run', async () => {
    const { ctx, target, client } = await work(version);
    await tellOfRun(client, 'both', '2026-01-05T01:00:00Z');
    await tellOfRun(client, 'target', '2026-01-05T03:00:00Z');
    const { loaded } = await restoreInto(ctx, target, { dags: ['work'], inFlight: 'exclude' });
    expect(loaded.inFlight?.excludedRuns).toBe(1);
    expect(await column(client, "SELECT 1 FROM dag_run WHERE dag_id = 'work'")).toEqual([]);
    expect(await column(client, TOLD)).toEqual(told('both', 'target'));
  });

  test.each(WAYS)(
    'so it does with all of a backup, in a target that has logs and no runs: %s',
    async (via) => {
      const { ctx, client, target } = await work(version);
      await client.query('DELETE FROM dag_run; DELETE FROM task_instance; DELETE FROM xcom');
      await tellOfRun(client, 'target', '2026-01-05T03:00:00Z');
      await insertRows(client, 'sla_miss', [
        { dag_id: 'work', task_id: 'both', execution_date: DATE, timestamp: '2026-01-05T03:00:00Z' },
      ]);
      await restoreInto(ctx, target, { inFlight: 'exclude', via });
      expect(await column(client, TOLD)).toEqual([...told('target'), 'sla_miss both'].toSorted());
    },
  );

  test('--in-flight exclude leaves the next run of a DAG that has gone on in the target', async () => {
    const { ctx, target, client } = await work(version);
    await insertRows(client, 'dag', [
      { dag_id: 'work', is_paused: false, is_active: true, next_dagrun: '2027-03-03T00:00:00Z' },
    ]);
    await insertRows(client, 'dag_run', [
      { dag_id: 'work', run_id: 'since', execution_date: '2027-01-01T00:00:00Z', run_type: 'manual' },
    ]);
    await client.query("UPDATE dag_run SET queued_at = now() + interval '1 hour' WHERE run_id = 'since'");
    await restoreInto(ctx, target, { dags: ['work'], inFlight: 'exclude' });
    expect(await column(client, "SELECT next_dagrun::date::text FROM dag WHERE dag_id = 'work'")).toEqual([
      '2027-03-03',
    ]);
  });

  test.each([true, false])(
    'a run that the target keeps is left out, not refused (--clean: %s)',
    async (clean) => {
      const { ctx, target, client } = await work(version);
      await insertRows(client, 'dag_run', [
        { ...RUN, execution_date: DATE, run_type: 'manual', state: 'running', start_date: DATE },
      ]);
      const refused = await failureOf(restoreInto(ctx, target, { dags: ['work'] }));
      expect(refused.message).toMatch(/same run_id or logical date as the backup: work\/unfinished/);
      const { loaded, plan } = await restoreInto(ctx, target, {
        dags: ['work'],
        clean,
        keepRuns: [{ dagId: 'work', runId: 'unfinished' }],
      });
      expect(plan.blockers).toEqual([]);
      expect(loaded.leftOutRuns).toEqual(['work/unfinished']);
      expect(await column(client, "SELECT run_type FROM dag_run WHERE dag_id = 'work'")).toEqual(['manual']);
      expect(await column(client, "SELECT task_id FROM task_instance WHERE dag_id = 'work'")).toEqual([]);
      expect(await danglingReferences(client)).toEqual([]);
    },
  );
});

test('chosen DAGs of an older minor come as they do with all of the backup', async () => {
  const ctx = engine();
  const source = await createDatabase({ version: '2.8.1' });
  await runAtWork(await source.client());
  await backUp(ctx, source);
  const all = await createDatabase({ from: 'fresh', version: '2.11.0' });
  // Without a key, which would encrypt the arguments of triggers anew each time.
  await restoreInto(ctx, all, { fernetKeys: [] });
  const isChosen = ({ dag }: Told): boolean => dag === 'lab_inflight' || dag === 'work';
  const expected = (await tellStory(await all.client())).filter(isChosen);
  expect(new Set(expected.map(({ table }) => table)).size).toBeGreaterThan(5);

  const some = await createDatabase({ from: 'fresh', version: '2.11.0' });
  const client = await some.client();
  const own = (await tellStory(client)).length;
  const { plan } = await restoreInto(ctx, some, { dags: ['lab_inflight', 'work'], fernetKeys: [] });
  const after = await tellStory(client);
  expect(storyDifferences(expected, after.filter(isChosen))).toEqual([]);
  expect(after.length - after.filter(isChosen).length).toBe(own);
  expect(await danglingReferences(client)).toEqual([]);
  expect(plan.warnings.map(({ code }) => code)).toContain('newer-minor');

  // Once more over what is there.
  await restoreInto(ctx, some, { dags: ['lab_inflight', 'work'], clean: true, fernetKeys: [] });
  expect(storyDifferences(after, await tellStory(client))).toEqual([]);
});

test('--since with a backup of an older minor takes the log of chosen runs, which have no run id in it', async () => {
  const ctx = engine();
  const source = await createDatabase({ version: '2.8.1' });
  const from = await source.client();
  await runAtWork(from);
  await backUp(ctx, source);
  const target = await createDatabase({ from: 'fresh', version: '2.11.0' });
  const client = await target.client();
  await restoreInto(ctx, target, { dags: ['work'], since: 3_600_000 });
  expect(await column(client, TOLD)).toEqual(told('backup', 'both'));
});
