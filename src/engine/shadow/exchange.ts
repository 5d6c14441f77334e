import { lookAtRestored } from '../aftermath.ts';
import type { Found } from '../aftermath.ts';
import { besideOf } from '../beside.ts';
import { keepPauseStates, notePauseStates } from '../carriers.ts';
import { unsealed } from '../copy-stage.ts';
import { pointScheduleBack } from '../in-flight/exclude.ts';
import { checkRoom } from '../live-jobs.ts';
import type { LoadContext, LoadedTable } from '../load-context.ts';
import { loadTable } from '../load-tables.ts';
import { sumOf } from '../restore-parts.ts';
import { wholeTable } from '../sealed/fields.ts';
import { liftSequences } from '../sequences.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { correctReferences } from './fill.ts';
import type { ShadowPlan } from './jobs.ts';
import { storedOf } from './plan.ts';
import { carryLiveRows, exchangeTables, linkMerged } from './swap.ts';

export interface Exchanged {
  readonly carried: Awaited<ReturnType<typeof carryLiveRows>> & { readonly found: Found };
  readonly mergedTables: ReadonlyMap<string, LoadedTable>;
  readonly carryingDags: readonly string[];
}

/** All that happens while others wait. */
export async function exchange(
  load: LoadContext,
  plan: ShadowPlan,
  merged: readonly ResolvedTable[],
  excluded: boolean,
): Promise<Exchanged> {
  const { client, state, manifest, ctx } = load;
  const { live } = plan.place;
  const staged: LoadContext = { ...load, allStaged: true };
  await notePauseStates(client, live);
  const mergedTables = new Map<string, LoadedTable>();
  for (const table of merged) {
    const found = storedOf(manifest, table.name);
    if (!found) continue;
    mergedTables.set(
      table.name,
      await loadTable(staged, table, unsealed(load, table) ? wholeTable(found) : found),
    );
  }
  await correctReferences(
    client,
    plan.place,
    plan.tables,
    plan.parents.filter(({ restore }) => restore.kind === 'merge'),
  );
  await linkMerged(client, plan);
  await checkRoom(
    client,
    state,
    plan.tables.filter(({ name }) => load.free.has(name)),
    load.free,
  );
  const rows = (name: string): string => {
    const table = plan.tables.find((one) => one.name === name);
    return (table && load.shadow?.stays(table)) ?? 'false';
  };
  const found = await lookAtRestored(client, live, { runs: rows('dag_run'), tasks: rows('task_instance') });
  const carried = await carryLiveRows(load, plan);
  await exchangeTables(client, plan);
  const carryingDags = await keepPauseStates(load);
  if (excluded) await pointScheduleBack(client, live, besideOf(load));
  await liftSequences(ctx, client, state, [...plan.tables, ...merged]);
  return { carried: { ...carried, found }, mergedTables, carryingDags };
}

export function addFound(one: Found, other: Found): Found {
  return {
    unfinishedRuns: sumOf(one.unfinishedRuns, other.unfinishedRuns),
    unfinishedTasks: sumOf(one.unfinishedTasks, other.unfinishedTasks),
    pools: [...one.pools, ...other.pools],
    dags: [...one.dags, ...other.dags],
  };
}
