import type { Client } from 'pg';
import { withClient } from '../../db/connect.ts';
import { quoteTable } from '../../db/introspect.ts';
import type { DatabaseTarget } from '../../db/target.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { EngineContext } from '../api.ts';
import type { LoadContext } from '../load-context.ts';
import { applicationName } from '../session.ts';
import type { Place } from './dress.ts';
import type { Prepared } from './exchange.ts';
import { correctReferences } from './fill.ts';
import type { ShadowPlan } from './jobs.ts';
import { isQuiet, mergeQuiet } from './merge.ts';
import { linkMerged } from './swap.ts';

/** For an autovacuum to notice that it is in the way, and for somebody else's VACUUM to end. */
const MAINTENANCE_WAIT = "SET LOCAL lock_timeout = '60s'";

/** Stops no reader or writer; autovacuum, CREATE INDEX and ALTER TABLE stay out until the commit. */
export async function keepMaintenanceOut(client: Client, { place, tables }: ShadowPlan): Promise<void> {
  await lockLive(client, place, tables, 'SHARE UPDATE EXCLUSIVE');
}

/** Locks that no reader or writer of Airflow's everyday work has to wait for; so these may wait themselves. */
async function lockLive(
  client: Client,
  { live }: Place,
  tables: readonly ResolvedTable[],
  mode: 'SHARE UPDATE EXCLUSIVE' | 'SHARE ROW EXCLUSIVE',
): Promise<void> {
  const names = tables.map(({ name }) => quoteTable(live, name)).join(', ');
  await client.query(`${MAINTENANCE_WAIT}; LOCK TABLE ${names} IN ${mode} MODE; SET LOCAL lock_timeout = 0`);
}

/**
 * Merges tables that nobody writes to while Airflow works, and makes the foreign keys to them. Their lock lets readers and
 * the checks of other foreign keys through; an Airflow that is being started may wait for it until the commit.
 */
export async function linkQuiet(load: LoadContext, plan: ShadowPlan, prepared: Prepared): Promise<Prepared> {
  const quiet = prepared.merged.filter(isQuiet);
  if (quiet.length === 0) return prepared;
  const { client } = load;
  await lockLive(client, plan.place, quiet, 'SHARE ROW EXCLUSIVE');
  const rehearsed = await mergeQuiet(load, prepared.merged, prepared.rehearsed);
  const linked = new Set(rehearsed.steps.flatMap(({ table, done }) => (done ? [table.name] : [])));
  const parents = plan.parents.filter(({ name }) => linked.has(name));
  await correctReferences(client, plan.place, plan.tables, parents);
  await linkMerged(client, plan, (parent) => linked.has(parent));
  return { ...prepared, rehearsed, linked };
}

/**
 * The commit of the exchange waits until everything before it in the server's log is on its disk, and everybody waits for
 * that commit. So it is brought there beforehand, by a commit that nobody waits for.
 */
export function flushLog(ctx: EngineContext, environment: DatabaseTarget): Promise<void> {
  return withClient(environment, { applicationName: applicationName(ctx, 'flush') }, async (client) => {
    // Only a transaction with a number of its own writes a commit that has to be flushed.
    await client.query('SET synchronous_commit = on; SELECT pg_catalog.txid_current()');
  });
}
