import type { LeftOut } from '../plans.ts';

/** What a backup through the API does not hold, by table, column and reason; every row is named. */
export interface Gaps {
  /** A whole table, or columns that no row has. */
  whole(table: string, reason: string, columns?: readonly string[]): void;
  /** One value of one row. */
  value(table: string, column: string, row: string, reason: string): void;
  /** A row that is not there at all. */
  row(table: string, row: string, reason: string): void;
  list(): readonly LeftOut[];
}

/** Of one entry of the manifest; the next hundred go into the next. */
const NAMES = 100;

export function createGaps(): Gaps {
  const whole: LeftOut[] = [];
  const named = new Map<
    string,
    { table: string; columns?: readonly string[]; reason: string; names: Set<string> }
  >();
  const add = (entry: Omit<LeftOut, 'rows' | 'names'>, name: string): void => {
    const key = JSON.stringify(entry);
    const found = named.get(key) ?? { ...entry, names: new Set<string>() };
    found.names.add(name);
    named.set(key, found);
  };
  return {
    whole: (table, reason, columns) => {
      whole.push({ table, ...(columns === undefined ? {} : { columns }), reason });
    },
    value: (table, column, row, reason) => {
      add({ table, columns: [column], reason }, row);
    },
    row: (table, row, reason) => {
      add({ table, reason }, row);
    },
    list: () => [
      ...[...named.values()].flatMap(({ names, ...entry }) =>
        chunks([...names]).map((some) => ({ ...entry, rows: some.length, names: some })),
      ),
      ...whole,
    ],
  };
}

function chunks(names: readonly string[]): readonly (readonly string[])[] {
  return Array.from({ length: Math.ceil(names.length / NAMES) }, (_, at) =>
    names.slice(at * NAMES, (at + 1) * NAMES),
  );
}
