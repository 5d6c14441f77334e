import { gzipSync } from 'node:zlib';
import type pg from 'pg';
import { expect, test } from 'vitest';
import { importBackup } from '../../src/engine/import/import.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { engine, failureOf, restoreInto } from './engine.ts';

const TABLES = [
  'dag_run',
  'task_instance',
  'xcom',
  'log',
  'dag',
  'variable',
  'connection',
  'slot_pool',
  'job',
  'trigger',
];

/** Writes a table as the Glue job does: through JDBC into pandas, and out with to_csv. */
async function glueTable(client: pg.Client, table: string, where = 'true'): Promise<Record<string, Buffer>> {
  const { rows: columns } = await client.query<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
      WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [table],
  );
  await client.query("SET timezone = 'UTC'; SET bytea_output = 'hex'");
  const { rows } = await client.query<(string | null)[]>({
    text: `SELECT ${columns.map(({ name }) => `"${name}"::text`).join(', ')} FROM ${table} WHERE ${where}`,
    rowMode: 'array',
  });
  const holed = columns.map((_, at) => rows.some((row) => row[at] === null));
  const text = [
    columns.map(({ name }) => name),
    ...rows.map((row) => row.map((value, at) => pandas(value, columns[at]?.type ?? '', holed[at] ?? false))),
  ];
  const csv = text.map((fields) => `${fields.map(quoted).join('|')}\n`).join('');
  const meta = { table, columns: columns.map(({ name }) => name), row_count: rows.length };
  return {
    [`${table}.csv.gz`]: gzipSync(csv),
    [`${table}_meta.json`]: Buffer.from(JSON.stringify(meta)),
  };
}

function pandas(value: string | null, type: string, holed: boolean): string {
  if (value === null) return '';
  if (type === 'integer' && holed) return `${value}.0`;
  if (type === 'boolean') return value === 'true' ? 'True' : 'False';
  if (type.startsWith('timestamp')) return value.replace(/\+00$/, '');
  if (type === 'bytea') {
    const bytes = Buffer.from(value.slice(2), 'hex');
    return `bytearray(b'${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}')`;
  }
  return value;
}

function quoted(field: string): string {
  return /[|"\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

async function glueExport(client: pg.Client, filters: Readonly<Record<string, string>>): Promise<Storage> {
  const storage = createMemoryStorage();
  for (const table of TABLES) {
    const { rowCount } = await client.query(`SELECT FROM ${table} LIMIT 1`);
    if (rowCount === 0) continue;
    for (const [key, bytes] of Object.entries(await glueTable(client, table, filters[table]))) {
      await storage.write(key, bytes);
    }
  }
  return storage;
}

test('a Glue export: rows come back with their ids, and those without parents are left out', async () => {
  const source = await createDatabase();
  const client = await source.client();
  const { rows: runs } = await client.query<{ id: number }>('SELECT min(id) AS id FROM dag_run');
  const from = await glueExport(client, { dag_run: `id > ${runs[0]?.id ?? 0}` });
  const ctx = engine();
  const { manifest, notes } = await importBackup(ctx, {
    from,
    format: 'glue',
    compression: { codec: 'gzip', level: 1 },
    fernetKeys: [FIXTURE_FERNET_KEY],
  });
  expect(manifest.source.airflow).toBe('2.8');
  const target = await createDatabase({ from: 'fresh' });
  await restoreInto(ctx, target, { unreadable: 'keep' });
  const there = await target.client();

  const content = async (db: pg.Client, sql: string): Promise<readonly string[]> =>
    (await db.query<{ row: string }>(sql)).rows.map(({ row }) => row).sort();
  const kept = `(dag_id, run_id) IN (SELECT dag_id, run_id FROM dag_run WHERE id > ${runs[0]?.id ?? 0})`;
  const columns = (state: string, pid: string): string =>
    `dag_id, task_id, run_id, map_index, start_date, duration, ${state}, try_number, ${pid}, executor_config, next_kwargs::text, nullif(queue, '')`;
  // Unfinished tasks go on in the target, where no process has them (--in-flight resume).
  const goesOn = "CASE state WHEN 'queued' THEN 'scheduled' WHEN 'running' THEN NULL ELSE state END";
  const noProcess =
    "CASE WHEN state IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed') THEN pid END";
  for (const db of [client, there]) await db.query("SET timezone = 'UTC'");
  expect(await content(there, `SELECT (${columns('state', 'pid')})::text AS row FROM task_instance`)).toEqual(
    await content(
      client,
      `SELECT (${columns(goesOn, noProcess)})::text AS row FROM task_instance WHERE ${kept}`,
    ),
  );
  const xcom = `SELECT (dag_run_id, task_id, map_index, key, value, timestamp)::text AS row FROM xcom`;
  expect(await content(there, xcom)).toEqual(await content(client, `${xcom} WHERE ${kept}`));
  const run = `SELECT (id, dag_id, run_id, conf, state, execution_date, clear_number)::text AS row FROM dag_run`;
  expect(await content(there, run)).toEqual(await content(client, `${run} WHERE id > ${runs[0]?.id ?? 0}`));
  const lost = notes.find(({ table, kind }) => table === 'task_instance' && kind === 'lost');
  const { rowCount } = await client.query(`SELECT FROM task_instance WHERE NOT ${kept}`);
  expect(rowCount).toBeGreaterThan(0);
  expect(lost?.rows).toBe(rowCount);
});

test('an export with a row too few, of another version, or of Airflow 3 is refused', async () => {
  const client = await (await createDatabase()).client();
  const request = { format: 'glue', compression: { codec: 'gzip', level: 1 }, fernetKeys: [] } as const;
  const short = await glueExport(client, {});
  const meta = { ...JSON.parse(await text(short, 'log_meta.json')), row_count: 1 } as object;
  await short.write('log_meta.json', Buffer.from(JSON.stringify(meta)));
  const whole = await glueExport(client, {});
  const three = createMemoryStorage();
  await three.write(
    'dag_version_meta.json',
    Buffer.from('{"table": "dag_version", "columns": ["id"], "row_count": 1}'),
  );
  const failures = [
    await failureOf(importBackup(engine(), { ...request, from: short, fernetKeys: [FIXTURE_FERNET_KEY] })),
    await failureOf(importBackup(engine(), { ...request, from: whole, airflowVersion: '2.9' })),
    await failureOf(importBackup(engine(), { ...request, from: three })),
  ];
  expect(failures.map(({ kind }) => kind)).toEqual(['integrity', 'usage', 'unsupported']);
  expect(failures[0]?.message).toContain('log.csv.gz');
  expect(failures[1]?.message).toContain('Airflow 2.8, not of 2.9');
});

async function text(storage: Storage, key: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await storage.read(key)) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString();
}
