import type { Client } from 'pg';
import { quoteTable } from '../db/introspect.ts';
import type { Blocker, PlanWarning } from './plans.ts';

/** Names in a message and in its details; beyond it the list helps nobody. */
const NAMES_SHOWN = 10;
const MAX_NAMES = 200;

/**
 * States in which an executor or a worker knows a task. A `scheduled` one is a row of the database and nothing else
 * until the scheduler queues it, which it cannot while its tables are locked; a deferred one waits as a trigger.
 * Source: airflow/utils/state.py and airflow/jobs/scheduler_job_runner.py (_critical_section_enqueue_task_instances), 2.8.1.
 */
const AT_WORK = "('running', 'queued', 'restarting')";

/** Tasks of the target that something outside the database is working on. */
export interface RunningTasks {
  readonly count: number;
  /** "dag.task, run R (running)", at most 200. */
  readonly names: readonly string[];
}

/** Those that are no live rows: `live` is the live predicate of task_instance. */
export async function findRunningTasks(
  client: Client,
  schema: string,
  live: string | undefined,
): Promise<RunningTasks> {
  const where = `state IN ${AT_WORK}${live === undefined ? '' : ` AND (${live}) IS NOT TRUE`}`;
  const table = quoteTable(schema, 'task_instance');
  const { rows } = await client.query<{ name: string; count: string }>(
    `SELECT dag_id || '.' || task_id || CASE WHEN map_index >= 0 THEN '[' || map_index || ']' ELSE '' END
              || ', run ' || run_id || ' (' || state || ')' AS name,
            pg_catalog.count(*) OVER () AS count
       FROM ${table} WHERE ${where} ORDER BY dag_id, run_id, task_id, map_index LIMIT ${MAX_NAMES}`,
  );
  return { count: Number(rows[0]?.count ?? 0), names: rows.map((row) => row.name) };
}

function message(environment: string, { count, names }: RunningTasks): string {
  const shown = names.slice(0, NAMES_SHOWN).join('; ');
  const more = count > NAMES_SHOWN ? `; and ${count - NAMES_SHOWN} more` : '';
  const [what, are] = count === 1 ? ['A task', 'is'] : [`${count} tasks`, 'are'];
  return `${what} of ${environment} ${are} running or queued: ${shown}${more}.`;
}

interface Found {
  readonly facts: { readonly name: string };
  readonly runningTasks: RunningTasks;
}

/** An executor knows a task by its names alone: what it reports would be taken for news of a restored task. */
export function runningBlockers(
  { facts, runningTasks }: Found,
  request: { readonly ignoreRunning?: boolean },
): readonly Blocker[] {
  if (runningTasks.count === 0 || request.ignoreRunning === true) return [];
  return [
    {
      code: 'running-tasks',
      message: message(facts.name, runningTasks),
      next: 'Let them end, or mark them failed in Airflow; --keep-run DAG_ID/RUN_ID keeps a run that must go on. Where no worker is alive any more, add --ignore-running.',
    },
  ];
}

export function runningWarnings(
  { facts, runningTasks }: Found,
  request: { readonly ignoreRunning?: boolean },
): readonly PlanWarning[] {
  if (runningTasks.count === 0 || request.ignoreRunning !== true) return [];
  return [{ code: 'running-tasks', message: `${message(facts.name, runningTasks)} They are deleted.` }];
}
