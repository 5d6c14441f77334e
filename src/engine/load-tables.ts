import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { mapSameFacts } from './chosen/same-facts.ts';
import { stageChosen } from './chosen/stage-chosen.ts';
import { copyInto, copyToStage, unsealed } from './copy-stage.ts';
import { copyFrozen } from './shadow/copy-frozen.ts';
import { historySchema, insertInput, isSkipped, parentIds } from './load-context.ts';
import type { LoadContext, LoadedTable } from './load-context.ts';
import { loadDags } from './load-dags.ts';
import { insertStatement } from './insert.ts';
import { leaveOutRows, leaveOutSameKeys, leavesRowsOut } from './left-out.ts';
import { lastFreeId, ROOM } from './live-jobs.ts';
import { storedTable } from './manifest.ts';
import type { ManifestTable } from './manifest.ts';
import { mergeRows } from './merge.ts';
import { storedBytes, wholeTable } from './sealed/fields.ts';
import { mapCollidingIds, mapLookups, mapMatchedIds, stageName } from './stage.ts';
import { maxOf, readSequence } from './target-state.ts';

/** Loads the tables in the given order (parents first), inside the caller's transaction. */
export async function loadTables(
  load: LoadContext,
  tables: readonly ResolvedTable[],
): Promise<readonly LoadedTable[]> {
  const { ctx } = load;
  const loaded: LoadedTable[] = [];
  if (load.choice) await stageChosen(load, load.choice, tables);
  for (const table of tables) {
    const found = storedTable(load.manifest, table.name);
    if (!found) continue;
    const stored = unsealed(load, table) ? wholeTable(found) : found;
    const started = ctx.now().getTime();
    const result = await loadTable(load, table, stored);
    reportLoaded(load, stored, result, started);
    loaded.push(result);
  }
  return loaded;
}

/** Tells that a table is there. `started`: milliseconds since the epoch. */
export function reportLoaded(
  { ctx, progress }: LoadContext,
  stored: ManifestTable,
  { table, rows }: LoadedTable,
  started: number,
): void {
  progress.add(table, stored.rows, 0);
  const seconds = (ctx.now().getTime() - started) / 1000;
  ctx.report({ event: 'table', phase: 'load', table, rows, bytes: storedBytes([stored]), seconds });
}

export async function loadTable(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
): Promise<LoadedTable> {
  const { restore } = table;
  if (restore.kind === 'history') {
    const issued = await issuedIds(load, table);
    if (!needsStage(load, table, issued)) {
      load.ids.set(table.name, 'kept');
      await (load.shadow
        ? copyFrozen(load, table, stored)
        : copyInto(load, table, stored, target(load, table)));
      return { table: table.name, rows: stored.rows, moved: 0 };
    }
    await stageTable(load, table);
    await leaveOutRows(load, table);
    await leaveOutSameKeys(load, table);
    return insertHistory(load, table, stored, issued);
  }
  await stageTable(load, table);
  if (restore.kind === 'merge' && restore.existing === 'schedule') return loadDags(load, table, stored);
  const moved = await mapParent(load, table);
  if (restore.kind === 'lookup') return { table: table.name, rows: 0, moved: 0 };
  if (moved === undefined) {
    const inserted = await load.client.query(insertMissingSql(load, table, stored));
    return { table: table.name, rows: inserted.rowCount ?? 0, moved: 0 };
  }
  return { table: table.name, moved, ...(await mergeRows(load, table, stored, restore.existing)) };
}

function target(load: LoadContext, table: ResolvedTable): string {
  return quoteTable(historySchema(load), table.name);
}

/**
 * What the ids of a merged or looked-up table become, from its stage.
 *
 * @returns how many changed; undefined for a table without ids
 */
export async function mapParent(load: LoadContext, table: ResolvedTable): Promise<number | undefined> {
  const { restore, name } = table;
  const { schema } = load.state.live;
  if (restore.kind === 'lookup') {
    await mapLookups(load.client, schema, table, restore.by);
    load.ids.set(name, 'looked-up');
    return 0;
  }
  if (restore.kind === 'history' || table.serial === undefined) return undefined;
  const base = await firstFreeId(load, table, await issuedIds(load, table));
  const moved = await mapMatchedIds(load.client, schema, table, restore.by, base);
  load.ids.set(name, moved > 0 ? 'mapped' : 'kept');
  return moved;
}

/** Largest id that the target's sequence ever gave out, or may give out while this restore is at work. */
async function issuedIds(load: LoadContext, table: ResolvedTable): Promise<number> {
  if (table.serial === undefined) return 0;
  const issued = (await readSequence(load.client, load.state, table))?.issued ?? 0;
  const growing = load.shadow ? load.shadow.growing.has(table.name) : table.neverLocked;
  const free = lastFreeId(growing, issued, load.kept(table.name));
  if (free === undefined) return issued;
  load.free.set(table.name, free);
  return free;
}

