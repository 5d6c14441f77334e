import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { ImportRequest, ImportResult } from '../../src/engine/api.ts';
import { importBackup } from '../../src/engine/import/import.ts';
import { verify } from '../../src/engine/verify.ts';
import { fernetDecrypt } from '../../src/secrets/fernet.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { expectedRows, expectedSecrets, fixtureFile, mwaaBackup } from '../helpers/mwaa-dr.ts';
import type { ExpectedRow, MwaaFixture } from '../helpers/mwaa-dr.ts';
import { engine, failureOf, restoreInto, storageContent } from './engine.ts';
import type { Engine } from './engine.ts';

const TIMEOUT = 60_000;
const GZIP = { codec: 'gzip', level: 1 } as const;

function importInto(ctx: Engine, from: Storage, request: Partial<ImportRequest> = {}): Promise<ImportResult> {
  return importBackup(ctx, {
    from,
    format: 'mwaa-dr',
    airflowVersion: '2.8.1',
    compression: GZIP,
    fernetKeys: [FIXTURE_FERNET_KEY],
    ...request,
  });
}

async function restored(fixture: MwaaFixture): Promise<{ client: pg.Client; result: ImportResult }> {
  const ctx = engine();
  const result = await importInto(ctx, await mwaaBackup(fixture));
  await verify(ctx, { backup: 'latest' });
  const target = await createDatabase({ from: 'fresh' });
  await restoreInto(ctx, target);
  return { client: await target.client(), result };
}

/** Rows as row_to_json gives them, in the form of the fixtures. */
async function rowsOf(client: pg.Client, table: string): Promise<readonly ExpectedRow[]> {
  await client.query("SET timezone = 'UTC'");
  const { rows } = await client.query<{ row: string }>(`SELECT row_to_json(t)::text AS row FROM ${table} t`);
  return rows.map(({ row }) => JSON.parse(row) as ExpectedRow);
}

/** The rows without columns that cannot be equal, in an order that does not depend on ids. */
function comparable(rows: readonly ExpectedRow[], without: readonly string[]): readonly string[] {
  return rows
    .map((row) =>
      JSON.stringify(
        Object.entries(row)
          .filter(([column]) => !without.includes(column))
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      ),
    )
    .sort();
}

const isOwn = (row: ExpectedRow): boolean => String(row.dag_id).endsWith('_metadata');
const UNFINISHED = ['running', 'queued', 'up_for_retry', 'up_for_reschedule', null, 'deferred', 'scheduled'];
const isFinished = (row: ExpectedRow): boolean => !UNFINISHED.includes(row.state as string | null);

async function checkSecrets(client: pg.Client, fixture: MwaaFixture): Promise<void> {
  const clear = (value: unknown): string | null =>
    typeof value === 'string' ? (fernetDecrypt([FIXTURE_FERNET_KEY], value)?.toString() ?? '?') : null;
  const orNull = (value: unknown): unknown => (value === '' ? null : value);
  const variables = await rowsOf(client, 'variable');
  expect(variables.every((row) => row.is_encrypted === true)).toBe(true);
  expect(
    Object.fromEntries(variables.map(({ key, val, description }) => [key, { val: clear(val), description }])),
  ).toEqual(
    Object.fromEntries(
      Object.entries(expectedSecrets(fixture, 'variable')).map(([key, row]) => [
        key,
        { val: row.val, description: orNull(row.description) },
      ]),
    ),
  );
  const connections = await rowsOf(client, 'connection');
  expect(
    Object.fromEntries(
      connections.map(({ conn_id, is_encrypted, is_extra_encrypted, password, extra, ...row }) => [
        conn_id,
        { ...row, id: 0, password: clear(password), extra: clear(extra), is_encrypted, is_extra_encrypted },
      ]),
    ),
  ).toEqual(
    Object.fromEntries(
      Object.entries(expectedSecrets(fixture, 'connection')).map(([name, row]) => {
        const values = Object.fromEntries(
          Object.entries(row).map(([column, value]) => [column, orNull(value)]),
        );
        const flags = {
          is_encrypted: typeof values.password === 'string',
          is_extra_encrypted: typeof values.extra === 'string',
        };
        return [name, { ...values, ...flags, id: 0 }];
      }),
    ),
  );
}

/** XComs of the target whose run id is not that of the run they name. */
async function strayXComs(client: pg.Client): Promise<number> {
  const { rowCount } = await client.query(
    `SELECT FROM xcom x LEFT JOIN dag_run r ON r.id = x.dag_run_id
      WHERE (r.dag_id, r.run_id) IS DISTINCT FROM (x.dag_id, x.run_id)`,
  );
  return rowCount ?? 0;
}

