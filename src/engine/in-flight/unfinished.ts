import type { Client } from 'pg';
import { quoteTable } from '../../db/introspect.ts';
import type { TimeLimit } from '../plans.ts';
import { readLimits } from './limits.ts';

/** Unfinished work in a snapshot, for the manifest: a plan can tell of it before a row is read. */
export interface Unfinished {
  readonly runs: Readonly<Record<string, number>>;
  readonly backfillRuns: number;
  /** Tasks by state, those of unfinished runs that have none yet left out. */
  readonly tasks: Readonly<Record<string, number>>;
  /** At most 500, earliest first: see `readLimits`. */
  readonly limits: readonly TimeLimit[];
}

/** States by name, so that the index on them serves: a count of all other rows would read the whole table. */
const RUN_STATES = "('queued', 'running')";
const TASK_STATES =
  "('scheduled', 'queued', 'running', 'restarting', 'shutdown', 'deferred', 'up_for_retry', 'up_for_reschedule')";

export async function readUnfinished(client: Client, schema: string): Promise<Unfinished> {
  const runs = await client.query<{ state: string; runs: string; backfill: string }>(
    `SELECT state, pg_catalog.count(*) AS runs, pg_catalog.count(*) FILTER (WHERE run_type = 'backfill') AS backfill
       FROM ${quoteTable(schema, 'dag_run')} WHERE state IN ${RUN_STATES} GROUP BY 1 ORDER BY 1`,
  );
  const tasks = await client.query<{ state: string; tasks: string }>(
    `SELECT state, pg_catalog.count(*) AS tasks FROM ${quoteTable(schema, 'task_instance')}
      WHERE state IN ${TASK_STATES} GROUP BY 1 ORDER BY 1`,
  );
  return {
    runs: Object.fromEntries(runs.rows.map((row) => [row.state, Number(row.runs)])),
    backfillRuns: runs.rows.reduce((sum, row) => sum + Number(row.backfill), 0),
    tasks: Object.fromEntries(tasks.rows.map((row) => [row.state, Number(row.tasks)])),
    limits: await readLimits(client, schema),
  };
}
