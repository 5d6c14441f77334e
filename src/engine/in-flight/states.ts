/**
 * States as lists of SQL literals: airflow/utils/state.py of 2.5–2.11. `shutdown` is of 2.7 and older and was never left
 * on a row for long.
 */
export const FINISHED_TASK = "('success', 'failed', 'skipped', 'upstream_failed', 'removed')";
export const FINISHED_RUN = "('success', 'failed')";
/** Waited for an executor of the source: they had not begun. */
export const WAITING_FOR_EXECUTOR = "('queued', 'scheduled')";
/** A process of the source was at them, and is gone. */
export const INTERRUPTED = "('running', 'restarting', 'shutdown')";

/**
 * Columns that name processes of the environment that is gone, with what a task has that nobody owns yet
 * (TaskInstance.__init__ in airflow/models/taskinstance.py, 2.5–2.11). The scheduler looks for zombies and stuck tasks by
 * queued_by_job_id and job_id: an id of the past could be that of a live job of the target.
 */
export const NO_OWNER: Readonly<Record<string, string>> = {
  queued_by_job_id: 'NULL',
  job_id: 'NULL',
  pid: 'NULL',
  hostname: "''",
  external_executor_id: 'NULL',
};

/** What a task that was deferred once is resumed by (TaskInstance.clear_next_method_args, airflow/models/taskinstance.py). */
export const NO_NEXT_METHOD: Readonly<Record<string, string>> = {
  next_method: 'NULL',
  next_kwargs: 'NULL',
  trigger_id: 'NULL',
  trigger_timeout: 'NULL',
};

/** `a = 1, b = NULL` for UPDATE … SET. */
export function assignments(columns: Readonly<Record<string, string>>): string {
  return Object.entries(columns)
    .map(([column, value]) => `${column} = ${value}`)
    .join(', ');
}
