import type { ColumnType } from '../tables/spec.ts';
import { isAtLeast, restApi, type RestListName } from './rest.ts';
import type { TableEntry } from './rest-table-entries.ts';
import { V1_TABLES } from './rest-tables-v1.ts';
import { V2_TABLES } from './rest-tables-v2.ts';

/**
 * What a backup through the API holds, named as the database names it: a table is called and has the columns of its
 * Airflow's schema, so that every command that reads a backup understands it. Where the API says something else than the
 * column of that name would hold (a value as text, a note with its run) the column has another name.
 */
export interface RestTable {
  readonly name: string;
  readonly columns: readonly RestColumn[];
  /** Columns that name a row. */
  readonly key: readonly string[];
  /** Where the key is a number: what names the row in every environment, if anything does. */
  readonly names?: readonly string[];
  /** Column → table whose id it holds. */
  readonly references: Readonly<Record<string, string>>;
  readonly read: RestRead;
  /** What the table has in the database and the API does not give. */
  readonly notGiven: readonly RestGap[];
}

/**
 * Of variables and connections: the names of secrets that the backup does not have, with commas between them. Of XComs:
 * the value. Such a row is not the whole one, and nothing that writes it anywhere may take it for one.
 */
export const UNREADABLE_COLUMN = 'unreadable';

export interface RestColumn {
  readonly name: string;
  readonly type: ColumnType;
  /** Field of the API's record; a dot leads into a record within. */
  readonly field: string;
  /** The API may mask it: `***` in it is no value. */
  readonly masked: boolean;
  /** Null is no value: the server could not read it, or (2.x) nobody has set one. */
  readonly filled: boolean;
  /** The database has the name of an enum's member where the API has its value. */
  readonly upperCase: boolean;
}

export interface RestGap {
  /** Absent: rows. */
  readonly columns?: readonly string[];
  readonly reason: string;
  /** First minor whose database has them. */
  readonly since?: string;
}

/**
 * How its rows are got.
 * - list: one list holds them all. `details`: fields that only the single record has, asked for row by row.
 * - run, task, try: of the runs, page by page. xcom: a list of names, and a request for each value.
 * - perDag, perAsset: one request for each DAG or asset.
 */
export type RestRead =
  | { readonly by: 'list'; readonly list: RestListName; readonly details?: readonly string[] }
  | { readonly by: 'run' | 'task' | 'try' | 'xcom' }
  | { readonly by: 'perDag' | 'perAsset'; readonly list: RestListName };

/** The tables of a release such as 3.0.6, in the order in which they are read. */
export function restTables(release: string): readonly RestTable[] {
  const entries = restApi(release) === 'v1' ? V1_TABLES : V2_TABLES;
  return entries
    .filter(({ since }) => since === undefined || isAtLeast(release, since))
    .map((entry) => toTable(entry, release));
}

function toTable(entry: TableEntry, release: string): RestTable {
  const { name, key, names, references = {}, read, notGiven = [] } = entry;
  const columns = entry.columns
    .filter((one) => typeof one === 'string' || isAtLeast(release, one.since))
    .map((one) => toColumn(typeof one === 'string' ? one : one.column));
  return {
    name,
    key: key.filter((column) => columns.some((one) => one.name === column)),
    ...(names === undefined ? {} : { names }),
    references,
    read,
    columns,
    notGiven: notGiven.flatMap((gap) => remaining(gap, columns, release)),
  };
}

/** Without what the database of this release does not have, and what its API gives by now. */
function remaining(gap: RestGap, given: readonly RestColumn[], release: string): readonly RestGap[] {
  if (gap.since !== undefined && !isAtLeast(release, gap.since)) return [];
  if (gap.columns === undefined) return [gap];
  const columns = gap.columns.filter((column) => given.every(({ name }) => name !== column));
  return columns.length === 0 ? [] : [{ columns, reason: gap.reason }];
}

function toColumn(text: string): RestColumn {
  const [name = '', type = '', field = name] = text.split(' ');
  return {
    name,
    type: type.replace(/[!^*]/, '') as ColumnType,
    field,
    masked: /[!*]$/.test(type),
    filled: type.endsWith('*'),
    upperCase: type.endsWith('^'),
  };
}
