import { sendBulk } from '../../rest/bulk.ts';
import type { RestClient } from '../../rest/client.ts';
import { deleteOne, fits } from '../../rest/one.ts';
import { createPager } from '../../rest/pager.ts';
import type { EngineContext } from '../api.ts';
import { createKeySet } from '../import/key-set.ts';
import { runLabel } from '../live-rows.ts';
import { together } from '../rest/reading.ts';
import type { Refusal } from '../rest-restore/api.ts';
import { isRefusal, notWaitingFor500 } from '../rest-restore/refusal.ts';
import type { PlannedCleanup } from './plan.ts';
import { listOfRuns, pathOfRun, type TargetRun, toRun } from './runs.ts';

export interface RunsDeleted {
  readonly runs: number;
  readonly ended: number;
  readonly begunAgainRuns: number;
  readonly begunAgain: readonly string[];
  readonly refused: readonly Refusal[];
  readonly refusedRuns: number;
}

/** Runs of one request where many may be named in one: each takes its tasks and what hangs on them with it. */
const CHUNK = 20;
const MOST_REFUSALS = 1_000;
const MOST_NAMES = 100;

interface Tally {
  runs: number;
  ended: number;
  refusedRuns: number;
  begunAgainRuns: number;
  readonly begunAgain: string[];
  readonly refused: Refusal[];
}

interface Work {
  readonly ctx: EngineContext;
  readonly client: RestClient;
  readonly planned: Pick<PlannedCleanup, 'fateOf'>;
  readonly tally: Tally;
  readonly onDeleted: (runs: number) => void;
  /** Those that had their turn: one that is listed all the same is not tried for ever. */
  readonly tried: ReturnType<typeof createKeySet>;
}

/**
 * Deletes the planned runs, page by page from the front: what is deleted moves the others forward, and what stays is stepped
 * over. Where somebody else deletes meanwhile, a page begins too late; so it is gone through again until a whole turn
 * finds nothing more to do.
 */
export async function deleteRuns(
  ctx: EngineContext,
  client: RestClient,
  planned: Work['planned'],
  onDeleted: (runs: number) => void,
): Promise<RunsDeleted> {
  const tally: Tally = { runs: 0, ended: 0, refusedRuns: 0, begunAgainRuns: 0, begunAgain: [], refused: [] };
  const work: Work = {
    ctx,
    client: notWaitingFor500(client),
    planned,
    tally,
    onDeleted,
    tried: createKeySet(),
  };
  for (;;) {
    const before = tally.runs;
    await turn(work);
    if (tally.runs === before) return tally;
  }
}

async function turn(work: Work): Promise<void> {
  const { ctx, client } = work;
  // Told in the plan already.
  const pager = createPager(
    client,
    listOfRuns(client.dialect, () => undefined),
  );
  let stay = 0;
  for (;;) {
    ctx.signal.throwIfAborted();
    const { rows, unreadable } = await pager.fetch(stay);
    if (unreadable) stay += 1;
    else if (rows.length === 0) return;
    const wanted = rows.map(toRun).filter((run) => isWanted(work, run));
    for (const run of wanted) work.tried.add(run.dagId, run.runId);
    const deleted = await deleteSome(work, wanted);
    work.onDeleted(deleted);
    stay += rows.length - deleted;
  }
}

function isWanted({ planned, tried, tally }: Work, run: TargetRun): boolean {
  const fate = planned.fateOf(run);
  if (fate === undefined || tried.has(run.dagId, run.runId)) return false;
  if (run.ended || fate === 'end') return true;
  tried.add(run.dagId, run.runId);
  tally.begunAgainRuns += 1;
  if (tally.begunAgain.length < MOST_NAMES) tally.begunAgain.push(runLabel(run));
  return false;
}

/** @returns how many of them are not there any more */
async function deleteSome(work: Work, runs: readonly TargetRun[]): Promise<number> {
  const { client } = work;
  const size = client.offers('bulkRuns') ? CHUNK : 1;
  const chunks = Array.from({ length: Math.ceil(runs.length / size) }, (_, at) =>
    runs.slice(at * size, (at + 1) * size),
  );
  const counts = await together(chunks, async (chunk) => {
    work.ctx.signal.throwIfAborted();
    for (const run of chunk.filter(({ ended }) => !ended)) await end(work, run);
    return client.offers('bulkRuns') ? deleteMany(work, chunk) : deleteEach(work, chunk);
  });
  return counts.reduce((sum, count) => sum + count, 0);
}

/** 3.2 and later delete no run that is running; and the tasks of one that can be deleted should stop. */
async function end({ client, tally }: Work, run: TargetRun): Promise<void> {
  const { dagId, runId } = run;
  try {
    if (fits(client, pathOfRun(run))) {
      await client.send({ method: 'PATCH', path: pathOfRun(run), body: { state: 'failed' } });
    } else {
      const { errors } = await sendBulk(client, RUNS, [
        {
          action: 'update',
          entities: [{ dag_id: dagId, dag_run_id: runId, state: 'failed' }],
          action_on_non_existence: 'skip',
        },
      ]);
      if (errors.length > 0) return;
    }
    tally.ended += 1;
  } catch (thrown) {
    // Its DAG may not be parsed any more. Whether that keeps the run from being deleted, is seen then.
    if (!isRefusal(thrown)) throw thrown;
  }
}

const RUNS = '/dags/~/dagRuns';

async function deleteMany(work: Work, runs: readonly TargetRun[]): Promise<number> {
  const { client, tally } = work;
  const entities = runs.map(({ dagId, runId }) => ({ dag_id: dagId, dag_run_id: runId }));
  try {
    const { done, errors } = await sendBulk(client, RUNS, [
      { action: 'delete', entities, action_on_non_existence: 'skip' },
    ]);
    tally.runs += done.delete.length;
    const deleted = new Set(done.delete);
    let stay = 0;
    for (const run of runs.filter(({ dagId, runId }) => !deleted.has(`${dagId}.${runId}`))) {
      // Its words name it. Without any it was gone before.
      const error = errors.find(
        ({ message }) => message.includes(`\`${run.dagId}\``) && message.includes(`\`${run.runId}\``),
      );
      if (error === undefined) continue;
      stay += 1;
      refuse(tally, run, error.message);
    }
    return runs.length - stay;
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown;
    return deleteEach(work, runs);
  }
}

async function deleteEach({ client, tally }: Work, runs: readonly TargetRun[]): Promise<number> {
  let count = 0;
  for (const run of runs) {
    try {
      if (await deleteOne(client, pathOfRun(run))) tally.runs += 1;
      count += 1;
    } catch (thrown) {
      if (!isRefusal(thrown)) throw thrown;
      refuse(tally, run, thrown.message);
    }
  }
  return count;
}

function refuse(tally: Tally, run: TargetRun, message: string): void {
  tally.refusedRuns += 1;
  if (tally.refused.length >= MOST_REFUSALS) return;
  tally.refused.push({ table: 'dag_run', name: runLabel(run), message });
}
