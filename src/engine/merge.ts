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
  const strategy = strategyFor(load, table, existing);
  const matched = await countMatched(load, table);
  const keptDifferent = strategy === 'replace' ? [] : await keptThatDiffer(load, table, stored);
  const replaced = strategy === 'replace' ? await updateMatched(load, table, stored) : 0;
  const added = strategy === 'skip' ? 0 : await insertUnmatched(load, table, stored);
  return {
    rows: added + replaced,
    merge: { added, replaced, kept: strategy === 'replace' ? 0 : matched, keptDifferent },
  };
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

async function updateMatched(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
): Promise<number> {
  const id = quoteIdent(table.serial ?? 'id');
  const changed = loadedColumns(table, stored)
    .filter((column) => column !== table.serial)
    .map(quoteIdent);
  const result = await load.client.query(
    `UPDATE ${quoteTable(load.state.live.schema, table.name)} t
        SET ${changed.map((column) => `${column} = s.${column}`).join(', ')}
       FROM ${stageName(table.name)} s JOIN ${mapName(table.name)} own ON own.lb_old = s.${id} AND own.lb_matched
      WHERE t.${id} = own.lb_new`,
  );
  return result.rowCount ?? 0;
}

async function insertUnmatched(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
): Promise<number> {
  const result = await load.client.query(
    insertStatement({ ...insertInput(load, table, stored), mapOwnId: true, onlyUnmatched: true }),
  );
  return result.rowCount ?? 0;
}
