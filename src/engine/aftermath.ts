import type { Client } from 'pg';
import { quoteTable } from '../db/introspect.ts';

/** Names in a summary; beyond it the list helps nobody. */
const MAX_NAMES = 200;

/** What an operator has to know about a restored environment. */
export interface Aftermath {
  readonly unfinishedRuns: Readonly<Record<string, number>>;
  readonly unfinishedTasks: Readonly<Record<string, number>>;
  readonly missingPools: readonly string[];
  readonly unparsedDags: readonly string[];
}

/** States that nothing will change any more: airflow/utils/state.py (State.finished, State.failed_states). */
const FINISHED_TASK = "('success', 'failed', 'skipped', 'upstream_failed', 'removed')";
const FINISHED_RUN = "('success', 'failed')";

/** What the restored rows say of themselves; what the environment lacks for them is asked of it later. */
export interface Found {
  readonly unfinishedRuns: Readonly<Record<string, number>>;
  readonly unfinishedTasks: Readonly<Record<string, number>>;
  readonly pools: readonly string[];
  readonly dags: readonly string[];
}

/** `rows`: SQL predicates over the runs and tasks to look at; all when absent. */
export async function lookAtRestored(
  client: Client,
  schema: string,
  rows: { readonly runs: string; readonly tasks: string } = { runs: 'true', tasks: 'true' },
): Promise<Found> {
  const run = `(SELECT * FROM ${quoteTable(schema, 'dag_run')} WHERE ${rows.runs})`;
  const task = `(SELECT * FROM ${quoteTable(schema, 'task_instance')} WHERE ${rows.tasks})`;
  return {
    unfinishedRuns: await countStates(
      client,
      `SELECT state, pg_catalog.count(*) AS count FROM ${run} r WHERE state IS NULL OR state NOT IN ${FINISHED_RUN} GROUP BY 1 ORDER BY 1`,
    ),
    // A task without a state in a finished run was never to run; only those of unfinished runs wait for something.
    unfinishedTasks: await countStates(
      client,
      `SELECT t.state, pg_catalog.count(*) AS count FROM ${task} t JOIN ${run} r USING (dag_id, run_id)
        WHERE (t.state IS NULL OR t.state NOT IN ${FINISHED_TASK}) AND (r.state IS NULL OR r.state NOT IN ${FINISHED_RUN})
        GROUP BY 1 ORDER BY 1`,
    ),
    pools: await names(client, `SELECT DISTINCT pool AS name FROM ${task} t`),
    dags: await names(client, `SELECT DISTINCT dag_id AS name FROM ${run} r`),
  };
}

/** The same with what the environment has for it: pools and parsed DAGs. */
export async function judgeRestored(
  client: Client,
  schema: string,
  { pools, dags, ...found }: Found,
): Promise<Aftermath> {
  return {
    ...found,
    missingPools: await names(
      client,
      `SELECT DISTINCT name FROM pg_catalog.unnest($1::text[]) name
        WHERE NOT EXISTS (SELECT 1 FROM ${quoteTable(schema, 'slot_pool')} p WHERE p.pool = name) ORDER BY 1 LIMIT ${MAX_NAMES}`,
      pools,
    ),
    unparsedDags: await names(
      client,
      `SELECT DISTINCT name FROM pg_catalog.unnest($1::text[]) name
        WHERE NOT EXISTS (SELECT 1 FROM ${quoteTable(schema, 'dag')} d WHERE d.dag_id = name AND d.is_active) ORDER BY 1 LIMIT ${MAX_NAMES}`,
      dags,
    ),
  };
}

async function countStates(client: Client, sql: string): Promise<Readonly<Record<string, number>>> {
  const { rows } = await client.query<{ state: string | null; count: string }>(sql);
  return Object.fromEntries(rows.map((row) => [row.state ?? 'no state yet', Number(row.count)]));
}

async function names(client: Client, sql: string, given?: readonly string[]): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(sql, given && [given]);
  return rows.map((row) => row.name);
}

/** Notes that were restored without their author, because the target has no user of that name. */
export async function countAuthorless(
  client: Client,
  lookup: string,
  tables: readonly string[],
  stage: (table: string) => string,
): Promise<number> {
  let count = 0;
  for (const table of tables) {
    const result = await client.query<{ count: string }>(
      `SELECT pg_catalog.count(*) AS count FROM ${stage(table)} s LEFT JOIN ${lookup} u ON u.lb_old = s.user_id
        WHERE s.user_id IS NOT NULL AND u.lb_new IS NULL`,
    );
    count += Number(result.rows[0]?.count ?? 0);
  }
  return count;
}
