/** A row as airflow-lab prints it: typed values, references replaced by the natural key of the row they point to. */
export type Row = Readonly<Record<string, unknown>>;

/** The sections of `airflow-lab dump --section semantic` that a restore must bring back. */
export interface Dump {
  readonly airflow_version: string;
  /** Columns that the ORM could not read. */
  readonly errors: readonly string[];
  readonly row_counts: Readonly<Record<string, number>>;
  readonly semantic: Readonly<Record<string, readonly Row[]>>;
  readonly hooks: Readonly<Record<string, unknown>>;
}

/** Text that is equal for equal values, whatever the order of their keys. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner === null || typeof inner !== 'object' || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** The same dump with the rows of every table in one order, which airflow-lab's diff counts as part of the table. */
export function inOrder(dump: Dump): Dump {
  const semantic = Object.entries(dump.semantic).map(([table, rows]) => {
    const keyed = rows.map((row) => [canonical(row), row] as const);
    return [table, keyed.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)] as const;
  });
  return { ...dump, semantic: Object.fromEntries(semantic) };
}
