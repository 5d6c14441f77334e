import type pg from 'pg';
import { quote } from './compare.ts';

export type Value = string | number | boolean | Buffer | null;
export type Row = Readonly<Record<string, Value>>;

interface Column {
  readonly name: string;
  readonly type: string;
  /** Longest text it takes; null: any. */
  readonly length: number | null;
  readonly required: boolean;
}

/**
 * Inserts rows into a table of whatever Airflow version: columns that it does not have are left out, texts are cut to
 * their column, required columns that no row names get something neutral. Returns the new ids (empty for a table
 * without), undefined when the version has no such table.
 */
export async function insertRows(
  client: pg.ClientBase,
  table: string,
  rows: readonly Row[],
): Promise<readonly number[] | undefined> {
  const columns = await columnsOf(client, table);
  if (columns.length === 0) return undefined;
  const ids: number[] = [];
  for (const row of rows) {
    const id = await insertRow(client, table, columns, row);
    if (id !== null) ids.push(id);
  }
  return ids;
}

async function columnsOf(client: pg.ClientBase, table: string): Promise<readonly Column[]> {
  const { rows } = await client.query<Column>(
    `SELECT column_name AS name, data_type AS type, character_maximum_length AS length,
       is_nullable = 'NO' AND column_default IS NULL AS required
     FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position`,
    [table],
  );
  return rows;
}

async function insertRow(
  client: pg.ClientBase,
  table: string,
  columns: readonly Column[],
  row: Row,
): Promise<number | null> {
  const chosen = columns.filter((column) => column.name in row || column.required);
  const values = chosen.map((column) =>
    fit(column, column.name in row ? (row[column.name] ?? null) : filler(column.type)),
  );
  const names = chosen.map((column) => quote(column.name)).join(', ');
  const places = chosen.map((_, at) => `$${at + 1}`).join(', ');
  const id = columns.some((column) => column.name === 'id') ? 'RETURNING id' : '';
  const sql = `INSERT INTO public.${quote(table)} (${names}) VALUES (${places}) ${id}`;
  const result = await client.query<{ id: number }>(sql, values).catch((error: unknown) => {
    throw new Error(`A hurtful row does not fit into ${table}: ${String(error)}`, { cause: error });
  });
  return result.rows[0]?.id ?? null;
}

function fit(column: Column, value: Value): Value {
  if (typeof value !== 'string' || column.length === null) return value;
  // By code points, as PostgreSQL counts: half an emoji would not be a character.
  return Array.from(value.slice(0, column.length * 2))
    .slice(0, column.length)
    .join('');
}

function filler(type: string): Value {
  if (type === 'boolean') return false;
  if (type === 'integer') return 0;
  if (type.startsWith('timestamp')) return 'epoch';
  if (type.startsWith('json')) return '{}';
  return '';
}
