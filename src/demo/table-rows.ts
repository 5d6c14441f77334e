import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import { pinnedSettings, readServer } from '../db/settings.ts';

/** Every value as text; null for NULL. */
type Row = readonly (string | null)[];

export interface TableRows {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
}

/** Columns in which a restore changes rows, and why. */
export interface Intended {
  readonly table: string;
  readonly columns: readonly string[];
  readonly why: string;
}

export interface RowComparison {
  /** Rows with the same bytes in every column. */
  readonly identical: number;
  /** Rows that differ in the intended columns only. */
  readonly changed: readonly { readonly table: string; readonly rows: number; readonly why: string }[];
  /** Tables with any other difference. */
  readonly different: readonly string[];
}

/** Reads whole tables in one snapshot: for the few thousand rows of a demo, not for a database of unknown size. */
export async function readTableRows(
  client: Client,
  tables: readonly { readonly name: string; readonly columns: readonly string[] }[],
): Promise<readonly TableRows[]> {
  const settings = pinnedSettings(await readServer(client));
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    await client.query(settings.join('; '));
    const result: TableRows[] = [];
    for (const { name, columns } of tables) result.push(await readRows(client, name, columns));
    return result;
  } finally {
    await client.query('ROLLBACK');
  }
}

async function readRows(client: Client, table: string, columns: readonly string[]): Promise<TableRows> {
  const list = columns.map((column) => `${quoteIdent(column)}::text`).join(', ');
  const text = `SELECT ${list} FROM ${quoteTable('public', table)}`;
  const { rows } = await client.query<(string | null)[]>({ text, rowMode: 'array' });
  return { table, columns, rows };
}

/** Compares the same tables of two databases, without regard to the order of rows. */
export function compareRows(
  before: readonly TableRows[],
  after: readonly TableRows[],
  intended: readonly Intended[],
): RowComparison {
  let identical = 0;
  const changed: { table: string; rows: number; why: string }[] = [];
  const different: string[] = [];
  for (const left of before) {
    const right = after.find((one) => one.table === left.table);
    const exception = intended.find((one) => one.table === left.table);
    const same = countCommon(left, right, []);
    identical += same;
    if (right?.rows.length === left.rows.length && same === left.rows.length) continue;
    const besides = countCommon(left, right, exception?.columns ?? []);
    if (right?.rows.length !== left.rows.length || besides !== left.rows.length) different.push(left.table);
    else changed.push({ table: left.table, rows: left.rows.length - same, why: exception?.why ?? '' });
  }
  return { identical, changed, different };
}

/** Rows that both sides have, each as often as both have it, looking at all columns but `ignored`. */
function countCommon(left: TableRows, right: TableRows | undefined, ignored: readonly string[]): number {
  const texts = ({ columns, rows }: TableRows): readonly string[] =>
    rows.map((row) => JSON.stringify(row.filter((_, at) => !ignored.includes(columns[at] ?? ''))));
  const remaining = new Map<string, number>();
  for (const text of texts(left)) remaining.set(text, (remaining.get(text) ?? 0) + 1);
  let common = 0;
  for (const text of right === undefined ? [] : texts(right)) {
    const times = remaining.get(text) ?? 0;
    if (times > 0) common += 1;
    remaining.set(text, times - 1);
  }
  return common;
}
