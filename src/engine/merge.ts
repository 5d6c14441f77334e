import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { MergeCounts } from './api.ts';
import { insertStatement } from './insert.ts';
import { insertInput, loadedColumns } from './load-context.ts';
import type { LoadContext } from './load-context.ts';
import { keptThatDiffer } from './kept-different.ts';
import type { ManifestTable } from './manifest.ts';
import type { MergeStrategy } from './plans.ts';
import { mapName, stageName } from './stage.ts';

/** What there is to do for a merged table, and what can be said of it before it is done. */
export interface PreparedMerge {
  readonly strategy: MergeStrategy;
  readonly update?: string;
  readonly insert?: string;
  readonly matched: number;
  readonly keptDifferent: readonly string[];
}

/**
 * Rows that both sides may have, matched by their natural key (the map is made). Entries that only the target has are
 * never touched.
 */
export async function mergeRows(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
  existing: 'keep' | 'replace' | 'strategy' | 'schedule',
): Promise<{ readonly rows: number; readonly merge: MergeCounts }> {
  const prepared = await prepareMerge(load, table, stored, existing);
  const run = async (sql: string | undefined): Promise<number> =>
    sql === undefined ? 0 : ((await load.client.query(sql)).rowCount ?? 0);
  return mergeResult(prepared, { replaced: await run(prepared.update), added: await run(prepared.insert) });
}

export async function prepareMerge(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
  existing: 'keep' | 'replace' | 'strategy' | 'schedule',
): Promise<PreparedMerge> {
  const strategy = strategyFor(load, table, existing);
  return {
    strategy,
    matched: await countMatched(load, table),
    keptDifferent: strategy === 'replace' ? [] : await keptThatDiffer(load, table, stored),
    ...(strategy === 'replace' ? { update: updateMatched(load, table, stored) } : {}),
    ...(strategy === 'skip' ? {} : { insert: insertUnmatched(load, table, stored) }),
  };
}

/** Pure. */
export function mergeResult(
  { strategy, matched, keptDifferent }: PreparedMerge,
  { replaced, added }: { readonly replaced: number; readonly added: number },
): { readonly rows: number; readonly merge: MergeCounts } {
  const kept = strategy === 'replace' ? 0 : matched;
  return { rows: added + replaced, merge: { added, replaced, kept, keptDifferent } };
}

function strategyFor(load: LoadContext, table: ResolvedTable, existing: string): MergeStrategy {
  // The slots of a pool are of all DAGs: a part of a backup does not change them.
  if (existing === 'replace') return load.choice ? 'append' : 'replace';
  if (existing === 'keep') return 'append';
  return table.name === 'variable' ? load.request.variables : load.request.connections;
}

async function countMatched(load: LoadContext, table: ResolvedTable): Promise<number> {
  const result = await load.client.query<{ matched: string }>(
    `SELECT pg_catalog.count(*) AS matched FROM ${mapName(table.name)} WHERE lb_matched`,
  );
  return Number(result.rows[0]?.matched ?? 0);
}

function updateMatched(load: LoadContext, table: ResolvedTable, stored: ManifestTable): string {
  const id = quoteIdent(table.serial ?? 'id');
  const changed = loadedColumns(table, stored)
    .filter((column) => column !== table.serial)
    .map(quoteIdent);
  return `UPDATE ${quoteTable(load.state.live.schema, table.name)} t
        SET ${changed.map((column) => `${column} = s.${column}`).join(', ')}
       FROM ${stageName(table.name)} s JOIN ${mapName(table.name)} own ON own.lb_old = s.${id} AND own.lb_matched
      WHERE t.${id} = own.lb_new`;
}

function insertUnmatched(load: LoadContext, table: ResolvedTable, stored: ManifestTable): string {
  return insertStatement({ ...insertInput(load, table, stored), mapOwnId: true, onlyUnmatched: true });
}
