import type { Client } from 'pg';
import { quoteTable } from '../../db/introspect.ts';
import { FINISHED_RUN, FINISHED_TASK } from './states.ts';

/** The target's own runs that are not over: (dag_id, run_id). */
export const KEPT = 'lifeboat_kept_runs';
/** Runs that the restore brought and that had not ended: (id, dag_id, run_id, state, run_type). */
export const RUNS = 'pg_temp.lifeboat_runs_in_flight';
/** Their tasks, and those of ended runs, that had not ended: key, state, trigger_id, unfinished_run (id, NULL: the run had ended). */
export const TASKS = 'pg_temp.lifeboat_tasks_in_flight';
/** SQL over a dag_run named r: one that this restore brought and left to go on. */
export const RESTORED_RUN = 'EXISTS (SELECT 1 FROM pg_temp.lifeboat_runs_in_flight f WHERE f.id = r.id)';
/** Joins TASKS, named f, with task_instance, named t. */
export const SAME_TASK =
  't.dag_id = f.dag_id AND t.task_id = f.task_id AND t.run_id = f.run_id AND t.map_index = f.map_index';

/**
 * Remembers the target's own runs that are not over, after the cleanup and before the first row is loaded: what happens
 * to unfinished work is asked for the backup's rows alone, and from now on nothing else tells the two apart. A run is on
 * one side only, because its key is unique. `own`: SQL that tells the target's rows; all are, when absent.
 */
export async function rememberKeptRuns(client: Client, schema: string, own = 'true'): Promise<void> {
  await client.query(
    `CREATE TEMPORARY TABLE ${KEPT} ON COMMIT DROP AS
       SELECT dag_id, run_id FROM ${quoteTable(schema, 'dag_run')} WHERE (state IS NULL OR state NOT IN ${FINISHED_RUN}) AND ${own}
       UNION
       SELECT dag_id, run_id FROM ${quoteTable(schema, 'task_instance')} WHERE (state IS NULL OR state NOT IN ${FINISHED_TASK}) AND ${own}`,
  );
}

/** Lists what the restore brought and had not ended. Tasks without a state in runs that have ended were never to run. */
export async function listRestored(client: Client, schema: string): Promise<void> {
  await client.query(
    `CREATE TEMPORARY TABLE ${RUNS.replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT id, dag_id, run_id, execution_date, state, run_type FROM ${quoteTable(schema, 'dag_run')} r
        WHERE (state IS NULL OR state NOT IN ${FINISHED_RUN})
          AND NOT EXISTS (SELECT 1 FROM pg_temp.${KEPT} k WHERE k.dag_id = r.dag_id AND k.run_id = r.run_id)`,
  );
  await client.query(
    `CREATE TEMPORARY TABLE ${TASKS.replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT t.dag_id, t.task_id, t.run_id, t.map_index, coalesce(t.state, 'no state yet') AS state, t.trigger_id, r.id AS unfinished_run
         FROM ${quoteTable(schema, 'task_instance')} t LEFT JOIN ${RUNS} r ON r.dag_id = t.dag_id AND r.run_id = t.run_id
        WHERE (t.state IS NULL OR t.state NOT IN ${FINISHED_TASK}) AND (t.state IS NOT NULL OR r.id IS NOT NULL)
          AND NOT EXISTS (SELECT 1 FROM pg_temp.${KEPT} k WHERE k.dag_id = t.dag_id AND k.run_id = t.run_id)`,
  );
  await client.query(`ANALYZE ${RUNS}; ANALYZE ${TASKS}`);
}
