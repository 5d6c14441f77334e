import type { Client } from 'pg';
import { quoteLiteral } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { Beside } from '../beside.ts';
import type { InFlightPolicy, TimeLimit } from '../plans.ts';
import { excludeRuns, pointScheduleBack } from './exclude.ts';
import { failRuns } from './fail.ts';
import { passedLimits, readLimits, readRunTimeouts } from './limits.ts';
import { listRestored, RESTORED_RUN, RUNS, TASKS } from './restored.ts';
import { resumeTasks } from './resume.ts';

/** What became of the work that the backup shows unfinished. */
export interface InFlightResult {
  readonly policy: InFlightPolicy;
  /** Runs that the scheduler of the target goes on with. */
  readonly resumedRuns: number;
  /** Unfinished tasks of those runs by the state that they had in the backup. */
  readonly resumedTasks: Readonly<Record<string, number>>;
  /** Among them: interrupted tasks that start anew, with a try more than they had. */
  readonly startedAnew: number;
  /**
   * Ended as failed: all under the policy fail, else runs of type backfill, those that carry backups or restores, and
   * tasks of runs that were over.
   */
  readonly failedRuns: number;
  readonly failedTasks: number;
  readonly excludedRuns: number;
  readonly excludedTasks: number;
  /** Limits that are passed already: Airflow ends these runs and tasks when it sees them. */
  readonly passedLimits: readonly TimeLimit[];
}

export interface InFlightWish {
  readonly policy: InFlightPolicy;
  readonly backupId: string;
  readonly snapshotTime: string;
  /** What this restore loads. */
  readonly tables: readonly ResolvedTable[];
  readonly now: Date;
  readonly beside: Beside;
  /** DAGs whose runs do not go on: they carry backups or restores. */
  readonly carrying: readonly string[];
  /** Schema of `dag` and `serialized_dag`, where it is another one than that of the runs. */
  readonly dagSchema?: string;
}

/**
 * Decides about unfinished work, after the load and inside its transaction: no row is left queued, running or restarting
 * by the restore. Needs `rememberKeptRuns` before the load; touches no row of the target's own.
 */
export async function settleInFlight(
  client: Client,
  schema: string,
  wish: InFlightWish,
): Promise<InFlightResult | null> {
  const loaded = new Set(wish.tables.map((table) => table.name));
  if (!loaded.has('dag_run')) return null;
  await listRestored(client, schema);
  const fail = (runs: string, why: string): ReturnType<typeof failRuns> =>
    failRuns(client, schema, {
      runs,
      snapshotTime: wish.snapshotTime,
      note: `Ended as failed by Lifeboat, restoring backup ${wish.backupId} at ${wish.now.toISOString()}: ${why}; its state in the backup (${wish.snapshotTime}) was `,
      notes: loaded.has('dag_run_note') && loaded.has('task_instance_note'),
    });
  const nothing = { runs: 0, tasks: 0 };
  const failCarriers = (): ReturnType<typeof fail> =>
    fail(
      `r.dag_id = ANY (ARRAY[${wish.carrying.map(quoteLiteral).join(', ')}]::text[])`,
      'a run that carries a backup or restore does not go on after one',
    );
  if (!loaded.has('task_instance')) {
    // A scheduler makes the tasks of such a run anew.
    await failCarriers();
    return null;
  }

  const excluded =
    wish.policy === 'exclude' ? await excludeRuns(client, schema, wish.tables, wish.beside) : nothing;
  if (wish.policy === 'exclude' && wish.dagSchema === undefined && loaded.has('dag')) {
    await pointScheduleBack(client, schema, wish.beside);
  }
  const carried = wish.policy === 'resume' ? await failCarriers() : nothing;
  const failed =
    wish.policy === 'fail'
      ? await fail('true', 'the in-flight policy was fail')
      : await fail(
          `r.run_type = 'backfill'`,
          'the environment that worked on it is gone, and no scheduler goes on with it',
        );
  const resumedRuns = await countRuns(client);
  const resumedTasks = await countTasks(client);
  const { startedAnew } =
    wish.policy === 'resume'
      ? await resumeTasks(client, schema, wish.tables, wish.snapshotTime)
      : { startedAnew: 0 };
  return {
    policy: wish.policy,
    resumedRuns,
    resumedTasks,
    startedAnew,
    failedRuns: carried.runs + failed.runs,
    failedTasks: carried.tasks + failed.tasks,
    excludedRuns: excluded.runs,
    excludedTasks: excluded.tasks,
    passedLimits: await readPassed(client, schema, wish.dagSchema ?? schema, wish.now),
  };
}

async function readPassed(
  client: Client,
  schema: string,
  dagSchema: string,
  now: Date,
): Promise<readonly TimeLimit[]> {
  const limits = await readLimits(client, schema, RESTORED_RUN);
  const runs = limits.filter((limit) => limit.kind === 'dagrun');
  const timeouts = await readRunTimeouts(client, dagSchema, [...new Set(runs.map((run) => run.dagId))]);
  return passedLimits(limits, timeouts, now);
}

async function countRuns(client: Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>(`SELECT pg_catalog.count(*) AS count FROM ${RUNS}`);
  return Number(rows[0]?.count ?? 0);
}

async function countTasks(client: Client): Promise<Readonly<Record<string, number>>> {
  const { rows } = await client.query<{ state: string; count: string }>(
    `SELECT state, pg_catalog.count(*) AS count FROM ${TASKS} WHERE unfinished_run IS NOT NULL GROUP BY 1 ORDER BY 1`,
  );
  return Object.fromEntries(rows.map((row) => [row.state, Number(row.count)]));
}
