import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import { to as copyTo } from 'pg-copy-streams';
import type { Manifest, ManifestTable } from '../../src/engine/manifest.ts';
import { parseExact, sortMembers, stringifyExact } from '../../src/rest/exact-json.ts';
import { fernetDecrypt } from '../../src/secrets/fernet.ts';
import { withClient } from './environment.ts';
import type { LabHome } from './lab.ts';

type Values = readonly (string | null)[];

const SECRETS = ['val', 'password', 'extra'];

export interface Difference {
  readonly table: string;
  readonly only: 'database' | 'backup';
  /** As JSON. */
  readonly row: string;
}

/**
 * Rows of a backup through the API that its database has not, and the other way round: of every stored table, in the
 * columns that both have. Secrets are compared in clear, JSON as what it means; a value that the row or the manifest says
 * is lacking counts as equal.
 */
export async function differences(
  at: LabHome,
  storage: string,
  manifest: Manifest,
  fernetKeys: readonly string[],
): Promise<readonly Difference[]> {
  const found: Difference[] = [];
  for (const stored of manifest.tables) {
    const types = await columnsOf(at, stored.name);
    const shared = stored.columns.filter((column) => types.has(column) && !column.startsWith('is_e'));
    const rows = (await storedRows(storage, stored)).map((row) => pick(stored.columns, shared, row));
    const lacking = await lackingOf(storage, stored, manifest);
    const there = await databaseRows(at, stored.name, shared);
    const text = (row: Values, lacks: string | null): string =>
      JSON.stringify(
        row.map((value, index) => {
          const column = shared[index] ?? '';
          return lacks?.split(',').includes(column) === true
            ? '(lacking)'
            : meaning(value, { column, type: types.get(column) ?? '', fernetKeys });
        }),
      );
    const left = new Map<string, number>();
    const lacks = new Map(rows.map((row, index) => [nameOf(shared, row), lacking[index] ?? null]));
    for (const row of there) count(left, text(row, lacks.get(nameOf(shared, row)) ?? null), 1);
    rows.forEach((row, index) => {
      count(left, text(row, lacking[index] ?? null), -1);
    });
    for (const [row, rest] of left) {
      if (rest === 0) continue;
      found.push({ table: stored.name, only: rest > 0 ? 'database' : 'backup', row });
    }
  }
  return found;
}

/** Of tables with rows that may lack something: what names a row. */
const NAMES = ['id', 'key', 'conn_id', 'dag_id', 'task_id', 'run_id', 'map_index'];

function nameOf(columns: readonly string[], row: Values): string {
  return JSON.stringify(NAMES.map((name) => row[columns.indexOf(name)]));
}

function count(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

function pick(columns: readonly string[], wanted: readonly string[], row: Values): Values {
  return wanted.map((name) => row[columns.indexOf(name)] ?? null);
}

function meaning(
  value: string | null,
  { column, type, fernetKeys }: { column: string; type: string; fernetKeys: readonly string[] },
): string | null {
  if (value === null) return null;
  const clear = SECRETS.includes(column) ? (fernetDecrypt(fernetKeys, value)?.toString() ?? value) : value;
  if (!type.startsWith('json') && !SECRETS.includes(column)) return clear;
  try {
    return stringifyExact(sortMembers(parseExact(clear)));
  } catch {
    return clear;
  }
}

async function storedRows(storage: string, stored: ManifestTable): Promise<readonly Values[]> {
  const rows: Values[] = [];
  for (const { key } of stored.parts) {
    await pipeline(createReadStream(join(storage, key)), createGunzip(), csv(), async (parsed) => {
      for await (const row of parsed as AsyncIterable<Values>) rows.push(row);
    });
  }
  return rows;
}

/** Row by row: the columns that it lacks, as the row says, or the manifest of a table whose rows are named by their id. */
async function lackingOf(
  storage: string,
  stored: ManifestTable,
  { leftOut }: Manifest,
): Promise<readonly (string | null)[]> {
  const index = stored.columns.indexOf('unreadable');
  const id = stored.columns.indexOf('id');
  const named = leftOut.filter(({ table, columns }) => table === stored.name && columns !== undefined);
  return (await storedRows(storage, stored)).map((row) => {
    if (index >= 0) return row[index] ?? null;
    const gaps = named.filter(({ names }) => names?.includes(row[id] ?? '') ?? false);
    return gaps.length === 0 ? null : gaps.flatMap(({ columns }) => columns ?? []).join();
  });
}

async function columnsOf({ database }: LabHome, table: string): Promise<ReadonlyMap<string, string>> {
  return withClient(database, async (client) => {
    const { rows } = await client.query<{ name: string; type: string }>(
      'SELECT column_name AS name, data_type AS type FROM information_schema.columns WHERE table_name = $1',
      [table],
    );
    return new Map(rows.map(({ name, type }) => [name, type]));
  });
}

async function databaseRows(
  { database }: LabHome,
  table: string,
  columns: readonly string[],
): Promise<readonly Values[]> {
  return withClient(database, async (client) => {
    await client.query(`SET timezone = 'UTC'`);
    const list = columns.map((name) => `"${name}"`).join(', ');
    const rows: Values[] = [];
    // Of the log the API gives what is of no DAG, or of one that there is.
    const where = table === 'log' ? ' WHERE dag_id IS NULL OR dag_id IN (SELECT dag_id FROM dag)' : '';
    const copy = client.query(copyTo(`COPY (SELECT ${list} FROM "${table}"${where}) TO STDOUT (FORMAT csv)`));
    await pipeline(copy, csv(), async (parsed) => {
      for await (const row of parsed as AsyncIterable<Values>) rows.push(row);
    });
    return rows;
  });
}

/** An empty field without quotes is NULL. */
function csv(): ReturnType<typeof parse> {
  return parse({
    record_delimiter: '\n',
    cast: (value, { quoting }) => (value === '' && !quoting ? null : value),
  });
}
