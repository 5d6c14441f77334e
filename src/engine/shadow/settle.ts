import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import { lookAtRestored } from '../aftermath.ts';
import type { Found } from '../aftermath.ts';
import type { RestoreRequest } from '../api.ts';
import { besideOf } from '../beside.ts';
import { dagsToEnd, endBackupsRun } from '../carriers.ts';
import { settleInFlight } from '../in-flight/in-flight.ts';
import type { InFlightResult } from '../in-flight/in-flight.ts';
import { rememberKeptRuns } from '../in-flight/restored.ts';
import type { LoadContext } from '../load-context.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { maxOf, readSequence } from '../target-state.ts';
import { findUnreadableSecrets } from '../unreadable.ts';
import type { ShadowPlan } from './jobs.ts';

export interface Settled {
  readonly inFlight: InFlightResult | null;
  readonly endedRun: string | null;
  readonly found: Found;
  readonly unreadable: readonly string[];
}

/** Secrets that the target's keys do not read, of merged rows and of the shadow; null: no key is known. */
export function allUnreadable(
  merged: readonly string[] | undefined,
  { unreadable }: Settled,
): readonly string[] | null {
  return merged === undefined ? null : [...merged, ...unreadable];
}

/** What a restore decides about the rows that it brought, while they are still in the shadow and nobody waits. */
export async function settleShadow(
  load: LoadContext,
  plan: ShadowPlan,
  request: RestoreRequest,
): Promise<Settled> {
  const { client, manifest, ctx } = load;
  const { shadow, live } = plan.place;
  // There is no row of the target in a shadow.
  await rememberKeptRuns(client, shadow, 'false');
  const endedRun = await endBackupsRun(load);
  const carrying = await dagsToEnd(load);
  const inFlight = await withOwnIds(load, plan, () =>
    settleInFlight(client, shadow, {
      policy: request.inFlight ?? 'resume',
      backupId: manifest.backupId,
      snapshotTime: manifest.snapshotTime,
      tables: plan.tables,
      now: ctx.now(),
      dagSchema: live,
      beside: besideOf(load),
      carrying,
    }),
  );
  const secretTables = plan.tables.filter((table) => table.secrets.length > 0);
  const unreadable =
    request.fernetKeys.length === 0
      ? []
      : await findUnreadableSecrets(client, shadow, secretTables, request.fernetKeys);
  return { inFlight, endedRun, found: await lookAtRestored(client, shadow), unreadable };
}

/**
 * Tries that were interrupted get rows with new ids. The default would take them from the live sequence, which is not
 * lifted yet: until the swap it gives ids to the target's rows alone.
 */
async function withOwnIds<T>(load: LoadContext, plan: ShadowPlan, work: () => Promise<T>): Promise<T> {
  const table = plan.tables.find(({ name }) => name === 'task_instance_history');
  const column = table?.serial;
  if (!table || column === undefined) return work();
  const { client, state } = load;
  const own = state.live.tables.get(table.name)?.columns.get(column)?.defaultSql;
  const name = quoteTable(plan.place.shadow, table.name);
  const sequence = quoteTable(plan.place.shadow, 'lifeboat_ids');
  const first = 1 + Math.max(await maxOf(client, name, column), await issued(load, table));
  const setDefault = (value: string): string =>
    `ALTER TABLE ${name} ALTER COLUMN ${quoteIdent(column)} SET DEFAULT ${value}`;
  await client.query(
    `CREATE SEQUENCE ${sequence} START ${first}; ${setDefault(`nextval('${sequence}'::regclass)`)}`,
  );
  const result = await work();
  await client.query(
    `${own ? setDefault(own) : `ALTER TABLE ${name} ALTER COLUMN ${quoteIdent(column)} DROP DEFAULT`}; DROP SEQUENCE ${sequence}`,
  );
  return result;
}

async function issued(load: LoadContext, table: ResolvedTable): Promise<number> {
  return (await readSequence(load.client, load.state, table))?.issued ?? 0;
}
