import type { Client } from 'pg';
import { quoteIdent, quoteLiteral, quoteTable } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { countAuthorless } from '../aftermath.ts';
import { unsealed } from '../copy-stage.ts';
import { LEFT_OUT, leavesRowsOut } from '../left-out.ts';
import { parentIds } from '../load-context.ts';
import type { LoadContext, LoadedTable } from '../load-context.ts';
import { loadTable, mapParent, reportLoaded, stageTable } from '../load-tables.ts';
import { storedTable } from '../manifest.ts';
import { mayHaveOrphans, orphanEventsSql } from '../orphan-events.ts';
import { wholeTable } from '../sealed/fields.ts';
import { mapName, stageName } from '../stage.ts';
import { createSql } from './dress.ts';
import type { Place } from './dress.ts';

export interface Filled {
  readonly loaded: Map<string, LoadedTable>;
  /** Notes whose author the target does not know, by table. */
  readonly authorless: Map<string, number>;
  /** Dataset events without their dataset: listed when they are loaded, removed when all is. */
  orphanEvents: number;
}

/** Maps of ids are made in one transaction and read in others: there they lie in the shadow, under the temporary name. */
function sharedMap(place: Place, table: string): string {
  return quoteTable(place.shadow, `lifeboat_map_${table}`);
}

function sharedLeftOut(place: Place): string {
  return quoteTable(place.shadow, 'lifeboat_left_out');
}

export function orphanList(place: Place): string {
  return quoteTable(place.shadow, 'lifeboat_orphan_events');
}

/** What the ids of merged tables and users become, as the target is now. The swap looks again. */
export async function mapMerged(
  load: LoadContext,
  place: Place,
  parents: readonly ResolvedTable[],
): Promise<void> {
  for (const table of parents) {
    await stageTable(load, table);
    await mapParent(load, table);
    await shareMap(load.client, place, table.name);
  }
}

/** Creates a table of the shadow and fills it, in the transaction of the given connection. */
export async function fillTable(
  load: LoadContext,
  place: Place,
  table: ResolvedTable,
  filled: Filled,
): Promise<void> {
  const { ctx, client } = load;
  const started = ctx.now().getTime();
  await client.query(createSql(place, table.name, load.state.serverVersion));
  const found = storedTable(load.manifest, table.name);
  if (!found) return;
  const borrowed = await borrow(load, place, table);
  const stored = unsealed(load, table) ? wholeTable(found) : found;
  const result = await loadTable(load, table, stored);
  filled.loaded.set(table.name, result);
  if (table.references.user_id === 'ab_user' && parentIds(load, 'ab_user') !== 'absent') {
    filled.authorless.set(
      table.name,
      await countAuthorless(client, mapName('ab_user'), [table.name], stageName),
    );
  }
  await share(load, place, table);
  if (mayHaveOrphans(load, table)) {
    const listed = await client.query(`CREATE TABLE ${orphanList(place)} AS ${orphanEventsSql(load)}`);
    filled.orphanEvents = listed.rowCount ?? 0;
  }
  if (borrowed.length > 0) await client.query(`DROP VIEW ${borrowed.join(', ')}`);
  reportLoaded(load, stored, result, started);
}

/** Makes what earlier transactions shared visible under the temporary names that the loading functions know. */
async function borrow(load: LoadContext, place: Place, table: ResolvedTable): Promise<readonly string[]> {
  const parents = [...new Set(Object.values(table.references))].filter(
    (parent) => ['mapped', 'looked-up'].includes(parentIds(load, parent)) || mayHaveOrphans(load, table),
  );
  const views = parents.map((parent): [string, string] => [mapName(parent), sharedMap(place, parent)]);
  if (load.leftOutRuns.length > 0 && leavesRowsOut(load, table)) views.push([LEFT_OUT, sharedLeftOut(place)]);
  for (const [name, shared] of views) {
    await load.client.query(
      `CREATE TEMPORARY VIEW ${name.replace('pg_temp.', '')} AS SELECT * FROM ${shared}`,
    );
  }
  return views.map(([name]) => name);
}

async function share(load: LoadContext, place: Place, table: ResolvedTable): Promise<void> {
  const ids = load.ids.get(table.name);
  if (ids === 'mapped' || ids === 'looked-up') await shareMap(load.client, place, table.name);
  if (table.name === 'dag_run' && load.leftOutRuns.length > 0) {
    await load.client.query(`CREATE TABLE ${sharedLeftOut(place)} AS SELECT * FROM ${LEFT_OUT}`);
  }
}

async function shareMap(client: Client, place: Place, table: string): Promise<void> {
  const shared = sharedMap(place, table);
  await client.query(`CREATE TABLE ${shared} AS SELECT * FROM ${mapName(table)}; ANALYZE ${shared}`);
}

/**
 * References to merged rows whose ids came out otherwise than when the shadow was filled: somebody registered a dataset
 * meanwhile. The maps that count now are the temporary ones of this connection.
 */
export async function correctReferences(
  client: Client,
  place: Place,
  tables: readonly ResolvedTable[],
  parents: readonly ResolvedTable[],
): Promise<void> {
  const changed = (name: string): string =>
    `${sharedMap(place, name)} e JOIN ${mapName(name)} f USING (lb_old) WHERE e.lb_new <> f.lb_new`;
  if (parents.length === 0) return;
  const { rows } = await client.query<{ name: string }>(
    parents
      .map(({ name }) => `SELECT ${quoteLiteral(name)} AS name WHERE EXISTS (SELECT FROM ${changed(name)})`)
      .join(' UNION ALL '),
  );
  for (const parent of rows) {
    for (const table of tables) {
      for (const [column, name] of Object.entries(table.references)) {
        if (name !== parent.name) continue;
        await client.query(
          `UPDATE ${quoteTable(place.shadow, table.name)} c SET ${quoteIdent(column)} = m.lb_now
             FROM (SELECT e.lb_new AS lb_then, f.lb_new AS lb_now FROM ${changed(name)}) m WHERE c.${quoteIdent(column)} = m.lb_then`,
        );
      }
    }
  }
}

/** Everything in a shadow that is not a table of Airflow. */
export function sharedTables(client: Client, place: Place): Promise<readonly string[]> {
  return client
    .query<{ name: string }>(
      `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ${quoteLiteral(place.shadow)} AND c.relkind = 'r' AND c.relname LIKE 'lifeboat\\_%'`,
    )
    .then(({ rows }) => rows.map((row) => row.name));
}
