import {
  restTables,
  UNREADABLE_COLUMN,
  type RestColumn,
  type RestTable,
} from '../../versions/rest-tables.ts';
import { LifeboatError } from '../../errors.ts';
import type { Row } from '../import/foreign.ts';
import type { Gaps } from './gaps.ts';
import type { RestSecrets } from './secrets.ts';
import type { StoredColumn } from './table-writer.ts';
import { copyValue, fieldOf, isMasked } from './values.ts';

/** A secret, and the column that says whether it is stored as a Fernet token; as in the database. */
export const SECRET_FLAGS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  variable: { val: 'is_encrypted' },
  connection: { password: 'is_encrypted', extra: 'is_extra_encrypted' },
};

/** Of a record whose secrets were asked for and did not come: LostFields. No field of the API is called so. */
export const LOST_FIELD = 'lifeboat_lost';

export interface LostFields {
  readonly columns: readonly string[];
  readonly reason: string;
}

export interface PlannedTable {
  readonly table: RestTable;
  readonly columns: readonly StoredColumn[];
  /** A record of the API as a row; what it does not give goes to the gaps. */
  row(record: Readonly<Record<string, unknown>>): Row;
}

/** @throws LifeboatError 'usage' for names that this Airflow's API has no table for */
export function chooseTables(
  release: string,
  {
    tables,
    excludeTables = [],
  }: { readonly tables?: readonly string[]; readonly excludeTables?: readonly string[] },
): { readonly chosen: readonly RestTable[]; readonly others: readonly string[] } {
  const all = restTables(release);
  const unknown = [...(tables ?? []), ...excludeTables].filter((name) =>
    all.every((table) => table.name !== name),
  );
  if (unknown.length > 0) {
    throw new LifeboatError('usage', `The API of Airflow ${release} has no table ${unknown.join(', ')}.`, {
      next: `Choose from ${all.map(({ name }) => name).join(', ')}.`,
    });
  }
  const chosen = all.filter(
    ({ name }) => (tables === undefined || tables.includes(name)) && !excludeTables.includes(name),
  );
  return { chosen, others: all.filter((table) => !chosen.includes(table)).map(({ name }) => name) };
}

export function planTable(
  table: RestTable,
  secrets: Pick<RestSecrets, 'omit' | 'encrypt' | 'given'>,
  gaps: Gaps,
): PlannedTable {
  const flags = SECRET_FLAGS[table.name];
  const { given } = secrets;
  const shown = table.columns.filter(({ name }) => flags?.[name] === undefined || !secrets.omit);
  const never = flags === undefined ? [] : Object.keys(flags).filter((name) => !hasColumn(shown, name));
  // What the API has no field for can still be handed over.
  const stored = given === undefined ? shown : [...shown, ...never.map(neverShown)];
  const flagNames = stored.flatMap(({ name }) => flags?.[name] ?? []);
  const handed = (column: string, field: string, row: string): string | null | undefined => {
    const value = given?.valueOf(table.name, row, column);
    // Where the API shows that there is one, "none" is no answer.
    return value === null && field !== NO_FIELD ? undefined : value;
  };
  return {
    table,
    columns: [
      ...stored.map(({ name, type }) => ({ name, type })),
      ...flagNames.map((name) => ({ name, type: 'boolean' })),
      ...(flags === undefined ? [] : [{ name: UNREADABLE_COLUMN, type: 'text' }]),
    ],
    row(record) {
      const row: Row = Object.fromEntries(flagNames.map((name) => [name, 'f']));
      const masked: string[] = [];
      const unread: string[] = [];
      const lost = record[LOST_FIELD] as LostFields | undefined;
      for (const { name, type, field, masked: mayBeMasked, filled, upperCase } of stored) {
        const value = fieldOf(record, field);
        const isLost = lost?.columns.includes(name) === true;
        const isUnread = filled && value === null;
        const isHidden = field === NO_FIELD || isLost || isUnread || (mayBeMasked && isMasked(value));
        const found = isHidden ? handed(name, field, rowName(table, row)) : copyValue(type, value);
        if (found === undefined) masked.push(name);
        if (isUnread) unread.push(name);
        const text = (upperCase ? found?.toUpperCase() : found) ?? null;
        const flag = flags?.[name];
        const token = text === null || flag === undefined ? undefined : secrets.encrypt?.(text);
        row[name] = token ?? text;
        if (flag !== undefined && token !== undefined) row[flag] = 't';
      }
      const reason = given === undefined || flags === undefined ? MASKED : NOT_HANDED;
      for (const column of masked) {
        const isLost = lost?.columns.includes(column) === true;
        const why = isLost ? lost.reason : unread.includes(column) ? UNREAD : reason;
        gaps.value(table.name, column, rowName(table, row), why);
      }
      if (flags !== undefined) {
        row[UNREADABLE_COLUMN] = [...(given === undefined ? never : []), ...masked].join(',') || null;
      }
      return row;
    },
  };
}

const MASKED = 'Airflow masks it in its API (***)';
/** Of 3.0 to 3.2 the whole page fails. */
const UNREAD = 'the API gives null: the server could not read it (another Fernet key), or it has none';
const NOT_HANDED = 'Airflow does not show it in its API, and --secrets-from has no value for it';

/** Of a column that the API has no field for. */
const NO_FIELD = '';

function neverShown(name: string): RestColumn {
  return { name, type: 'text', field: NO_FIELD, masked: true, filled: false, upperCase: false };
}

function hasColumn(columns: readonly StoredColumn[], name: string): boolean {
  return columns.some((column) => column.name === name);
}

function rowName({ key }: RestTable, row: Row): string {
  return key.map((column) => row[column] ?? '').join('/');
}
