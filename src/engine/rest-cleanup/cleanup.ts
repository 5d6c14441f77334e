import type { EngineContext } from '../api.ts';
import { createProgress } from '../progress.ts';
import { notConfirmed, refuseBlocked } from '../restore-plan.ts';
import type { Refusal } from '../rest-restore/api.ts';
import { whileLocked } from '../rest-restore/lock.ts';
import { runningBlockers } from '../running-tasks.ts';
import type { RestCleanupRequest, RestCleanupResult } from './api.ts';
import { deleteRuns } from './delete-runs.ts';
import { planRestCleanup } from './plan.ts';
import { deleteQueued } from './queued.ts';
import { findRunning } from './running.ts';

/**
 * Deletes the history of an Airflow through its REST API alone, as far as that lets it: runs, with all that hangs on them,
 * and events that DAGs wait with. Variables, connections, pools, DAGs and assets stay, and so do runs under way that carry
 * backups or restores. Not atomic: whatever ends it, the same command goes on from there.
 *
 * @throws LifeboatError: refused, locked, interrupted or failed
 */
export async function cleanupThroughRest(
  ctx: EngineContext,
  request: RestCleanupRequest,
): Promise<RestCleanupResult> {
  const work = (locked: EngineContext): Promise<RestCleanupResult> => cleanUp(locked, request);
  return request.lock && !request.dryRun ? whileLocked(ctx, request.client.name, work) : work(ctx);
}

async function cleanUp(ctx: EngineContext, request: RestCleanupRequest): Promise<RestCleanupResult> {
  const { client } = request;
  const planned = await planRestCleanup(ctx, request);
  const { plan } = planned;
  ctx.report({ event: 'plan', plan });
  refuseBlocked(plan.blockers);
  if (request.dryRun) return { plan, requests: client.requests() };
  if (!(await request.confirm(plan))) throw notConfirmed(`cleanup of ${client.name}`);

  const started = ctx.now().getTime();
  // Somebody may have thought about it for an hour.
  const { tasks } = await findRunning(client, (run) => planned.fateOf(run) === undefined);
  refuseBlocked(runningBlockers({ facts: { name: client.name }, runningTasks: tasks }, request));
  ctx.report({ event: 'phase', phase: 'clean', message: 'Deleting the history of the target' });
  const progress = createProgress(ctx, 'clean', { totalRows: plan.deletes });
  const refused: Refusal[] = [];
  const queuedEvents = await deleteQueued(client, planned.queued, refused);
  const runs = await deleteRuns(ctx, client, planned, (rows) => {
    progress.add('dag_run', rows, 0);
  });
  progress.end();
  const seconds = (ctx.now().getTime() - started) / 1000;
  ctx.report({ event: 'table', phase: 'clean', table: 'dag_run', rows: runs.runs, bytes: 0, seconds });
  return {
    plan,
    requests: client.requests(),
    cleaned: {
      ...runs,
      gone: plan.deletes - runs.runs - runs.refusedRuns - runs.begunAgainRuns,
      refused: [...refused, ...runs.refused],
      queuedEvents,
      seconds,
    },
  };
}