describe('a backup of mwaa_dr, imported and restored into a fresh 2.8', () => {
  test('of finished runs: everything that its files hold', { timeout: TIMEOUT }, async () => {
    const { client } = await restored('clean');
    await checkSecrets(client, 'clean');
    const compare = async (table: string, without: readonly string[]): Promise<void> => {
      const source = expectedRows('clean', table).filter((row) => !isOwn(row));
      const there = (await rowsOf(client, table)).filter((row) => !isOwn(row));
      expect(there.length, table).toBeGreaterThan(0);
      expect(comparable(there, without), table).toEqual(comparable(source, without));
    };
    await compare('dag_run', ['id', 'creating_job_id', 'log_template_id']);
    await compare('task_instance', ['job_id', 'queued_by_job_id']);
    await compare('xcom', ['dag_run_id']);
    await compare('task_fail', ['id']);
    await compare('job', ['id']);
    const pools = (rows: readonly ExpectedRow[]): readonly ExpectedRow[] =>
      rows.filter((row) => row.pool !== 'default_pool');
    expect(comparable(pools(await rowsOf(client, 'slot_pool')), ['id'])).toEqual(
      comparable(pools(expectedRows('clean', 'slot_pool')), ['id']),
    );
    expect(await strayXComs(client)).toBe(0);
    const { rows } = await client.query<{ xcoms: string; paused: string; dags: string }>(
      'SELECT (SELECT count(*) FROM xcom) AS xcoms, count(*) FILTER (WHERE is_paused) AS paused, count(*) AS dags FROM dag',
    );
    const dags = expectedRows('clean', 'dag').filter((row) => !isOwn(row));
    expect(rows[0]).toEqual({
      xcoms: String(expectedRows('clean', 'xcom').length),
      paused: String(dags.filter((row) => row.is_paused === true).length),
      dags: String(dags.length),
    });
  });

  test('of runs in flight: what finished is exact, the rest can go on', { timeout: TIMEOUT }, async () => {
    const { client, result } = await restored('inflight');
    await checkSecrets(client, 'inflight');
    const finished = (rows: readonly ExpectedRow[]): readonly ExpectedRow[] =>
      rows.filter((row) => !isOwn(row) && isFinished(row));
    const without = ['job_id', 'queued_by_job_id'];
    expect(comparable(finished(await rowsOf(client, 'task_instance')), without)).toEqual(
      comparable(finished(expectedRows('inflight', 'task_instance')), without),
    );

    const done = new Set(
      finished(expectedRows('inflight', 'task_instance')).map((row) =>
        JSON.stringify([row.dag_id, row.task_id, row.run_id, row.map_index]),
      ),
    );
    const ofDone = (rows: readonly ExpectedRow[]): readonly ExpectedRow[] =>
      rows.filter((row) => done.has(JSON.stringify([row.dag_id, row.task_id, row.run_id, row.map_index])));
    const sourceXComs = ofDone(expectedRows('inflight', 'xcom'));
    expect(sourceXComs.length).toBeGreaterThan(5);
    expect(comparable(ofDone(await rowsOf(client, 'xcom')), ['dag_run_id'])).toEqual(
      comparable(sourceXComs, ['dag_run_id']),
    );
    expect(await strayXComs(client)).toBe(0);

    const runs = await rowsOf(client, 'dag_run');
    const open = runs.filter((row) => row.state !== 'success' && row.state !== 'failed');
    const sourceOpen = expectedRows('inflight', 'dag_run').filter(
      (row) => !isOwn(row) && (row.state === 'running' || row.state === 'queued'),
    );
    expect(open.map((row) => [row.dag_id, row.state]).sort()).toEqual(
      sourceOpen.map((row) => [row.dag_id, row.state]).sort(),
    );
    expect(open.every((row) => row.dag_hash === null)).toBe(true);
    expect(runs.filter(isOwn).map((row) => [row.state, row.end_date !== null])).toEqual([['success', true]]);

    const [deferred] = (await rowsOf(client, 'task_instance')).filter((row) => row.state === 'deferred');
    const [trigger] = await rowsOf(client, 'trigger');
    const [source] = expectedRows('inflight', 'task_instance').filter((row) => row.state === 'deferred');
    expect(deferred).toMatchObject({
      next_method: 'done',
      next_kwargs: source?.next_kwargs,
      trigger_id: trigger?.id,
    });
    expect(trigger).toMatchObject({
      kwargs: expectedRows('inflight', 'trigger')[0]?.kwargs,
      triggerer_id: null,
    });

    const lost = result.notes.filter((note) => note.kind === 'lost' && note.rows !== undefined);
    expect(lost.map(({ table, rows }) => [table, rows]).sort()).toEqual([
      ['task_fail', 1],
      ['xcom', expect.any(Number)],
    ]);
    expect(result.manifest.leftOut.map((one) => one.reason).join('\n')).toContain('import, 1 row lost: ');
    expect(result.manifest.leftOut.some((one) => one.table === 'task_reschedule')).toBe(true);
  });
});

