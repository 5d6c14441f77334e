import type { RestHistoryResult } from './api.ts';
import { createGaps, type Gaps } from '../rest/gaps.ts';
import {
  type HistoryRun,
  type HistoryStep,
  historySteps,
  type HistoryWish,
  type PlannedHistory,
} from './history.ts';
import { FOLLOWS, type MarkedRun, markRun } from './mark-run.ts';
import { byState } from './plan-runs.ts';
import { isRefusal, notWaitingFor500 } from './refusal.ts';
import { pauseAll, type RunsWork } from './restore-runs.ts';
import { nameOf, readNotes, type StoredTask, toTask } from './unfinished.ts';

/** So many runs are in memory at once, with those of their tasks that need it; each time the backup's tasks are read through. */
const BATCH_STEPS = 20;
/** Runs that are made beside each other. */
const HANDS = 4;
/** Airflow's words are told for so many; the others are counted. */
const MOST_TOLD = 100;

const TAKEN = 'another run of the target has its logical date (409)';
const OTHERS = 'the target has a run of its own under this name, and keeps it';

interface Marking {
  readonly work: RunsWork;
  readonly wish: HistoryWish;
  readonly counts: { made: number; before: number; tasksSet: number; tasksDifferent: number };
  readonly gaps: Gaps;
  readonly onRun: () => void;
}

/**
 * Makes finished runs again as runs in their final state, their DAGs paused. An interrupted try goes on with the step that
 * it was in: runs of ours are known by their notes.
 */
export async function markHistory(
  work: RunsWork,
  { wish, dagIds, gone }: PlannedHistory,
  onRun: () => void,
): Promise<RestHistoryResult> {
  const counts = { made: 0, before: 0, tasksSet: 0, tasksDifferent: 0 };
  const marking: Marking = { work, wish, counts, gaps: createGaps(), onRun };
  const paused = new Set(await pauseAll(work, dagIds));
  let batch: HistoryStep[] = [];
  const ignored = { row: (): void => undefined };
  for await (const step of historySteps(wish, ignored.row, ignored)) {
    if (work.journal.get(step.name)?.state === 'done' && !gone.has(step.name)) {
      counts.before += step.runs.length;
      continue;
    }
    batch.push(step);
    if (batch.length < BATCH_STEPS) continue;
    await markBatch(marking, batch, paused);
    batch = [];
  }
  await markBatch(marking, batch, paused);
  return { ...counts, notMarked: marking.gaps.list() };
}

async function markBatch(
  marking: Marking,
  steps: readonly HistoryStep[],
  paused: ReadonlySet<string>,
): Promise<void> {
  if (steps.length === 0) return;
  const { work, wish } = marking;
  const runs = new Map(steps.flatMap((step) => step.runs.map((one) => [nameOf(one.record), one] as const)));
  const records = new Map([...runs].map(([name, { record }]) => [name, record]));
  const notes = await readNotes(wish.reader, records);
  const tasks = await otherTasks(marking, runs);
  for (const { name, runs: own } of steps) {
    work.ctx.signal.throwIfAborted();
    const begun = work.journal.get(name) !== undefined;
    const item = `${own.length} finished runs`;
    await work.journal.write(name, { state: 'begun', item });
    const unfinished: string[] = [];
    await withHands(own, async (one) => {
      const { record, run } = one;
      const noted = { ...one, run: { ...run, note: run.note ?? notes.get(record.id ?? '') ?? null } };
      const isDone =
        paused.has(run.dagId) && (await markOne(marking, noted, tasks.get(nameOf(record)) ?? [], begun));
      if (!isDone) unfinished.push(run.runId);
    });
    if (unfinished.length === 0) await work.journal.write(name, { state: 'done', item });
  }
}

/** Tasks of these runs whose states are not those that follow from their run's. */
async function otherTasks(
  { wish }: Marking,
  runs: ReadonlyMap<string, HistoryRun>,
): Promise<ReadonlyMap<string, readonly StoredTask[]>> {
  const isV1 = wish.client.dialect.api === 'v1';
  const found = new Map<string, StoredTask[]>();
  for await (const record of wish.reader.records('task_instance')) {
    const run = runs.get(nameOf(record));
    if (run === undefined || (record.state ?? null) === null) continue;
    // v1 leaves the tasks of a failed run without a state.
    const follows = isV1 && run.state === 'failed' ? undefined : FOLLOWS[run.state];
    if (record.state === follows) continue;
    const list = found.get(nameOf(record));
    if (list === undefined) found.set(nameOf(record), [toTask(record)]);
    else list.push(toTask(record));
  }
  for (const list of found.values()) list.sort(byState);
  return found;
}

/** Whether nothing of it is left to be done. */
async function markOne(
  { work, counts, gaps, onRun }: Marking,
  one: HistoryRun,
  tasks: readonly StoredTask[],
  begun: boolean,
): Promise<boolean> {
  const { ctx, client, backupId, refused } = work;
  ctx.signal.throwIfAborted();
  const name = `${one.run.dagId}/${one.run.runId}`;
  let marked: MarkedRun;
  try {
    marked = await markRun(notWaitingFor500(client), one, tasks, { backupId, begun });
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown;
    gaps.row('dag_run', name, `Airflow did not take it (${thrown.status})`);
    if (refused.length < MOST_TOLD) refused.push({ table: 'dag_run', name, message: thrown.message });
    return false;
  }
  onRun();
  const { end, tasksSet, tasksDifferent } = marked;
  if (end === 'taken' || end === 'others') gaps.row('dag_run', name, end === 'taken' ? TAKEN : OTHERS);
  else counts[end] += 1;
  counts.tasksSet += tasksSet;
  counts.tasksDifferent += tasksDifferent;
  return end === 'made' || end === 'before';
}

/** Each with the next free hand; returns when all of them rest, also after a failure. */
async function withHands<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = items.values();
  const failures: unknown[] = [];
  const hand = async (): Promise<void> => {
    for (const item of queue) {
      if (failures.length > 0) return;
      await work(item).catch((thrown: unknown) => failures.push(thrown));
    }
  };
  await Promise.all(Array.from({ length: HANDS }, hand));
  if (failures.length > 0) throw failures[0];
}
