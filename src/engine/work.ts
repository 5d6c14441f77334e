import type { LiveTable } from '../db/introspect.ts';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';

/** Size of a part before compression. Larger ones hold memory no longer, but a failure or a retry costs more. */
const PART_BYTES = 64 * 1024 * 1024;
/** A table below this is one part: cutting it would save nothing. */
const SPLIT_BYTES = 96 * 1024 * 1024;
/** PostgreSQL 14 reads a range of ctid without scanning the table; before, each part would read all of it. */
const TID_RANGE_SCAN = 140000;

export interface CopyItem {
  readonly table: ResolvedTable;
  /** From 1. */
  readonly part: number;
  readonly sql: string;
  readonly estimatedBytes: number;
}

/** The COPY commands that read one table, in order of the heap. */
export function copyItems(
  table: ResolvedTable,
  live: LiveTable,
  schema: string,
  serverVersion: number,
): readonly CopyItem[] {
  const columns = table.columns.map(({ name }) => table.read?.[name] ?? quoteIdent(name)).join(', ');
  const from = `SELECT ${columns} FROM ${quoteTable(schema, table.name)}`;
  const only = table.only?.replaceAll('{schema}', quoteIdent(schema));
  const splits =
    only === undefined && serverVersion >= TID_RANGE_SCAN && live.bytes > SPLIT_BYTES
      ? Math.min(Math.ceil(live.bytes / PART_BYTES), Math.max(1, live.pages))
      : 1;
  const pagesPerPart = Math.ceil(live.pages / splits);
  return Array.from({ length: splits }, (_, index) => {
    const conditions = only === undefined ? [] : [only];
    if (splits > 1) {
      conditions.push(`ctid >= '(${index * pagesPerPart},0)'::tid`);
      // The last range has no upper bound: the file may have grown since its size was read.
      if (index < splits - 1) conditions.push(`ctid < '(${(index + 1) * pagesPerPart},0)'::tid`);
    }
    const where = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
    return {
      table,
      part: index + 1,
      sql: `COPY (${from}${where}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')`,
      estimatedBytes: live.bytes / splits,
    };
  });
}

/** Largest first, so that no connection is left with a long part at the end; ties in the order of the tables. */
export function largestFirst(items: readonly CopyItem[]): readonly CopyItem[] {
  return [...items].sort((a, b) => b.estimatedBytes - a.estimatedBytes);
}
