import type { RestClient } from '../../rest/client.ts';
import { createDagRuns } from '../../rest/dag-runs.ts';
import { createDags } from '../../rest/dags.ts';
import { isRestError } from '../../rest/errors.ts';
import type { EngineContext } from '../api.ts';
import type { InFlightPolicy } from '../plans.ts';
import type { Refusal, RestRunsResult } from './api.ts';
import { type Journal, stepName } from './journal.ts';
import { fillRun, noteRun, postRun } from './make-run.ts';
import type { PlannedRun } from './plan-runs.ts';
import { isRefusal, notWaitingFor500, unlessRefused } from './refusal.ts';
import type { TargetDag } from './target.ts';

export interface RunsWork {
  readonly ctx: EngineContext;
  readonly client: RestClient;
  readonly journal: Journal;
  readonly backupId: string;
  readonly policy: InFlightPolicy;
  /** As they were before this restore, and its earlier tries, paused any. */
  readonly dags: ReadonlyMap<string, TargetDag>;
  readonly refused: Refusal[];
}

/** How DAGs stood before an earlier try of this restore paused them. */
export function asBefore(
  dags: ReadonlyMap<string, TargetDag>,
  journal: Journal,
): ReadonlyMap<string, TargetDag> {
  return new Map(
    [...dags].map(([dagId, dag]) => {
      const entry = journal.get(stepName('dag', dagId));
      return [dagId, entry === undefined ? dag : { ...dag, paused: entry.paused !== false }];
    }),
  );
}

/**
 * Makes unfinished runs again, each whole before the next: its DAG paused, the run, its XComs, the states of what had
 * ended. A run that an earlier try has begun is gone on with; one that it has made is left alone, whatever became of it.
 * The DAGs stay paused.
 */
export async function restoreRuns(
  work: RunsWork,
  planned: readonly PlannedRun[],
  onRun: () => void,
): Promise<RestRunsResult> {
  const { ctx, refused } = work;
  const result = { made: [] as string[], before: [] as string[], others: [] as string[] };
  const counts = { tasksSet: 0, xcomsWritten: 0 };
  const again: string[] = [];
  const problems: string[] = [];
  const waiting: PlannedRun[] = [];
  for (const one of planned) {
    ctx.signal.throwIfAborted();
    const label = `${one.run.dagId}/${one.runId}`;
    const found = await lookFor(work, one);
    if (found === 'wanted') waiting.push(one);
    else result[found].push(label);
  }
  const pausedDags = await pauseAll(work, [...new Set(waiting.map(({ run }) => run.dagId))]);
  for (const one of waiting) {
    const { run, runId } = one;
    if (!pausedDags.includes(run.dagId)) continue;
    ctx.signal.throwIfAborted();
    await unlessRefused(refused, { table: 'dag_run', name: `${run.dagId}/${run.runId}` }, async () => {
      const done = await restoreRun(work, one);
      result.made.push(`${run.dagId}/${runId}`);
      counts.tasksSet += done.tasksSet;
      counts.xcomsWritten += done.xcomsWritten;
      again.push(...done.again);
      problems.push(...done.problems);
      onRun();
    });
  }
  return { ...result, ...counts, again, problems };
}

/** before: made by an earlier try · others: one of this name is there that no restore of this backup has made. */
async function lookFor(
  { client, journal }: RunsWork,
  { run, runId }: PlannedRun,
): Promise<'wanted' | 'before' | 'others'> {
  const entry = journal.get(stepOf(run.dagId, run.runId));
  const there = await createDagRuns(client).get(run.dagId, runId);
  if (there === undefined) return 'wanted';
  if (entry === undefined) return 'others';
  return entry.state === 'done' ? 'before' : 'wanted';
}

function stepOf(dagId: string, runId: string): string {
  return stepName('run', dagId, runId);
}

/** Those that are paused now; what the journal says of a DAG is how it was before the first try. */
async function pauseAll(
  { ctx, client, journal, dags, refused }: RunsWork,
  dagIds: readonly string[],
): Promise<readonly string[]> {
  const target = createDags(notWaitingFor500(client));
  const done: string[] = [];
  for (const dagId of dagIds) {
    ctx.signal.throwIfAborted();
    const step = stepName('dag', dagId);
    const paused = dags.get(dagId)?.paused ?? true;
    await unlessRefused(refused, { table: 'dag', name: dagId }, async () => {
      if (journal.get(step) === undefined) await journal.write(step, { state: 'begun', item: dagId, paused });
      await target.setPaused(dagId, true);
      done.push(dagId);
    });
  }
  return done;
}

async function restoreRun(work: RunsWork, planned: PlannedRun): ReturnType<typeof fillRun> {
  const { journal, backupId, policy } = work;
  const client = notWaitingFor500(work.client);
  const { run, runId } = planned;
  const step = stepOf(run.dagId, run.runId);
  const item = `${run.dagId}/${run.runId}`;
  // Before the request: should its answer be lost, the run is known for ours all the same.
  await journal.write(step, { state: 'begun', item, runId });
  const runs = createDagRuns(client);
  if ((await runs.get(run.dagId, runId)) === undefined) {
    try {
      await postRun(client, planned, backupId);
    } catch (thrown) {
      // Refused: there is none of ours, and one that comes there later is none either.
      if (
        isRefusal(thrown) &&
        !(isRestError(thrown, 500) || (await runs.get(run.dagId, runId)) !== undefined)
      ) {
        await journal.forget([step]);
      }
      throw thrown;
    }
  }
  await noteRun(client, planned, backupId);
  const made = await fillRun(client, planned);
  if (policy === 'fail') await runs.patch(run.dagId, runId, { state: 'failed' });
  await journal.write(step, { state: 'done', item, runId, ...made });
  return made;
}
