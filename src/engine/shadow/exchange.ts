import { lookAtRestored } from '../aftermath.ts';
import type { Found } from '../aftermath.ts';
import { besideOf } from '../beside.ts';
import { keepPauseStates, notePauseStates } from '../carriers.ts';
import { pointScheduleBack } from '../in-flight/exclude.ts';
import { checkRoom } from '../live-jobs.ts';
import type { LoadContext, LoadedTable } from '../load-context.ts';
import { sumOf } from '../restore-parts.ts';
import { liftSequences } from '../sequences.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { correctReferences } from './fill.ts';
import type { ShadowPlan } from './jobs.ts';
import { mergeAsRehearsed } from './merge.ts';
import type { Rehearsed } from './merge.ts';
import { carryLiveRows, exchangeTables, linkMerged } from './swap.ts';

export interface Exchanged {
  readonly carried: Awaited<ReturnType<typeof carryLiveRows>> & { readonly found: Found };
  readonly mergedTables: ReadonlyMap<string, LoadedTable>;
  readonly carryingDags: readonly string[];
  readonly unreadable: readonly string[] | undefined;
}

/** What was found out for the exchange while nobody waited. */
export interface Prepared {
  readonly merged: readonly ResolvedTable[];
  readonly rehearsed: Rehearsed;
  readonly keys: readonly string[];
  /** Tables in the shadow that are none of Airflow. */
  readonly helpers: readonly string[];
  /** Unfinished runs were left out: schedules have to point to them. */
  readonly excluded: boolean;
  /** Merged tables that are, and that the shadow refers to. */
  readonly linked: ReadonlySet<string>;
}

/** All that happens while others wait. */
export async function exchange(
  load: LoadContext,
  plan: ShadowPlan,
  { merged, rehearsed, keys, helpers, excluded, linked }: Prepared,
): Promise<Exchanged> {
  const { client, state, ctx } = load;
  const { live } = plan.place;
  await notePauseStates(client, live);
  const mergedNow = await mergeAsRehearsed(load, merged, rehearsed, keys);
  const parents = plan.parents.filter(({ name, restore }) => restore.kind === 'merge' && !linked.has(name));
  await correctReferences(client, plan.place, plan.tables, parents);
  await linkMerged(client, plan, (parent) => !linked.has(parent));
  const growing = plan.tables.filter(({ name }) => load.free.has(name));
  await checkRoom(client, state, growing, load.free);
  const found = await lookAtCarried(load, plan);
  const carried = await carryLiveRows(load, plan);
  await exchangeTables(client, plan, helpers);
  const carryingDags = await keepPauseStates(load);
  if (excluded) await pointScheduleBack(client, live, besideOf(load));
  await liftSequences(ctx, client, state, [...plan.tables, ...merged]);
  return {
    carried: { ...carried, found },
    mergedTables: mergedNow.loaded,
    carryingDags,
    unreadable: mergedNow.rehearsed.unreadable,
  };
}

async function lookAtCarried(load: LoadContext, plan: ShadowPlan): Promise<Found> {
  const rows = (name: string): string => {
    const table = plan.tables.find((one) => one.name === name);
    return (table && load.shadow?.stays(table)) ?? 'false';
  };
  const [runs, tasks] = [rows('dag_run'), rows('task_instance')];
  if (runs === 'false' && tasks === 'false') {
    return { unfinishedRuns: {}, unfinishedTasks: {}, pools: [], dags: [] };
  }
  return lookAtRestored(load.client, plan.place.live, { runs, tasks });
}

export function addFound(one: Found, other: Found): Found {
  return {
    unfinishedRuns: sumOf(one.unfinishedRuns, other.unfinishedRuns),
    unfinishedTasks: sumOf(one.unfinishedTasks, other.unfinishedTasks),
    pools: [...one.pools, ...other.pools],
    dags: [...one.dags, ...other.dags],
  };
}
