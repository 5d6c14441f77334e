import { quoteIdent } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { LoadContext } from './load-context.ts';
import type { ManifestTable } from './manifest.ts';
import { loadParts } from './part-reader.ts';
import { createStage, stageName } from './stage.ts';

/** Creates the stage of a table and copies its parts there; with a condition (SQL over one row), only rows that meet it. */
export async function copyToStage(
  load: LoadContext,
  table: ResolvedTable,
  condition = 'true',
): Promise<void> {
  const stored = load.manifest.tables.find(({ name }) => name === table.name);
  if (!stored) return;
  await createStage(load.client, load.state.live.schema, table.name, stored.columns, table.added);
  await copyInto(load, table, stored, stageName(table.name), condition);
}

export async function copyInto(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
  into: string,
  condition = 'true',
): Promise<void> {
  const columns = stored.columns.map(quoteIdent).join(', ');
  const where = condition === 'true' ? '' : ` WHERE ${condition}`;
  const sql = `COPY ${into} (${columns}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')${where}`;
  const onBytes = (bytes: number): void => {
    load.progress.add(table.name, 0, bytes);
  };
  await loadParts(load.ctx, load.client, sql, stored, onBytes, where !== '');
}
