import { TABLE_SPECS } from '../../tables/index.ts';
import type { ManifestPart, ManifestTable, SealedPart } from '../manifest.ts';

/** One secret column of a table whose secrets are sealed. Positions are among the table's columns. */
export interface SealedField {
  readonly column: string;
  readonly at: number;
  /** The column that says whether the value is a Fernet token; undefined: its own form says it. */
  readonly flagAt: number | undefined;
  /** A trigger's kwargs before 2.9 were JSON in clear, and never a token. */
  readonly json: boolean;
}

/**
 * How a value stood in the source: c in clear · e encrypted, and decrypted when it was sealed · t a token that no key of
 * the source read, sealed as it was. Stored beside each value (docs/format.md).
 */
export type SealedForm = 'c' | 'e' | 't';

/** The secrets of a table whatever its Airflow: what a trigger's kwargs hold was as secret before 2.9 as later. */
export function sealedFields(
  table: string,
  columns: readonly string[],
  typeOf: (column: string) => string,
): readonly SealedField[] {
  const spec = TABLE_SPECS.find((one) => one.name === table);
  return (spec?.secrets ?? []).flatMap(({ column, flag }) => {
    const at = columns.indexOf(column);
    if (at === -1) return [];
    const flagAt = flag === undefined ? -1 : columns.indexOf(flag);
    const json = typeOf(column).startsWith('json');
    return [{ column, at, flagAt: flagAt === -1 ? undefined : flagAt, json }];
  });
}

/** A stored table as the reader of its sealed parts yields it: the sealed columns behind the others. */
export function wholeTable(stored: ManifestTable): ManifestTable {
  const { sealed = [], ...open } = stored;
  return { ...open, columns: [...stored.columns, ...sealed] };
}

/** The stored objects of a part: itself, and its sealed secrets. */
export function objectsOf(part: ManifestPart): readonly SealedPart[] {
  return part.sealed ? [part, part.sealed] : [part];
}

/** Bytes of all stored objects of these tables. */
export function storedBytes(tables: readonly ManifestTable[]): number {
  const objects = tables.flatMap(({ parts }) => parts.flatMap(objectsOf));
  return objects.reduce((sum, { bytes }) => sum + bytes, 0);
}

export function hasSealed(stored: ManifestTable): boolean {
  return stored.sealed !== undefined && stored.rows > 0;
}
