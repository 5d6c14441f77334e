import { fits } from '../../rest/one.ts';
import type { RestClient } from '../../rest/client.ts';
import { allRows, pages } from '../../rest/pages.ts';
import type { EngineContext, RunName } from '../api.ts';
import { createKeySet, type KeySet } from '../import/key-set.ts';
import { missingRunBlockers, runLabel } from '../live-rows.ts';
import type { RestCleanupDag, RestCleanupPlan } from '../plans.ts';
import { createGaps, type Gaps } from '../rest/gaps.ts';
import { FAILS, noWayTo } from '../rest/reading.ts';
import { isParsed, type TargetDag, toDag } from '../rest-restore/target.ts';
import { runningBlockers, runningWarnings } from '../running-tasks.ts';
import type { RestCleanupRequest } from './api.ts';
import { findQueued, type QueuedEvents } from './queued.ts';
import { findRunning } from './running.ts';
import { createKeeper, createKept, listOfRuns, pathOfRun, type TargetRun, toRun } from './runs.ts';
import { schedulerHeartbeat } from './health.ts';

export interface PlannedCleanup {
  readonly plan: RestCleanupPlan;
  readonly queued: readonly QueuedEvents[];
  /** How a run that is listed again was planned: undefined, it stays. */
  fateOf(run: RunName): 'delete' | 'end' | undefined;
}

/** What a cleanup through the API will delete. Every run is looked at once; of each a few bytes are remembered. */
export async function planRestCleanup(
  ctx: EngineContext,
  request: RestCleanupRequest,
): Promise<PlannedCleanup> {
  const { client } = request;
  const target = { name: client.name };
  const rows = await allRows(client, client.dialect.lists.dags);
  const carrying = rows.map(toDag).filter(({ carries }) => carries);
  const carriers = new Set(carrying.map(({ dagId }) => dagId));
  const gaps = createGaps();
  const found = await lookAtRuns(ctx, request, carriers, gaps);
  for (const table of client.dialect.undeletable) gaps.whole(table, 'the API deletes none of it');
  const queued = await findQueued(client, gaps);
  const running = await findRunning(client, found.stays);
  const missingRuns = (request.keepRuns ?? []).filter((run) => !found.named.has(runLabel(run)));
  const state = { facts: target, runningTasks: running.tasks, missingRuns };
  return {
    queued,
    fateOf: found.fateOf,
    plan: {
      kind: 'rest-cleanup',
      target: {
        name: client.name,
        airflow: client.airflow,
        api: client.dialect.api,
        via: request.via,
        schedulerHeartbeat: await schedulerHeartbeat(client),
      },
      deletes: found.dags.reduce((sum, { deletes }) => sum + deletes, 0),
      ends: found.ends,
      dags: found.dags,
      keeps: found.keeps,
      queuedEvents: queued.reduce((sum, { events }) => sum + events, 0),
      startsAgain: startsAgain(rows.filter(isParsed).map(toDag), found.forgotten),
      leftOut: gaps.list(),
      blockers: [
        ...missingRunBlockers(state),
        ...runningBlockers(state, request),
        ...(request.ignoreRunning === true ? [] : running.blockers),
      ],
      warnings: runningWarnings(state, request),
    },
  };
}

/** Of those whose schedule nothing tells any more; a paused one does not begin, and one without a schedule has none. */
function startsAgain(dags: readonly TargetDag[], forgotten: ReadonlySet<string>): readonly string[] {
  return dags.filter(({ dagId, paused }) => !paused && forgotten.has(dagId)).map(({ dagId }) => dagId);
}

interface FoundRuns {
  readonly dags: readonly RestCleanupDag[];
  readonly keeps: RestCleanupPlan['keeps'];
  readonly ends: number;
  /** Labels of those runs that the user keeps, and that are there. */
  readonly named: ReadonlySet<string>;
  /** DAGs of which no run is left that tells where the schedule stands. */
  readonly forgotten: ReadonlySet<string>;
  readonly fateOf: PlannedCleanup['fateOf'];
  /** Whether a run survives. */
  readonly stays: (run: RunName) => boolean;
}

interface DagCount {
  deletes: number;
  keeps: number;
  /** The newest run of the schedule, and what becomes of it by itself. */
  newest?: TargetRun & { readonly fate: 'delete' | 'end' | undefined };
}

async function lookAtRuns(
  ctx: EngineContext,
  request: RestCleanupRequest,
  carriers: ReadonlySet<string>,
  gaps: Gaps,
): Promise<FoundRuns> {
  const { client, catchup } = request;
  const keeper = createKeeper(request, carriers);
  const kept = createKept();
  const named = new Set<string>();
  const byDag = new Map<string, DagCount>();
  const fates = { delete: createKeySet(), end: createKeySet() };
  let ends = 0;
  const listing = listOfRuns(client.dialect, (after) => {
    gaps.row('dag_run', after === undefined ? 'the first' : `the one after ${runLabel(toRun(after))}`, FAILS);
  });
  for await (const { rows } of pages(client, listing)) {
    ctx.signal.throwIfAborted();
    for (const run of rows.map(toRun)) {
      const count = byDag.get(run.dagId) ?? { deletes: 0, keeps: 0 };
      byDag.set(run.dagId, count);
      const because = keeper(run);
      if (because !== undefined) kept.add(because, runLabel(run));
      if (because === 'named') named.add(runLabel(run));
      const fate = because === undefined ? fateOfRun(client, run, gaps) : undefined;
      if (fate !== undefined) fates[fate].add(run.dagId, run.runId);
      if (fate === 'end') ends += 1;
      count[fate === undefined ? 'keeps' : 'deletes'] += 1;
      const { scheduledFor } = run;
      if (scheduledFor !== null && scheduledFor >= (count.newest?.scheduledFor ?? -Infinity)) {
        count.newest = { ...run, fate };
      }
    }
  }
  const forgotten = new Set<string>();
  const anchors = new Set<string>();
  for (const [dagId, count] of byDag) {
    const { newest } = count;
    if (newest?.fate === undefined) continue;
    if (catchup === 'start') {
      forgotten.add(dagId);
      continue;
    }
    anchors.add(runLabel(newest));
    kept.add('schedule', runLabel(newest));
    if (newest.fate === 'end') ends -= 1;
    count.deletes -= 1;
    count.keeps += 1;
  }
  const fateOf = plannedFate(fates, anchors);
  return {
    dags: [...byDag].map(([dagId, { deletes, keeps }]) => ({ dagId, deletes, keeps })),
    keeps: kept.list(),
    ends,
    named,
    forgotten,
    fateOf,
    stays: ({ dagId, runId }) => fateOf({ dagId, runId }) === undefined,
  };
}

function plannedFate(
  fates: Readonly<Record<'delete' | 'end', KeySet>>,
  anchors: ReadonlySet<string>,
): (run: RunName) => 'delete' | 'end' | undefined {
  return (run) => {
    if (anchors.has(runLabel(run))) return undefined;
    if (fates.end.has(run.dagId, run.runId)) return 'end';
    return fates.delete.has(run.dagId, run.runId) ? 'delete' : undefined;
  };
}

/** Undefined: no request gets there. */
function fateOfRun(client: RestClient, run: TargetRun, gaps: Gaps): 'delete' | 'end' | undefined {
  const path = pathOfRun(run);
  if (client.offers('bulkRuns') || fits(client, path)) return run.ended ? 'delete' : 'end';
  gaps.row('dag_run', runLabel(run), noWayTo(client, path) ?? '');
  return undefined;
}
