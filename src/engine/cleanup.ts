import { LifeboatError } from '../errors.ts';
import type { CleanupRequest, CleanupResult, EngineContext } from './api.ts';
import { cleanLocks, cleanTables, planClean } from './clean-tables.ts';
import { commitSurely } from './commit.ts';
import { deleteStaleRows, noteStaleRows } from './live-jobs.ts';
import { missingRunBlockers, runLabel } from './live-rows.ts';
import { lockEnvironment, lockTables } from './locks.ts';
import type { CleanupPlan } from './plans.ts';
import { outsideBlockers, refuseBlocked } from './restore-plan.ts';
import { runningBlockers, runningWarnings } from './running-tasks.ts';
import { beginReading, beginWork, withSession } from './session.ts';
import { readTargetState } from './target-state.ts';
import type { TargetState } from './target-state.ts';

/**
 * Deletes the history of an environment, as `restore --clean` does: runs, tasks, XComs, logs and what hangs on them.
 * Variables, connections, pools, DAGs, log templates, datasets, users and live rows stay.
 *
 * @throws LifeboatError: unsupported (before anything is deleted), refused, locked, interrupted or failed
 */
export async function cleanup(ctx: EngineContext, request: CleanupRequest): Promise<CleanupResult> {
  const { environment } = request;
  const seen = await withSession(
    ctx,
    environment,
    { purpose: 'cleanup preflight', begin: beginReading },
    (client) => readTargetState(client, environment, request),
  );
  const plan = planCleanup(seen, request);
  ctx.report({ event: 'plan', plan });
  refuseBlocked(plan.blockers);
  if (request.dryRun) return { plan };
  if (!(await request.confirm(plan))) {
    throw new LifeboatError(
      'refused',
      `Nothing was deleted: the cleanup of ${plan.target.name} was not confirmed.`,
      {
        next: 'Look at the plan (--dry-run), then confirm it, or give --yes.',
      },
    );
  }
  return withSession(ctx, environment, { purpose: 'cleanup', begin: beginWork }, async (client) => {
    await lockEnvironment(client, plan.target.name);
    const clean = planClean(seen, seen.tables);
    const locks = await lockTables(ctx, client, environment.schema, cleanLocks(clean));
    // Under the locks nothing moves any more: a migration or a task begun since the plan was made must still be refused.
    const state = await readTargetState(client, environment, request);
    refuseBlocked(planCleanup(state, request).blockers);
    ctx.report({ event: 'phase', phase: 'clean', message: 'Deleting the history of the target' });
    const deleted = await cleanTables(client, state, clean);
    await noteStaleRows(client, state, clean.last);
    const stale = await deleteStaleRows(client, state, clean.last);
    await commitSurely(ctx, client, environment);
    return {
      plan,
      locks: locks.measure(),
      deleted: Object.fromEntries([...deleted, ...stale].sort(([a], [b]) => a.localeCompare(b))),
    };
  });
}

/** Pure: what cleanup deletes and what it leaves alone. */
function planCleanup(state: TargetState, request: CleanupRequest): CleanupPlan {
  const history = state.tables.filter((table) => table.restore.kind === 'history');
  const cleaned = new Set(history.map((table) => table.name));
  return {
    kind: 'cleanup',
    target: state.facts,
    tables: history.map((table) => {
      const count = state.counts.get(table.name) ?? { rows: 0, live: 0 };
      return { table: table.name, deletes: count.rows - count.live, keeps: count.live };
    }),
    untouched: [...state.live.tables.keys()].filter((table) => !cleaned.has(table)),
    keepRuns: state.liveRuns.map(runLabel),
    blockers: [
      ...missingRunBlockers(state),
      ...outsideBlockers(state, cleaned),
      ...runningBlockers(state, request),
    ],
    warnings: runningWarnings(state, request),
  };
}
