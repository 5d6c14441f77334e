import { restTables, type RestTable } from '../../versions/rest-tables.ts';
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

/** Names of the columns whose value Airflow did not give, with commas: such a row is not the whole one. */
export const UNREADABLE = 'unreadable';

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

export function planTable(table: RestTable, secrets: RestSecrets, gaps: Gaps): PlannedTable {
  const flags = SECRET_FLAGS[table.name];
  const stored = table.columns.filter(({ name }) => flags?.[name] === undefined || !secrets.omit);
  const flagNames = stored.flatMap(({ name }) => flags?.[name] ?? []);
  const columns = [
    ...stored.map(({ name, type }) => ({ name, type })),
    ...[...new Set(flagNames)].map((name) => ({ name, type: 'boolean' })),
    ...(flags === undefined ? [] : [{ name: UNREADABLE, type: 'text' }]),
  ];
  return {
    table,
    columns,
    row(record) {
      const row: Row = {};
      const missing: string[] = [];
      for (const { name, type, field, masked } of stored) {
        const value = fieldOf(record, field);
        const flag = flags?.[name];
        if (masked && isMasked(value)) {
          missing.push(name);
          row[name] = null;
        } else {
          const text = copyValue(type, value);
          const hidden = text !== null && flag !== undefined && secrets.encrypt !== undefined;
          row[name] = hidden ? (secrets.encrypt?.(text) ?? null) : text;
          if (flag !== undefined) row[flag] = hidden ? 't' : (row[flag] ?? 'f');
        }
      }
      for (const { columns: names = [] } of table.notGiven)
        missing.push(...names.filter((name) => flags?.[name]));
      if (flags === undefined) return row;
      for (const flag of flagNames) row[flag] ??= 'f';
      row[UNREADABLE] = missing.length === 0 ? null : missing.join(',');
      const named = row[table.key[0] ?? ''] ?? '(no name)';
      for (const column of missing.filter((name) => table.columns.some((known) => known.name === name))) {
        gaps.value(table.name, column, named, 'Airflow masks it in its API (***)');
      }
      return row;
    },
  };
}
