import { createHash } from 'node:crypto';
import type pg from 'pg';

/** A row as text, null for NULL, in the order of `columns`. */
export type TextRow = readonly (string | null)[];

export interface TableSnapshot {
  /** Sorted by name: upgraded databases have them in another order. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Names of the primary key's columns. */
  readonly key: readonly string[];
  /** Sorted, so that equal contents are equal arrays. */
  readonly rows: readonly TextRow[];
  readonly sha256: string;
}

/** Table name → content. */
export type DatabaseSnapshot = ReadonlyMap<string, TableSnapshot>;

export interface SnapshotOptions {
  /** Default: public. */
  readonly schema?: string;
  readonly exclude?: readonly string[];
}

/** The text of every value depends on these; pinned, equal texts are equal values, to the last bit of a float. */
const PIN = `
  SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; SET LOCAL intervalstyle = 'postgres';
  SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL client_encoding = 'UTF8';
  SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 0`;

/** Runs `work` in one read-only snapshot with the settings above. `client` must not be in a transaction. */
export async function inPinnedSnapshot<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${PIN}`);
  try {
    return await work();
  } finally {
    await client.query('ROLLBACK');
  }
}

/** The whole content of a schema, exactly. */
export async function snapshotTables(
  client: pg.ClientBase,
  options: SnapshotOptions = {},
): Promise<DatabaseSnapshot> {
  const { schema = 'public', exclude = [] } = options;
  return inPinnedSnapshot(client, async () => {
    const { rows: tables } = await client.query<{ relname: string }>(
      `SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = $1::text::regnamespace
       AND relname <> ALL ($2) ORDER BY relname COLLATE "C"`,
      [quote(schema), exclude],
    );
    const result = new Map<string, TableSnapshot>();
    for (const { relname } of tables) result.set(relname, await snapshotTable(client, schema, relname));
    return result;
  });
}

async function snapshotTable(client: pg.ClientBase, schema: string, table: string): Promise<TableSnapshot> {
  const name = `${quote(schema)}.${quote(table)}`;
  const { rows: columns } = await client.query<{ name: string; type: string; key: boolean }>(
    `SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       coalesce(a.attnum = ANY (i.indkey), false) AS key
     FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
     WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname COLLATE "C"`,
    [name],
  );
  const list = columns.map((column) => `${quote(column.name)}::text`).join(', ');
  const { rows } = await client.query<(string | null)[]>({
    text: `SELECT ${list} FROM ${name}`,
    rowMode: 'array',
  });
  const sorted = rows
    .map((row) => ({ row, text: JSON.stringify(row) }))
    .sort((a, b) => (a.text < b.text ? -1 : 1));
  return {
    columns: columns.map((column) => ({ name: column.name, type: column.type })),
    key: columns.filter((column) => column.key).map((column) => column.name),
    rows: sorted.map(({ row }) => row),
    sha256: createHash('sha256')
      .update(JSON.stringify(columns))
      .update(sorted.map(({ text }) => text).join('\n'))
      .digest('hex'),
  };
}

const MOST_LINES = 8;
/** Characters of a value in a message. */
const SHOWN = 80;

/** What differs, for people; empty when both are equal. Rows are matched by primary key. */
export function diffSnapshots(before: DatabaseSnapshot, after: DatabaseSnapshot): readonly string[] {
  const lines: string[] = [];
  for (const table of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const [a, b] = [before.get(table), after.get(table)];
    if (a === undefined) lines.push(`${table}: only after`);
    else if (b === undefined) lines.push(`${table}: only before`);
    else if (a.sha256 !== b.sha256) lines.push(...diffTable(table, a, b));
  }
  return lines;
}

function diffTable(table: string, a: TableSnapshot, b: TableSnapshot): readonly string[] {
  const shape = (snapshot: TableSnapshot): string =>
    snapshot.columns.map((column) => `${column.name} ${column.type}`).join(', ');
  if (shape(a) !== shape(b)) return [`${table}: columns (${shape(a)}) became (${shape(b)})`];
  const [rowsA, rowsB] = [byKey(a), byKey(b)];
  const lines: string[] = [];
  for (const [key, row] of rowsA) {
    const other = rowsB.get(key);
    if (other === undefined) lines.push(`${table} ${cut(key)}: only before: ${show(row)}`);
    else lines.push(...diffRow(`${table} ${cut(key)}`, a, row, other));
  }
  for (const [key, row] of rowsB) {
    if (!rowsA.has(key)) lines.push(`${table} ${cut(key)}: only after: ${show(row)}`);
  }
  if (lines.length <= MOST_LINES) return lines;
  return [...lines.slice(0, MOST_LINES), `${table}: and ${lines.length - MOST_LINES} more differences`];
}

/** Rows by their key as text; a table without one by the whole row. A repetition gets a number. */
function byKey(snapshot: TableSnapshot): ReadonlyMap<string, TextRow> {
  const positions = snapshot.key.map((name) => snapshot.columns.findIndex((column) => column.name === name));
  const rows = new Map<string, TextRow>();
  for (const row of snapshot.rows) {
    const base = JSON.stringify(positions.length > 0 ? positions.map((at) => row[at]) : row);
    let key = base;
    for (let copy = 2; rows.has(key); copy += 1) key = `${base} #${copy}`;
    rows.set(key, row);
  }
  return rows;
}

function diffRow(where: string, table: TableSnapshot, a: TextRow, b: TextRow): readonly string[] {
  return table.columns.flatMap((column, at) => {
    const [left, right] = [a[at] ?? null, b[at] ?? null];
    if (left === right) return [];
    // Where two long texts part, not how both begin.
    const isLong = left !== null && right !== null && Math.max(left.length, right.length) > SHOWN;
    const from = isLong ? Math.max(0, firstDifference(left, right) - 10) : 0;
    return [`${where}: ${column.name} was ${shorten(left, from)}, is ${shorten(right, from)}`];
  });
}

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return at;
}

function show(row: TextRow): string {
  return cut(row.map((value) => shorten(value)).join(', '), 200);
}

function shorten(value: string | null, from = 0): string {
  if (value === null) return 'NULL';
  const text = JSON.stringify(value.slice(from, from + SHOWN));
  return value.length > from + SHOWN ? `${text}… (${value.length} characters)` : text;
}

function cut(text: string, length = 100): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

export function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
