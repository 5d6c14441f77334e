import { createKeySet } from '../import/key-set.ts';
import type { LeftOut } from '../plans.ts';

/** What a backup through the API does not hold, by table, column and reason, with the names of the rows. */
export interface Gaps {
  /** A whole table, or columns that no row has. */
  whole(table: string, reason: string, columns?: readonly string[]): void;
  /** One value of one row. */
  value(table: string, column: string, row: string, reason: string): void;
  /** Rows of which only the number is known. */
  rows(table: string, rows: number, reason: string): void;
  /** A row that is not there at all. */
  row(table: string, row: string, reason: string): void;
  list(): readonly LeftOut[];
}

/** Of one entry of the manifest; the next hundred go into the next. */
const NAMES = 100;
/**
 * Of tables that grow with the runs: what of ten thousand runs has no path short enough would be a manifest of megabytes.
 * The others are counted.
 */
const MOST_NAMES = 1_000;
const GROWING: readonly string[] = ['dag_run', 'task_instance', 'task_instance_history', 'xcom', 'log'];

interface Named {
  readonly entry: Omit<LeftOut, 'rows' | 'names'>;
  readonly names: string[];
  /** Those that have no place among the names any more. */
  unnamed: number;
}

export function createGaps(): Gaps {
  const whole: LeftOut[] = [];
  const found = new Map<string, Named>();
  // Runs are read again, and then the same is told again.
  const seen = createKeySet();
  const add = (entry: Named['entry'], name: string): void => {
    const key = JSON.stringify(entry);
    if (seen.has(key, name)) return;
    seen.add(key, name);
    const named = found.get(key) ?? { entry, names: [], unnamed: 0 };
    found.set(key, named);
    if (named.names.length < MOST_NAMES || !GROWING.includes(entry.table)) named.names.push(name);
    else named.unnamed += 1;
  };
  return {
    whole: (table, reason, columns) => {
      whole.push({ table, ...(columns === undefined ? {} : { columns }), reason });
    },
    rows: (table, rows, reason) => {
      whole.push({ table, rows, reason });
    },
    value: (table, column, row, reason) => {
      add({ table, columns: [column], reason }, row);
    },
    row: (table, row, reason) => {
      add({ table, reason }, row);
    },
    list: () => [
      ...[...found.values()].flatMap(({ entry, names, unnamed }) => [
        ...chunks(names).map((some) => ({ ...entry, rows: some.length, names: some })),
        ...(unnamed === 0 ? [] : [{ ...entry, rows: unnamed }]),
      ]),
      ...whole,
    ],
  };
}

function chunks(names: readonly string[]): readonly (readonly string[])[] {
  return Array.from({ length: Math.ceil(names.length / NAMES) }, (_, at) =>
    names.slice(at * NAMES, (at + 1) * NAMES),
  );
}
