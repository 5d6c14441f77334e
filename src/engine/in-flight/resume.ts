import type { Client } from 'pg';
import { quoteIdent, quoteLiteral, quoteTable } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { SAME_TASK, TASKS } from './restored.ts';
import { assignments, INTERRUPTED, NO_NEXT_METHOD, NO_OWNER, WAITING_FOR_EXECUTOR } from './states.ts';

/** A process was at it, or it waits for a trigger that does not exist: such a task only ever ends by its timeout. */
const MUST_START_ANEW = `(f.state IN ${INTERRUPTED} OR (f.state = 'deferred' AND f.trigger_id IS NULL))`;

export interface Resumed {
  /** Tasks that had been queued or scheduled: scheduled now, with the try that they had. */
  readonly waiting: number;
  /** Tasks that were running: a new try that costs none of their retries. */
  readonly startedAnew: number;
}

/**
 * Makes tasks of unfinished runs ready for the scheduler of the target, which will take them up as if it had always had
 * them. States are set here and never left to adoption: the scheduler's adopt_or_reset_orphaned_tasks picks up a queued
 * or running row only with an owner since 2.9, and up to 2.8 only without one or with an owner that it finds dead
 * (airflow/jobs/scheduler_job_runner.py, 2.8.1 and 2.11.0).
 *
 * - scheduled rows are taken by the scheduler as they are; a row without a state is scheduled anew, which adds a try from
 *   2.10 on (DagRun.schedule_tis, airflow/models/dagrun.py, 2.11.0) and at the start of the task before
 *   (TaskInstance.check_and_change_state_before_execution, airflow/models/taskinstance.py, 2.8.1).
 * - max_tries counts all tries of a task's life (`_is_eligible_to_retry` in airflow/models/taskinstance.py), so one more
 *   gives back the interrupted one. A task without retries gets none by it.
 * - deferred, up_for_retry and up_for_reschedule tasks keep their trigger and their times and lose only their owners.
 */
export async function resumeTasks(
  client: Client,
  schema: string,
  tables: readonly ResolvedTable[],
  snapshotTime: string,
): Promise<Resumed> {
  const task = quoteTable(schema, 'task_instance');
  await recordInterruptedTries(client, schema, tables, snapshotTime);
  const waiting = await client.query(
    `UPDATE ${task} t SET state = 'scheduled', queued_dttm = NULL, ${assignments(NO_OWNER)}
       FROM ${TASKS} f WHERE ${SAME_TASK} AND f.state IN ${WAITING_FOR_EXECUTOR}`,
  );
  const startedAnew = await client.query(
    `UPDATE ${task} t SET state = NULL, queued_dttm = NULL, max_tries = coalesce(t.max_tries, 0) + 1,
            ${assignments({ ...NO_OWNER, ...NO_NEXT_METHOD })}
       FROM ${TASKS} f WHERE ${SAME_TASK} AND f.unfinished_run IS NOT NULL AND ${MUST_START_ANEW}`,
  );
  await client.query(
    `UPDATE ${task} t SET ${assignments(NO_OWNER)}
       FROM ${TASKS} f WHERE ${SAME_TASK} AND NOT ${MUST_START_ANEW} AND f.state NOT IN ${WAITING_FOR_EXECUTOR}`,
  );
  return { waiting: waiting.rowCount ?? 0, startedAnew: startedAnew.rowCount ?? 0 };
}

/**
 * From 2.10 on, tries that are over stand in task_instance_history: a try that a dead worker took with it is one of them,
 * failed (TaskInstanceHistory.record_ti, airflow/models/taskinstancehistory.py, 2.11.0).
 */
async function recordInterruptedTries(
  client: Client,
  schema: string,
  tables: readonly ResolvedTable[],
  snapshotTime: string,
): Promise<void> {
  const history = tables.find((table) => table.name === 'task_instance_history');
  if (!history) return;
  const moment = `${quoteLiteral(snapshotTime)}::timestamptz`;
  const values: Readonly<Record<string, string>> = {
    state: "'failed'",
    // May be empty in task_instance alone.
    try_number: 'coalesce(t.try_number, 0)',
    end_date: moment,
    duration: `extract(epoch FROM ${moment} - t.start_date)`,
  };
  const columns = history.columns.map(({ name }) => name).filter((name) => name !== history.serial);
  await client.query(
    `INSERT INTO ${quoteTable(schema, history.name)} (${columns.map(quoteIdent).join(', ')})
       SELECT ${columns.map((name) => values[name] ?? `t.${quoteIdent(name)}`).join(', ')}
         FROM ${quoteTable(schema, 'task_instance')} t JOIN ${TASKS} f ON ${SAME_TASK}
        WHERE f.unfinished_run IS NOT NULL AND ${MUST_START_ANEW}
          AND NOT EXISTS (SELECT 1 FROM ${quoteTable(schema, history.name)} h
                           WHERE h.dag_id = t.dag_id AND h.task_id = t.task_id AND h.run_id = t.run_id
                             AND h.map_index = t.map_index AND h.try_number = coalesce(t.try_number, 0))`,
  );
}
