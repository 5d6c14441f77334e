import type { Client } from 'pg';
import { quoteTable } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { Beside } from '../beside.ts';
import { dropTriggers } from './fail.ts';
import { RUNS, TASKS } from './restored.ts';

/** Earliest run by DAG that was left out: (dag_id, execution_date, data_interval_start, data_interval_end). */
const SKIPPED = 'pg_temp.lifeboat_skipped_runs';

export interface Excluded {
  readonly runs: number;
  readonly tasks: number;
}

/**
 * Takes unfinished runs out again with everything that refers to them: rows with a foreign key go by ON DELETE CASCADE,
 * the others are named here. What the target had of such a run (Airflow keeps the log of a run that is deleted) is its
 * own and stays. An event of a dataset that a finished run has used stays, because that run is history.
 */
export async function excludeRuns(
  client: Client,
  schema: string,
  tables: readonly ResolvedTable[],
  beside: Beside,
): Promise<Excluded> {
  const table = (name: string): string => quoteTable(schema, name);
  const has = (name: string): boolean => tables.some((one) => one.name === name);
  await listSkippedRuns(client, schema);
  if (has('log')) {
    const byRun = tables.some(
      (one) => one.name === 'log' && one.columns.some(({ name }) => name === 'run_id'),
    );
    await client.query(
      `DELETE FROM ${table('log')} l USING ${RUNS} r WHERE l.dag_id = r.dag_id
          AND (l.execution_date = r.execution_date${byRun ? ' OR l.run_id = r.run_id' : ''}) AND ${beside.brought('log', 'l')}`,
    );
  }
  if (has('sla_miss')) {
    await client.query(
      `DELETE FROM ${table('sla_miss')} s USING ${RUNS} r WHERE s.dag_id = r.dag_id AND s.execution_date = r.execution_date
          AND ${beside.brought('sla_miss', 's')}`,
    );
  }
  const counted = await client.query<{ tasks: string }>(
    `SELECT pg_catalog.count(*) AS tasks FROM ${table('task_instance')} t JOIN ${RUNS} r ON r.dag_id = t.dag_id AND r.run_id = t.run_id`,
  );
  const runs = await client.query(`DELETE FROM ${table('dag_run')} d USING ${RUNS} r WHERE d.id = r.id`);
  if (has('dataset_event')) {
    await client.query(
      `DELETE FROM ${table('dataset_event')} e USING ${RUNS} r WHERE e.source_dag_id = r.dag_id AND e.source_run_id = r.run_id
          AND ${beside.brought('dataset_event', 'e')}
          AND NOT EXISTS (SELECT 1 FROM ${table('dagrun_dataset_event')} u WHERE u.event_id = e.id)`,
    );
  }
  await dropTriggers(client, schema);
  await client.query(`DELETE FROM ${TASKS} f WHERE f.unfinished_run IS NOT NULL`);
  await client.query(`DELETE FROM ${RUNS} r`);
  return { runs: runs.rowCount ?? 0, tasks: Number(counted.rows[0]?.tasks ?? 0) };
}

/** Next runs of DAGs that lost some, for `pointScheduleBack`. */
async function listSkippedRuns(client: Client, schema: string): Promise<void> {
  await client.query(
    `CREATE TEMPORARY TABLE ${SKIPPED.replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT DISTINCT ON (d.dag_id) d.dag_id, d.execution_date, d.data_interval_start, d.data_interval_end
         FROM ${quoteTable(schema, 'dag_run')} d JOIN ${RUNS} r ON r.id = d.id
        WHERE d.run_type = 'scheduled' AND d.data_interval_end IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM ${quoteTable(schema, 'dag_run')} later
                           WHERE later.dag_id = d.dag_id AND later.run_type IN ('scheduled', 'backfill')
                             AND later.execution_date > d.execution_date
                             AND NOT EXISTS (SELECT 1 FROM ${RUNS} o WHERE o.id = later.id))
        ORDER BY d.dag_id, d.execution_date`,
  );
}

/**
 * The next run of a DAG is the earliest that is left out, unless a later one stays: Airflow computes it from the latest
 * run at the next parse (DAG.bulk_write_to_db, airflow/models/dag.py), and a scheduler that is quicker than the parser
 * must not skip that interval. A schedule that has gone on in the target is left alone. Called once runs were excluded and
 * the DAGs are there.
 */
export async function pointScheduleBack(
  client: Client,
  schema: string,
  { ownSchedule }: Pick<Beside, 'ownSchedule'>,
): Promise<void> {
  await client.query(
    `UPDATE ${quoteTable(schema, 'dag')} d
        SET next_dagrun = e.execution_date, next_dagrun_data_interval_start = e.data_interval_start,
            next_dagrun_data_interval_end = e.data_interval_end, next_dagrun_create_after = e.data_interval_end
       FROM ${SKIPPED} e WHERE d.dag_id = e.dag_id AND (${ownSchedule('d')}) IS NOT TRUE`,
  );
}
