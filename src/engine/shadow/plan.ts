import type { Client } from 'pg';
import type { ResolvedTable } from '../../versions/registry.ts';
import { livePredicate } from '../live-rows.ts';
import type { ShadowLoad } from '../load-context.ts';
import { storedTable } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import { readSequence } from '../target-state.ts';
import type { TargetState } from '../target-state.ts';
import { readDefinitions } from './definitions.ts';
import type { ShadowPlan } from './jobs.ts';

export async function planShadow(
  client: Client,
  schema: string,
  manifest: Manifest,
  state: TargetState,
  tables: readonly ResolvedTable[],
  drill: boolean,
): Promise<ShadowPlan> {
  const set = tables.filter(({ restore }) => restore.kind === 'history');
  const definitions = await readDefinitions(
    client,
    state.live.schema,
    set.map(({ name }) => name),
  );
  const referenced = new Set(set.flatMap((table) => Object.values(table.references)));
  const moving = new Set<string>();
  for (const table of set) {
    if (await mayMove(client, state, table, growingTables(state, set))) moving.add(table.name);
  }
  return {
    place: { live: state.live.schema, shadow: schema },
    tables: set,
    definitions: new Map(definitions.map((definition) => [definition.table, definition])),
    parents: tables.filter(
      ({ name, restore }) =>
        restore.kind !== 'history' && referenced.has(name) && storedTable(manifest, name),
    ),
    owner: definitions[0]?.owner ?? '',
    moving,
    drill,
  };
}

/** Whether an id of the backup may have to change: then those who refer to it wait until that is known. */
async function mayMove(
  client: Client,
  state: TargetState,
  table: ResolvedTable,
  growing: ReadonlySet<string>,
): Promise<boolean> {
  if (table.serial === undefined) return false;
  const issued = (await readSequence(client, state, table))?.issued ?? 0;
  const rows = state.counts.get(table.name)?.rows ?? 0;
  return rows > 0 || ((table.neverReuseIds || growing.has(table.name)) && issued > 0);
}

function referredTables(tables: readonly ResolvedTable[]): ReadonlySet<string> {
  const referred = new Set(tables.flatMap((table) => Object.values(table.references)));
  return new Set(tables.filter(({ name }) => referred.has(name)).map(({ name }) => name));
}

/**
 * Tables that get rows while the restore is at work that stay: those that live processes beat into, and what the tasks
 * of a live run make. The runs themselves are known from the beginning.
 */
function growingTables(state: TargetState, tables: readonly ResolvedTable[]): ReadonlySet<string> {
  const referred = referredTables(tables);
  const grow = ({ name, neverLocked }: ResolvedTable): boolean =>
    neverLocked || (state.liveRuns.length > 0 && name !== 'dag_run');
  return new Set(tables.filter((table) => referred.has(table.name) && grow(table)).map(({ name }) => name));
}

/** The load takes minutes: a job is alive by the clock and not by the beginning of the transaction. */
function staying(state: TargetState, table: ResolvedTable, clean: boolean): string {
  if (!clean) return 'true';
  return (livePredicate(state, table) ?? 'false').replaceAll('now()', 'pg_catalog.statement_timestamp()');
}

export function shadowLoad(plan: ShadowPlan, state: TargetState, clean: boolean): ShadowLoad {
  return {
    schema: plan.place.shadow,
    stays: (table) => staying(state, table, clean),
    referred: referredTables(plan.tables),
    growing: growingTables(state, plan.tables),
  };
}
