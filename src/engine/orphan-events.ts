import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { historySchema, parentIds } from './load-context.ts';
import type { LoadContext, LoadedTable } from './load-context.ts';
import { mapName, stageName } from './stage.ts';

const EVENT = 'dataset_event';
const DATASET = 'dataset';

interface Dropped {
  /** The tables with the rows that stayed. */
  readonly loaded: readonly LoadedTable[];
  readonly events: number;
}

/**
 * Takes dataset events out again whose dataset the backup does not have. The column may not be NULL and has no foreign key
 * in Airflow: the number would be that of whatever dataset has it in the target, now or later, and an update of it would
 * be told that never was. The runs that such an event made stay; only the link to it goes.
 */
export async function dropOrphanEvents(load: LoadContext, loaded: readonly LoadedTable[]): Promise<Dropped> {
  if (!loaded.some(({ table }) => table === EVENT) || parentIds(load, DATASET) === 'absent') {
    return { loaded, events: 0 };
  }
  const list = 'pg_temp.lifeboat_orphan_events';
  const found = await load.client.query(
    `CREATE TEMPORARY TABLE ${list.replace('pg_temp.', '')} ON COMMIT DROP AS ${orphanEventsSql(load)}`,
  );
  return found.rowCount === 0 ? { loaded, events: 0 } : removeEvents(load, loaded, list);
}

/** True: `orphanEventsSql` can be asked once this table is loaded, and the map of datasets has to be there. */
export function mayHaveOrphans(load: LoadContext, { name }: ResolvedTable): boolean {
  return name === EVENT && parentIds(load, DATASET) !== 'absent';
}

/**
 * Ids that such events have now, in the transaction that loaded them. A table that was not staged holds the rows of the
 * backup and no others, under their own ids.
 */
export function orphanEventsSql(load: LoadContext): string {
  // The map holds every dataset of the backup.
  const unknown = `NOT EXISTS (SELECT 1 FROM ${mapName(DATASET)} d WHERE d.lb_old = e.dataset_id)`;
  if (!load.staged.has(EVENT)) {
    return `SELECT e.id FROM ${quoteTable(historySchema(load), EVENT)} e WHERE ${unknown}`;
  }
  return `SELECT coalesce(m.lb_new, e.id)::int AS id FROM ${stageName(EVENT)} e LEFT JOIN ${mapName(EVENT)} m ON m.lb_old = e.id
    WHERE m.lb_matched IS NOT TRUE AND ${unknown}`;
}

/** `list`: a table with the ids. */
export async function removeEvents(
  load: LoadContext,
  loaded: readonly LoadedTable[],
  list: string,
): Promise<Dropped> {
  const remove = async (table: string, column: string): Promise<number> => {
    const result = await load.client.query(
      `DELETE FROM ${quoteTable(historySchema(load), table)} WHERE ${quoteIdent(column)} IN (SELECT id FROM ${list})`,
    );
    return result.rowCount ?? 0;
  };
  const names = new Set(loaded.map(({ table }) => table));
  const gone = new Map<string, number>();
  for (const table of load.state.tables.filter(({ name }) => names.has(name))) {
    for (const [column, parent] of Object.entries(table.references)) {
      if (parent === EVENT) gone.set(table.name, await remove(table.name, column));
    }
  }
  const events = await remove(EVENT, 'id');
  gone.set(EVENT, events);
  return {
    loaded: loaded.map((one) => ({ ...one, rows: one.rows - (gone.get(one.table) ?? 0) })),
    events,
  };
}
