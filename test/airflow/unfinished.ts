import { query } from './environment.ts';
import type { LabHome } from './lab.ts';
import { isFinishedRun, isFinishedTask, runKey, taskKey } from './snapshot.ts';
import type { Snapshot, SnapshotTask } from './snapshot.ts';

/** Runs that were unfinished in the backup and must end in the target: not those of DAGs that are paused there. */
export function runsToEnd(snapshot: Snapshot, paused: ReadonlySet<unknown>): readonly string[] {
  return snapshot.runs.filter((run) => !isFinishedRun(run) && !paused.has(run.dag_id)).map(runKey);
}

/** Those of the runs that have not ended, with the tasks that they wait for. */
export async function unended(at: LabHome, runs: readonly string[]): Promise<readonly string[]> {
  const wanted = new Set(runs);
  const rows = await query(
    at,
    `SELECT dag_id, run_id, r.state, (SELECT string_agg(t.task_id || '[' || t.map_index || '] ' || coalesce(t.state, 'none'), ', ')
       FROM task_instance t WHERE (t.dag_id, t.run_id) = (r.dag_id, r.run_id)
         AND (t.state IS NULL OR t.state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed'))) AS waits_for
     FROM dag_run r`,
  );
  const states = new Map(rows.map((row) => [runKey(row as never), row]));
  return [...wanted].flatMap((key) => {
    const row = states.get(key);
    if (row === undefined) return [`${key} is not there`];
    if (row.state === 'success' || row.state === 'failed') return [];
    return [`${key} is ${String(row.state)}: ${String(row.waits_for)}`];
  });
}

export interface Outcome {
  readonly task: string;
  /** In the backup. */
  readonly state: string;
  readonly tries: number;
  readonly maxTries: number;
}

/**
 * What each unfinished task of the backup must have become, once it has succeeded: queued, scheduled, deferred and
 * rescheduled ones used the try that they had; running and restarting ones a new one, which cost them no retry.
 */
export function outcomes(snapshot: Snapshot, runs: readonly string[], release: string): readonly Outcome[] {
  const ending = new Set(runs);
  return snapshot.tasks
    .filter((task) => !isFinishedTask(task) && ending.has(runKey(task)))
    .map((task) => ({
      task: taskKey(task),
      state: task.state,
      tries: triesAtEnd(task, Number(release.split('.')[1])),
      maxTries: Number(task.max_tries) + (isInterrupted(task) ? 1 : 0),
    }));
}

const isInterrupted = ({ state }: SnapshotTask): boolean => state === 'running' || state === 'restarting';

/** Up to 2.9 try_number counts a try once it runs; from 2.10 once it is scheduled (airflow/models/taskinstance.py). */
function triesAtEnd(task: SnapshotTask, minor: number): number {
  const now = Number(task.try_number);
  const hasItsTry = ['scheduled', 'queued', 'deferred', 'up_for_reschedule'].includes(task.state);
  return minor >= 10 && hasItsTry ? now : now + 1;
}

/** Differences between these outcomes and what the target's tasks are in the end. */
export async function outcomeDifferences(
  at: LabHome,
  wanted: readonly Outcome[],
): Promise<readonly string[]> {
  const rows = await query(
    at,
    `SELECT dag_id, run_id, task_id, map_index, state, try_number, max_tries FROM task_instance`,
  );
  const found = new Map(rows.map((row) => [taskKey(row as never), row]));
  return wanted.flatMap(({ task, state, tries, maxTries }) => {
    const row = found.get(task);
    const expected = `success, try ${tries} of at most ${maxTries}`;
    const actual =
      row === undefined
        ? 'not there'
        : `${String(row.state)}, try ${String(row.try_number)} of at most ${String(row.max_tries)}`;
    // A mapped task that was not expanded has given way to its indexes.
    if (row === undefined && state === '' && [...found.keys()].some((key) => isIndexOf(key, task))) return [];
    return actual === expected ? [] : [`${task}, ${state} in the backup: ${actual} instead of ${expected}`];
  });
}

function isIndexOf(key: string, task: string): boolean {
  const [a, b] = [JSON.parse(key) as unknown[], JSON.parse(task) as unknown[]];
  return a.slice(0, 3).join('\n') === b.slice(0, 3).join('\n') && b[3] === -1;
}