/**
 * Direct COPY is the fast way; it needs rows that go in exactly as they are stored, into a table that is empty, where the
 * defaults of columns that the backup does not have are what Airflow's migration would have given them.
 */
function needsStage(load: LoadContext, table: ResolvedTable, issued: number): boolean {
  if (load.choice || leavesRowsOut(load, table) || load.rekeying.needs(table)) return true;
  if (table.neverReuseIds && issued > 0) return true;
  if (Object.values(table.references).some((parent) => parentIds(load, parent) !== 'kept')) return true;
  if (load.shadow?.referred.has(table.name)) return load.kept(table.name) > 0 || load.free.has(table.name);
  if (load.shadow) return false;
  if (load.kept(table.name) > 0 || table.rewrites.length > 0) return true;
  const live = load.state.live.tables.get(table.name);
  return table.added.some(({ name, value }) => (live?.columns.get(name)?.defaultSql ?? 'NULL') !== value);
}

/** Brings the rows of the backup into the stage. */
export async function stageTable(load: LoadContext, table: ResolvedTable): Promise<void> {
  load.staged.add(table.name);
  if (!load.choice) await copyToStage(load, table);
  if (table.name === 'variable') await dropKeptVariables(load);
  // Without statistics the planner joins a million rows as if they were ten.
  await load.client.query(`ANALYZE ${stageName(table.name)}`);
  if (load.rekeying.needs(table) && !isSkipped(load.request, table.name)) {
    await load.rekeying.table(load.client, table);
  }
}

/** Variables that say something of the target itself, such as where its own backups go. */
async function dropKeptVariables({ client, request }: LoadContext): Promise<void> {
  const { keepVariables = [] } = request;
  if (keepVariables.length === 0) return;
  await client.query(`DELETE FROM ${stageName('variable')} WHERE key = ANY ($1::text[])`, [keepVariables]);
}

async function insertHistory(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
  issued: number,
): Promise<LoadedTable> {
  let moved = 0;
  const same = load.choice ? table.sameFact : undefined;
  if (table.serial !== undefined) {
    const base = await firstFreeId(load, table, issued);
    moved = same
      ? await mapSameFacts(load, table, same, { issued, base })
      : await mapCollidingIds(load.client, load.state.live.schema, table, {
          issued,
          base,
          ...takenBeside(load, table),
        });
    const shared = issued > 0 || load.kept(table.name) > 0;
    const mapped = moved > 0 || same !== undefined;
    load.ids.set(table.name, table.neverReuseIds && shared ? 'looked-up' : mapped ? 'mapped' : 'kept');
  }
  const mapOwnId = moved > 0 || same !== undefined;
  const onlyUnmatched = same !== undefined;
  const inserted = await load.client.query(
    // A table without ids of its own may meet the same fact in the target (an SLA miss, a queued dataset): it stays.
    `${insertStatement({ ...insertInput(load, table, stored), mapOwnId, onlyUnmatched })}
     ${table.serial === undefined ? 'ON CONFLICT DO NOTHING' : ''}`,
  );
  return { table: table.name, rows: inserted.rowCount ?? 0, moved };
}

/**
 * Beside a live table only rows that stay take an id. Where others refer to ids, those that the target may give meanwhile
 * are taken too; elsewhere a row can still move when the two sides meet.
 */
function takenBeside(load: LoadContext, table: ResolvedTable): { readonly taken?: string } {
  if (!load.shadow) return {};
  const id = quoteIdent(table.serial ?? 'id');
  const live = quoteTable(load.state.live.schema, table.name);
  const there = `s.${id} IN (SELECT ${id} FROM ${live} WHERE ${load.shadow.stays(table)})`;
  const free = load.free.get(table.name);
  const meanwhile = free === undefined ? '' : ` OR (s.${id} > ${free - ROOM} AND s.${id} <= ${free})`;
  return { taken: there + meanwhile };
}

/** Rows without an id of their own: those that the target lacks. */
export function insertMissingSql(load: LoadContext, table: ResolvedTable, stored: ManifestTable): string {
  return `${insertStatement(insertInput(load, table, stored))} ON CONFLICT DO NOTHING`;
}

/** Above every id on either side. */
async function firstFreeId(load: LoadContext, table: ResolvedTable, issued: number): Promise<number> {
  const id = table.serial ?? 'id';
  return Math.max(
    issued,
    await maxOf(load.client, quoteTable(load.state.live.schema, table.name), id),
    await maxOf(load.client, stageName(table.name), id),
  );
}
