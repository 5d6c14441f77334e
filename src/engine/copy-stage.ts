import { quoteIdent } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { isSkipped } from './load-context.ts';
import type { LoadContext } from './load-context.ts';
import { storedTable } from './manifest.ts';
import type { ManifestTable } from './manifest.ts';
import { loadParts } from './part-reader.ts';
import { wholeTable } from './sealed/fields.ts';
import { createStage, stageName } from './stage.ts';

/** Creates the stage of a table and copies its parts there; with a condition (SQL over one row), only rows that meet it. */
export async function copyToStage(
  load: LoadContext,
  table: ResolvedTable,
  condition = 'true',
): Promise<void> {
  const found = storedTable(load.manifest, table.name);
  if (!found) return;
  const stored = unsealed(load, table) ? wholeTable(found) : found;
  await createStage(load.client, load.state.live.schema, table.name, stored.columns, table.added);
  await copyInto(load, table, stored, stageName(table.name), condition);
}

/** Whether sealed secrets of this table are opened, if it has any. */
export function unsealed(load: LoadContext, table: ResolvedTable): boolean {
  return load.unsealing !== undefined && !isSkipped(load.request, table.name);
}

export async function copyInto(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
  into: string,
  condition = 'true',
  options = '',
): Promise<void> {
  const columns = stored.columns.map(quoteIdent).join(', ');
  const where = condition === 'true' ? '' : ` WHERE ${condition}`;
  const sql = `COPY ${into} (${columns}) FROM STDIN (FORMAT csv, ENCODING 'UTF8'${options})${where}`;
  const onBytes = (bytes: number): void => {
    load.progress.add(table.name, 0, bytes);
  };
  const found = storedTable(load.manifest, table.name) ?? stored;
  await loadParts(load.ctx, load.client, sql, found, onBytes, {
    someRows: where !== '',
    ...(load.unsealing && unsealed(load, table) ? { unsealing: load.unsealing } : {}),
  });
}
