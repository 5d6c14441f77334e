import type { RestClient } from '../../rest/client.ts';
import { createDagRuns, type GivenRun } from '../../rest/dag-runs.ts';
import { isRestError } from '../../rest/errors.ts';
import { fits } from '../../rest/one.ts';
import { allRows, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import { isAtLeast } from '../../versions/rest.ts';
import { type PlannedRun, taskLabel, taskPath } from './plan-runs.ts';
import { isRefusal } from './refusal.ts';
import type { StoredTask } from './unfinished.ts';

/** What became of one run, for the summary and the journal. */
export interface MadeRun {
  readonly tasksSet: number;
  readonly xcomsWritten: number;
  /** Tasks that had ended and will run again. */
  readonly again: readonly string[];
  /** What Airflow did not do, in its words. */
  readonly problems: readonly string[];
}

const NOTE_LENGTH = 1000;

/** The run as Airflow is asked for it. Its DAG is paused, so that nothing of it begins. */
export async function postRun(client: RestClient, planned: PlannedRun, backupId: string): Promise<void> {
  await createDagRuns(client).trigger(planned.run.dagId, bodyOf(client, planned, backupId));
}

/** 2.5 takes no note with a new run, and one for a run that is there. Done twice it is the same. */
export async function noteRun(client: RestClient, planned: PlannedRun, backupId: string): Promise<void> {
  if (client.offers('noteOfNewRun')) return;
  const { run, runId } = planned;
  await createDagRuns(client).patch(run.dagId, runId, { note: noteOf(run.note, run.runId, backupId) });
}

function bodyOf(client: RestClient, { run, runId }: PlannedRun, backupId: string): GivenRun {
  const { logicalDate, interval, runAfter, conf, partitionKey } = run;
  const v2 = client.dialect.api === 'v2';
  return {
    dag_run_id: runId,
    conf: conf as Row,
    ...(v2 || logicalDate !== null ? { logical_date: logicalDate } : {}),
    ...(interval === null || logicalDate === null || !client.offers('runInterval')
      ? {}
      : { data_interval_start: interval[0], data_interval_end: interval[1] }),
    ...(v2 && runAfter !== null ? { run_after: runAfter } : {}),
    ...(partitionKey !== null && isAtLeast(client.airflow, '3.2') ? { partition_key: partitionKey } : {}),
    ...(client.offers('noteOfNewRun') ? { note: noteOf(run.note, run.runId, backupId) } : {}),
  };
}

/** What people wrote stays, and ours stands below it. */
export function noteOf(note: string | null, runId: string, backupId: string): string {
  const ours = `Restored by Lifeboat from backup ${backupId}, where it was ${runId}.`;
  const room = NOTE_LENGTH - ours.length - 1;
  return note === null || note === ''
    ? ours.slice(0, NOTE_LENGTH)
    : `${note.slice(0, Math.max(0, room))}\n${ours}`;
}

/** XComs first, then the states of finished tasks whose XComs are all there, then a look at what has become of it. */
export async function fillRun(client: RestClient, planned: PlannedRun): Promise<MadeRun> {
  const { run, runId } = planned;
  const problems: string[] = [];
  const again = planned.again.map(({ taskId, mapIndex }) => taskLabel(run, taskId, mapIndex));
  const there = await tasksOf(client, planned);
  const isThere = ({ taskId, mapIndex }: StoredTask): boolean => there.has(keyOf(taskId, mapIndex));
  for (const task of planned.finished.filter((one) => !isThere(one))) {
    again.push(taskLabel(run, task.taskId, task.mapIndex));
  }
  const incomplete = new Set<string>();
  let xcomsWritten = 0;
  for (const xcom of planned.xcoms) {
    const key = keyOf(xcom.taskId, xcom.mapIndex);
    if (!there.has(key) || incomplete.has(key)) continue;
    const path = taskPath(run, runId, xcom.taskId, '/xcomEntries');
    const body = { key: xcom.key, value: xcom.value, map_index: xcom.mapIndex };
    try {
      await client.send({ method: 'POST', path, body, repeatable: true });
      xcomsWritten += 1;
    } catch (thrown) {
      // An earlier try of this restore wrote it.
      if (isRestError(thrown, 409)) continue;
      if (!isRefusal(thrown)) throw thrown;
      incomplete.add(key);
      problems.push(`XCom ${xcom.key} of ${taskLabel(run, xcom.taskId, xcom.mapIndex)}: ${thrown.message}`);
    }
  }
  let tasksSet = 0;
  for (const task of planned.finished.filter(isThere)) {
    const label = taskLabel(run, task.taskId, task.mapIndex);
    if (incomplete.has(keyOf(task.taskId, task.mapIndex))) again.push(label);
    else if (await setState(client, planned, task, problems)) tasksSet += 1;
    else again.push(label);
  }
  await lookAgain(client, planned, again, problems);
  return { tasksSet, xcomsWritten, again, problems };
}

async function setState(
  client: RestClient,
  { run, runId }: PlannedRun,
  { taskId, mapIndex, state }: StoredTask,
  problems: string[],
): Promise<boolean> {
  const path = taskPath(run, runId, taskId, mapIndex < 0 ? '' : `/${mapIndex}`);
  const body = client.dialect.api === 'v1' ? { dry_run: false, new_state: state } : { new_state: state };
  try {
    await client.send({ method: 'PATCH', path, body });
    return true;
  } catch (thrown) {
    // It has that state already.
    if (isRestError(thrown, 409)) return true;
    if (!isRefusal(thrown)) throw thrown;
    problems.push(`${taskLabel(run, taskId, mapIndex)}: ${thrown.message}`);
    return false;
  }
}

function keyOf(taskId: string, mapIndex: number): string {
  return `${mapIndex} ${taskId}`;
}

/** Its tasks in the target, by task and map index. */
async function tasksOf(client: RestClient, { run, runId }: PlannedRun): Promise<ReadonlyMap<string, Row>> {
  const path = restPath('/dags/{dagId}/dagRuns/{runId}/taskInstances', { dagId: run.dagId, runId });
  const listing = fits(client, path)
    ? { path, rows: 'task_instances', key: ['task_id', 'map_index'] }
    : {
        path: '/dags/~/dagRuns/~/taskInstances/list',
        rows: 'task_instances',
        key: ['id'],
        form: { dag_ids: [run.dagId], dag_run_ids: [runId] },
      };
  const rows = await allRows(client, listing);
  return new Map(rows.map((row) => [keyOf(String(row.task_id), Number(row.map_index ?? -1)), row]));
}

/** What Airflow says that it did is believed when it can be seen. */
async function lookAgain(
  client: RestClient,
  planned: PlannedRun,
  again: string[],
  problems: string[],
): Promise<void> {
  const there = await tasksOf(client, planned);
  for (const { taskId, mapIndex, state } of planned.finished) {
    const label = taskLabel(planned.run, taskId, mapIndex);
    const found = there.get(keyOf(taskId, mapIndex))?.state ?? null;
    if (again.includes(label) || found === state) continue;
    again.push(label);
    problems.push(
      `${label} was set to ${String(state)} and is ${found === null ? 'without a state' : JSON.stringify(found)}.`,
    );
  }
}
