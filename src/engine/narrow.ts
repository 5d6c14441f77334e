import { pipeline } from 'node:stream/promises';
import { parse } from 'csv-parse';
import { LifeboatError } from '../errors.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { EngineContext } from './api.ts';
import { decompressor } from './codec.ts';
import { characterLimit } from './drift.ts';
import { storedTable } from './manifest.ts';
import type { Manifest, ManifestTable } from './manifest.ts';
import type { TargetState } from './target-state.ts';

export interface NarrowColumn {
  readonly table: string;
  readonly column: string;
  /** Characters that the target's column holds. */
  readonly limit: number;
}

/** Columns that hold fewer characters in the target than they could in the source. Pure. */
export function narrowColumns(
  manifest: Manifest,
  state: TargetState,
  tables: readonly ResolvedTable[],
): readonly NarrowColumn[] {
  return tables
    .filter((table) => table.restore.kind !== 'lookup')
    .flatMap((table) => {
      const stored = storedTable(manifest, table.name);
      const live = state.live.tables.get(table.name);
      return (stored?.columns ?? []).flatMap((column): NarrowColumn[] => {
        const limit = characterLimit(live?.columns.get(column)?.type ?? '');
        return limit < characterLimit(stored?.types[column] ?? '')
          ? [{ table: table.name, column, limit }]
          : [];
      });
    });
}

/**
 * Reads the values of narrower columns and refuses those that would not fit, before anything is deleted. Only the parts
 * of these tables are read; a column that is narrower but long enough stops nothing.
 *
 * @throws LifeboatError 'unsupported' that names the columns and the longest value of each.
 */
export async function refuseTooNarrow(
  ctx: EngineContext,
  manifest: Manifest,
  columns: readonly NarrowColumn[],
): Promise<void> {
  const tooLong: string[] = [];
  for (const name of new Set(columns.map((column) => column.table))) {
    const stored = storedTable(manifest, name);
    if (!stored) continue;
    const own = columns.filter((column) => column.table === name);
    const longest = await longestValues(
      ctx,
      stored,
      own.map((column) => stored.columns.indexOf(column.column)),
    );
    own.forEach((column, index) => {
      const found = longest[index] ?? 0;
      if (found > column.limit) {
        tooLong.push(`${name}.${column.column} holds ${column.limit} characters, the backup has ${found}`);
      }
    });
  }
  if (tooLong.length === 0) return;
  throw new LifeboatError('unsupported', `Columns of the target are too narrow: ${tooLong.join('; ')}.`, {
    next: 'Widen them (ALTER TABLE … ALTER COLUMN … TYPE varchar(n)), as they were widened in the source.',
    details: { columns: tooLong },
  });
}

/** Longest value of each of the given fields, in characters as PostgreSQL counts them. */
async function longestValues(
  ctx: EngineContext,
  stored: ManifestTable,
  fields: readonly number[],
): Promise<readonly number[]> {
  const longest = fields.map(() => 0);
  for (const part of stored.parts) {
    const body = await ctx.storage.read(part.key, { signal: ctx.signal });
    const rows = parse({ record_delimiter: '\n' });
    await pipeline(body, decompressor(part.key), rows, async (records: AsyncIterable<string[]>) => {
      for await (const record of records) {
        fields.forEach((field, index) => {
          longest[index] = Math.max(longest[index] ?? 0, codePoints(record[field] ?? ''));
        });
      }
    });
  }
  return longest;
}

/** varchar(n) counts code points; a string's length counts a character outside the basic plane twice. */
function codePoints(text: string): number {
  return text.length - (text.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)?.length ?? 0);
}