describe('what an import refuses', () => {
  test('clear secrets without a key (14), and leaves nothing', async () => {
    const ctx = engine();
    const failure = await failureOf(importInto(ctx, await mwaaBackup('inflight'), { fernetKeys: [] }));
    expect([failure.kind, failure.next]).toEqual(['refused', expect.stringContaining('LIFEBOAT_FERNET_KEY')]);
    expect([...(await storageContent(ctx.storage)).keys()]).toEqual([]);
  });

  test('files of another version, none, and versions that nobody knows', async () => {
    const from = await mwaaBackup('inflight');
    const failures = await Promise.all(
      [
        importInto(engine(), from, { airflowVersion: '2.7' }),
        importInto(engine(), from, { airflowVersion: '2.4.3' }),
        importInto(engine(), from, { airflowVersion: 'newest' }),
        importBackup(engine(), { from, format: 'mwaa-dr', compression: GZIP, fernetKeys: [] }),
        importInto(engine(), createMemoryStorage()),
      ].map(failureOf),
    );
    expect(failures.map(({ kind }) => kind)).toEqual(['usage', 'unsupported', 'usage', 'usage', 'not-found']);
    expect(failures[0]?.message).toContain('for Airflow 2.7');
    expect(failures[0]?.next).toContain('2.8');
  });

  test.each([
    ['a field too many', 'task_fail.csv', (text: string) => `${text}a|b\r\n`],
    ['an open quote', 'variable.csv', (text: string) => `${text}"secret-in-here`],
    ['no Python literal', 'trigger.csv', (text: string) => text.replace("{'__var'", '{secret-in-here')],
  ])('a damaged file: %s (12), without its content, and leaves nothing', async (_, file, damage) => {
    const ctx = engine();
    const from = await mwaaBackup('inflight', { [file]: damage(fixtureFile('inflight', file).toString()) });
    const failure = await failureOf(importInto(ctx, from));
    expect(failure.kind).toBe('integrity');
    expect(failure.message).toContain(file);
    expect(JSON.stringify([failure.message, failure.next, failure.details])).not.toContain('secret-in-here');
    expect([...(await storageContent(ctx.storage)).keys()]).toEqual([]);
  });
});

describe('what the files cannot tell', () => {
  test('rows without their parents are left out and named', { timeout: TIMEOUT }, async () => {
    const ctx = engine();
    const runs = fixtureFile('clean', 'dag_run.csv').toString().split('\r\n');
    const gone = runs.shift()?.split('|') ?? [];
    const from = await mwaaBackup('clean', { 'dag_run.csv': runs.join('\r\n') });
    const { manifest, notes } = await importInto(ctx, from);
    const ofRun = (table: string): number =>
      expectedRows('clean', table).filter((row) => row.dag_id === gone[4] && row.run_id === gone[13]).length;
    expect(ofRun('xcom')).toBeGreaterThan(0);
    const lost = notes.filter(({ kind, rows }) => kind === 'lost' && rows !== undefined);
    expect(Object.fromEntries(lost.map(({ table, rows }) => [table, rows]))).toMatchObject({
      task_instance: ofRun('task_instance'),
      xcom: ofRun('xcom'),
    });
    expect(manifest.tables.find(({ name }) => name === 'xcom')?.rows).toBe(
      expectedRows('clean', 'xcom').length - ofRun('xcom'),
    );
    await restoreInto(ctx, await createDatabase({ from: 'fresh' }));
  });

  test('two triggers: the deferred task starts from the beginning', { timeout: TIMEOUT }, async () => {
    const ctx = engine();
    const trigger = fixtureFile('inflight', 'trigger.csv').toString();
    const { notes } = await importInto(
      ctx,
      await mwaaBackup('inflight', { 'trigger.csv': trigger + trigger }),
    );
    expect(notes.find(({ table, kind }) => table === 'trigger' && kind === 'lost')?.rows).toBe(2);
    const target = await createDatabase({ from: 'fresh' });
    await restoreInto(ctx, target);
    const client = await target.client();
    const { rows } = await client.query(
      "SELECT state, trigger_id, next_method, next_kwargs FROM task_instance WHERE task_id = 'd'",
    );
    expect(rows).toEqual([{ state: null, trigger_id: null, next_method: null, next_kwargs: null }]);
  });

  test('a DAG that the target has parsed keeps its next run', { timeout: TIMEOUT }, async () => {
    const ctx = engine();
    await importInto(ctx, await mwaaBackup('inflight'));
    const target = await createDatabase({ from: 'fresh' });
    const client = await target.client();
    await client.query(
      `INSERT INTO dag (dag_id, is_paused, is_active, max_active_tasks, has_task_concurrency_limits, next_dagrun, description)
       VALUES ('etl', true, true, 7, true, '2031-05-01', 'parsed'), ('paused_dag', false, true, 7, true, NULL, NULL)`,
    );
    await restoreInto(ctx, target);
    const { rows } = await client.query(
      `SELECT dag_id, is_paused, is_active, max_active_tasks, next_dagrun IS NOT NULL AS next, description
         FROM dag WHERE dag_id IN ('etl', 'paused_dag', 'flight') ORDER BY 1`,
    );
    expect(rows).toEqual([
      {
        dag_id: 'etl',
        is_paused: false,
        is_active: true,
        max_active_tasks: 7,
        next: true,
        description: 'parsed',
      },
      {
        dag_id: 'flight',
        is_paused: false,
        is_active: false,
        max_active_tasks: 16,
        next: false,
        description: null,
      },
      {
        dag_id: 'paused_dag',
        is_paused: true,
        is_active: true,
        max_active_tasks: 7,
        next: false,
        description: null,
      },
    ]);
  });
});
