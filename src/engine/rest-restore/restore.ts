import type { EngineContext } from '../api.ts';
import { resolveBackup } from '../catalog.ts';
import type { Manifest } from '../manifest.ts';
import { createProgress } from '../progress.ts';
import { notConfirmed, refuseBlocked } from '../restore-plan.ts';
import { checkParts } from '../verify-parts.ts';
import type {
  Refusal,
  RestHistoryResult,
  RestRestoreRequest,
  RestRestoreResult,
  RestRunsResult,
  RestSettingsResult,
} from './api.ts';
import { stepName } from './journal.ts';
import { whileLocked } from './lock.ts';
import { setPauseStates } from './pause-states.ts';
import { type PlannedRestRestore, planRestRestore } from './plan.ts';
import type { PlannedSettings } from './plan-settings.ts';
import { markHistory } from './restore-history.ts';
import { restoreQueued } from './restore-queued.ts';
import { restoreRuns, type RunsWork } from './restore-runs.ts';
import { writeSettings } from './write-settings.ts';

type Refusals = Refusal[];

/**
 * Brings into an Airflow, through its REST API alone, what that lets in: pools, variables, connections and pause states.
 * Nothing of it is atomic. Whatever ends it, the same command goes on from there: each step looks at what the target has,
 * and one that was done already changes nothing.
 *
 * @throws LifeboatError: not-found, integrity, refused, interrupted or failed
 */
export async function restoreThroughRest(
  ctx: EngineContext,
  request: RestRestoreRequest,
): Promise<RestRestoreResult> {
  const started = ctx.now().getTime();
  const { client } = request;
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  ctx.report({
    event: 'phase',
    phase: 'check',
    message: `Checking ${manifest.totals.parts} parts of backup ${backupId}`,
  });
  await checkParts(ctx, manifest, { countRows: false });
  const work = (locked: EngineContext): Promise<RestRestoreResult> =>
    restoreChecked(locked, request, manifest, started);
  // Before the plan: what a restore under way has paused would be taken for the state that it was in.
  return request.dryRun ? work(ctx) : whileLocked(ctx, client.name, work);
}

async function restoreChecked(
  ctx: EngineContext,
  request: RestRestoreRequest,
  manifest: Manifest,
  started: number,
): Promise<RestRestoreResult> {
  const { client } = request;
  const { backupId } = manifest;
  const planned = await planRestRestore(ctx, request, manifest);
  const { plan, settings } = planned;
  ctx.report({ event: 'plan', plan });
  refuseBlocked(plan.blockers);
  if (request.dryRun) return { backupId, plan, requests: client.requests() };
  if (!(await request.confirm(plan))) throw notConfirmed(`restore into ${client.name}`);

  const refused: Refusals = [];
  const written = await writeAll(ctx, request, settings, refused);
  const work: RunsWork = {
    ctx,
    client,
    journal: planned.journal,
    backupId,
    policy: request.inFlight ?? 'resume',
    dags: planned.before,
    refused,
  };
  const runs = await makeRuns(work, planned);
  const history = await makeHistory(work, planned);
  const final = finalStates(planned);
  const states = await setPauseStates(ctx, client, final, refused);
  const settled = [...states.paused, ...states.unpaused, ...final.stay];
  await planned.journal.forget(settled.map((dagId) => stepName('dag', dagId)));
  const events = await restoreQueued(work, planned.queued);
  const seconds = (ctx.now().getTime() - started) / 1000;
  return {
    backupId,
    plan,
    requests: client.requests(),
    restored: {
      settings: written,
      runs,
      history,
      events,
      paused: states.paused,
      unpaused: states.unpaused,
      refused,
      seconds,
    },
  };
}

async function writeAll(
  ctx: EngineContext,
  { client }: RestRestoreRequest,
  planned: readonly PlannedSettings[],
  refused: Refusals,
): Promise<readonly RestSettingsResult[]> {
  const totalRows = planned.reduce((sum, { add, replace }) => sum + add.length + replace.length, 0);
  if (totalRows > 0) {
    ctx.report({ event: 'phase', phase: 'load', message: `Writing ${totalRows} settings through the API` });
  }
  const progress = createProgress(ctx, 'load', { totalRows });
  const results: RestSettingsResult[] = [];
  for (const { spec, plan, keptDifferent, ...wishes } of planned) {
    const begun = ctx.now().getTime();
    const written = await writeSettings(ctx, client, spec, wishes, (rows) => {
      progress.add(spec.table, rows, 0);
    });
    const rows = written.added.length + written.replaced.length;
    const seconds = (ctx.now().getTime() - begun) / 1000;
    if (rows > 0) ctx.report({ event: 'table', phase: 'load', table: spec.table, rows, bytes: 0, seconds });
    refused.push(...written.refused.map((one) => ({ table: spec.table, ...one })));
    results.push({ table: spec.table, same: plan.same, keptDifferent, ...written });
  }
  progress.end();
  return results;
}

async function makeRuns(work: RunsWork, { plan, runs }: PlannedRestRestore): Promise<RestRunsResult | null> {
  const { ctx } = work;
  if (plan.runs === null) return null;
  if (runs.length > 0) {
    ctx.report({ event: 'phase', phase: 'load', message: `Making ${runs.length} unfinished runs again` });
  }
  const progress = createProgress(ctx, 'load', { totalRows: runs.length });
  const result = await restoreRuns(work, runs, () => {
    progress.add('dag_run', 1, 0);
  });
  progress.end();
  return result;
}

async function makeHistory(
  work: RunsWork,
  { history }: PlannedRestRestore,
): Promise<RestHistoryResult | null> {
  const { ctx } = work;
  if (history === null) return null;
  const { plan } = history;
  if (plan.marks > 0) {
    ctx.report({ event: 'phase', phase: 'load', message: `Making ${plan.marks} finished runs again` });
  }
  const progress = createProgress(ctx, 'load', { totalRows: plan.marks });
  const result = await markHistory(work, history, () => {
    progress.add('dag_run', 1, 0);
  });
  progress.end();
  return result;
}

interface FinalStates {
  readonly pause: readonly string[];
  readonly unpause: readonly string[];
  /** Of DAGs that this restore has paused, those that stay so. */
  readonly stay: readonly string[];
}

/** As the plan has it; a DAG of which it says nothing gets back the state that it had before its runs were made. */
function finalStates({ dags, before, journal }: PlannedRestRestore): FinalStates {
  const { pause = [], unpause = [], held = [] } = dags ?? {};
  const known = new Set([...pause, ...unpause, ...held.map(({ dagId }) => dagId)]);
  const touched = journal.list('dag').map(({ item }) => item);
  const back = touched.filter((dagId) => !known.has(dagId) && before.get(dagId)?.paused === false);
  const stay = touched.filter((dagId) => ![...back, ...pause, ...unpause].includes(dagId));
  return { pause, unpause: [...unpause, ...back], stay };
}
