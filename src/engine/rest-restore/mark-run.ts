import type { RestClient } from '../../rest/client.ts';
import { createDagRuns } from '../../rest/dag-runs.ts';
import { isRestError } from '../../rest/errors.ts';
import { fits } from '../../rest/one.ts';
import type { HistoryRun } from './history.ts';
import { noteOf, postRun, tasksOf } from './make-run.ts';
import { taskPath } from './plan-runs.ts';
import { isRefusal } from './refusal.ts';
import type { StoredTask } from './unfinished.ts';

export interface MarkedRun {
  /** others: the target has a run of this name that is none of ours · taken: another one has its logical date. */
  readonly end: 'made' | 'before' | 'others' | 'taken';
  readonly tasksSet: number;
  /** Tasks that are not as they were. */
  readonly tasksDifferent: number;
}

/** What Airflow makes of all tasks of a run that is set to this. */
export const FOLLOWS = { success: 'success', failed: 'skipped' } as const;

/**
 * Makes a finished run again and ends it at once: the scheduler never has it to run. Its tasks follow its state; those that
 * had another one are set then, the failed ones last.
 *
 * @param tasks those of the backup whose state is another than FOLLOWS has it
 * @param begun an earlier try has begun with it, or with its neighbours
 */
export async function markRun(
  client: RestClient,
  one: HistoryRun,
  tasks: readonly StoredTask[],
  { backupId, begun }: { readonly backupId: string; readonly begun: boolean },
): Promise<MarkedRun> {
  const runs = createDagRuns(client);
  const { run, runId, state } = one;
  const nothing = { tasksSet: 0, tasksDifferent: 0 };
  const note = noteOf(run.note, run.runId, backupId, endText(one));
  let is: string | undefined;
  try {
    await postRun(client, one, backupId, endText(one));
  } catch (thrown) {
    if (!isRestError(thrown, 409)) throw thrown;
    const there = await runs.get(run.dagId, runId);
    if (there === undefined) return { end: 'taken', ...nothing };
    const isNoted = (there.note ?? '').endsWith(note.slice(note.lastIndexOf('\n') + 1));
    // 2.5 gets its note with its state: a try may have been interrupted in between.
    const isBegun = begun && !client.offers('noteOfNewRun') && (there.note ?? '') === '';
    if (!isNoted && !isBegun) return { end: 'others', ...nothing };
    is = there.state;
  }
  const before = is === state;
  const end = async (): Promise<void> => {
    const change = { state, ...(client.offers('noteOfNewRun') ? {} : { note }) };
    is = (await runs.patch(run.dagId, runId, change)).state;
  };
  if (!before) await end();
  if (is !== state) {
    // Teardowns that have not run keep it open, since 3.0.
    await setTasks(client, one, await openTasks(client, one));
    await end();
  }
  // Setting what is so already would clear what failed behind it.
  let set = await setTasks(client, one, before ? await notYet(client, one, tasks) : tasks);
  const isOpen = async (): Promise<boolean> => (await runs.get(run.dagId, runId))?.state !== state;
  // Of a failure that is set Airflow clears what failed behind it, and lets the run wait again.
  if (tasks.some((task) => task.state === 'failed') && (await isOpen())) {
    await end();
    const more = await setTasks(client, one, await notYet(client, one, tasks));
    set = { ...more, tasksSet: set.tasksSet + more.tasksSet };
    if (await isOpen()) await end();
  }
  return { end: before ? 'before' : 'made', ...set };
}

function endText({ state, endDate }: HistoryRun): string {
  return `, ended as ${state}${endDate === null ? '' : ` at ${endDate}`}`;
}

async function setTasks(
  client: RestClient,
  { run, runId }: HistoryRun,
  tasks: readonly StoredTask[],
): Promise<Omit<MarkedRun, 'end'>> {
  let tasksSet = 0;
  let tasksDifferent = 0;
  for (const { taskId, mapIndex, state } of tasks) {
    const path = taskPath(run, runId, taskId, mapIndex < 0 ? '' : `/${mapIndex}`);
    if (!isSettable(client, state) || !fits(client, path)) {
      tasksDifferent += 1;
      continue;
    }
    const body = client.dialect.api === 'v1' ? { dry_run: false, new_state: state } : { new_state: state };
    try {
      await client.send({ method: 'PATCH', path, body });
      tasksSet += 1;
    } catch (thrown) {
      if (!isRefusal(thrown)) throw thrown;
      // It has that state already.
      if (isRestError(thrown, 409)) tasksSet += 1;
      else tasksDifferent += 1;
    }
  }
  return { tasksSet, tasksDifferent };
}

function isSettable(client: RestClient, state: string | null): boolean {
  return state === 'success' || state === 'failed' || (state === 'skipped' && client.offers('setSkipped'));
}

/** Tasks of the target that have no state yet, with the one that follows from their run's. */
async function openTasks(
  client: RestClient,
  { run, runId, state }: HistoryRun,
): Promise<readonly StoredTask[]> {
  const there = [...(await tasksOf(client, { run, runId })).values()];
  return there
    .filter((task) => (task.state ?? null) === null)
    .map((task) => ({
      taskId: String(task.task_id),
      mapIndex: Number(task.map_index ?? -1),
      state: FOLLOWS[state],
      startDate: null,
    }));
}

/** Those of them that are not so in the target. */
async function notYet(
  client: RestClient,
  { run, runId }: HistoryRun,
  tasks: readonly StoredTask[],
): Promise<readonly StoredTask[]> {
  if (tasks.length === 0) return [];
  const there = await tasksOf(client, { run, runId });
  return tasks.filter(({ taskId, mapIndex, state }) => there.get(`${mapIndex} ${taskId}`)?.state !== state);
}
