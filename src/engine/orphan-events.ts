import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { LoadContext, LoadedTable } from './load-context.ts';
import { mapName, stageName } from './stage.ts';

const EVENT = 'dataset_event';
const DATASET = 'dataset';
/** Ids in the target. */
const ORPHANS = 'pg_temp.lifeboat_orphan_events';

/**
 * Takes dataset events out again whose dataset the backup does not have. The column may not be NULL and has no foreign key
 * in Airflow: the number would be that of whatever dataset has it in the target, now or later, and an update of it would
 * be told that never was. The runs that such an event made stay; only the link to it goes.
 *
 * @returns the tables with the rows that stayed, and how many events went
 */
export async function dropOrphanEvents(
  load: LoadContext,
  loaded: readonly LoadedTable[],
): Promise<{ readonly loaded: readonly LoadedTable[]; readonly events: number }> {
  const names = new Set(loaded.map(({ table }) => table));
  if (!names.has(EVENT) || !names.has(DATASET)) return { loaded, events: 0 };
  const found = await load.client.query(
    `CREATE TEMPORARY TABLE ${ORPHANS.replace('pg_temp.', '')} ON COMMIT DROP AS ${orphanIds(load)}`,
  );
  if (found.rowCount === 0) return { loaded, events: 0 };
  const gone = new Map<string, number>();
  const children = load.state.tables.filter((table) => names.has(table.name));
  for (const table of children) {
    for (const [column, parent] of Object.entries(table.references)) {
      if (parent !== EVENT) continue;
      gone.set(table.name, await remove(load, table.name, column));
    }
  }
  gone.set(EVENT, await remove(load, EVENT, 'id'));
  return {
    loaded: loaded.map((one) => ({ ...one, rows: one.rows - (gone.get(one.table) ?? 0) })),
    events: gone.get(EVENT) ?? 0,
  };
}

/** A table that was not staged holds the rows of the backup and no others, under their own ids. */
function orphanIds(load: LoadContext): string {
  const unknown = `NOT EXISTS (SELECT 1 FROM ${stageName(DATASET)} d WHERE d.id = e.dataset_id)`;
  if (!load.staged.has(EVENT)) {
    return `SELECT e.id FROM ${quoteTable(load.state.live.schema, EVENT)} e WHERE ${unknown}`;
  }
  return `SELECT coalesce(m.lb_new, e.id)::int AS id FROM ${stageName(EVENT)} e LEFT JOIN ${mapName(EVENT)} m ON m.lb_old = e.id
    WHERE m.lb_matched IS NOT TRUE AND ${unknown}`;
}

async function remove(load: LoadContext, table: string, column: string): Promise<number> {
  const result = await load.client.query(
    `DELETE FROM ${quoteTable(load.state.live.schema, table)} WHERE ${quoteIdent(column)} IN (SELECT id FROM ${ORPHANS})`,
  );
  return result.rowCount ?? 0;
}
