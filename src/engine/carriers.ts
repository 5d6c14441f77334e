import type { Client } from 'pg';
import { quoteLiteral, quoteTable } from '../db/introspect.ts';
import type { RunName } from './api.ts';
import { KEPT } from './in-flight/restored.ts';
import { runLabel } from './live-rows.ts';
import { historySchema } from './load-context.ts';
import type { LoadContext } from './load-context.ts';
import { databaseSource, type Manifest } from './manifest.ts';

/** Tag of DAGs that carry backups and restores; whoever writes such a DAG by himself gives it this tag. */
const CARRIER_TAG = 'lifeboat';

/** The DAGs of a target before anything was loaded. */
const PAUSED_BEFORE = 'pg_temp.lifeboat_dag_before';

/** Restored tasks in these states were at work in the source, and nobody is at work for them now. */
const UNFINISHED_TASK = "state IN ('running', 'queued', 'restarting', 'scheduled', 'deferred')";

export interface Carriers {
  /** DAGs that carry backups or restores, in order. */
  readonly carryingDags: readonly string[];
  /** The run that made the backup, if it was restored: DAG_ID/RUN_ID. */
  readonly endedRun: string | null;
}

/** DAGs that the manifest knows to carry backups. */
export function knownCarriers({ source }: Manifest): readonly string[] {
  if (source.kind === 'rest') return [];
  return [
    ...new Set([...(source.carryingDags ?? []), ...(source.carriedBy ? [source.carriedBy.dagId] : [])]),
  ];
}

/** The DAGs of an environment that have the tag, with others that are known to carry, in order. */
export async function readCarryingDags(
  client: Client,
  schema: string,
  known: readonly string[],
): Promise<readonly string[]> {
  const { rows } = await client.query<{ dag_id: string }>(
    `SELECT dag_id FROM ${quoteTable(schema, 'dag_tag')} WHERE name = ${quoteLiteral(CARRIER_TAG)}
     UNION SELECT pg_catalog.unnest($1::text[]) ORDER BY 1`,
    [known],
  );
  return rows.map((row) => row.dag_id);
}

/**
 * DAGs whose unfinished runs do not go on after a restore: with their conf they would restore, clean or prune in an
 * environment that nobody meant. A run that the user keeps says nothing about its DAG.
 */
export function dagsToEnd({ client, manifest, state }: LoadContext): Promise<readonly string[]> {
  const live = state.liveRuns.filter(({ carries }) => carries).map(({ dagId }) => dagId);
  return readCarryingDags(client, state.live.schema, [...live, ...knownCarriers(manifest)]);
}

/** SQL condition over a row of DAGs: it carries backups or restores. `known` is the parameter with names known besides. */
export function carries(schema: string, alias: string, known: '$1' | '$2'): string {
  const tags = quoteTable(schema, 'dag_tag');
  return `(${alias}.dag_id = ANY (${known}::text[]) OR EXISTS (SELECT FROM ${tags} g WHERE g.dag_id = ${alias}.dag_id AND g.name = ${quoteLiteral(CARRIER_TAG)}))`;
}

/** Remembers the pause states and schedules that the target has. */
export async function notePauseStates(client: Client, schema: string): Promise<void> {
  await client.query(
    `CREATE TEMPORARY TABLE ${PAUSED_BEFORE.replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT dag_id, is_paused, next_dagrun, next_dagrun_data_interval_start, next_dagrun_data_interval_end, next_dagrun_create_after
         FROM ${quoteTable(schema, 'dag')}`,
  );
}

/**
 * What is special about Lifeboat's own DAGs and runs, once all is loaded. A DAG carries backups or restores when it has a
 * live run, or made the backup, or has the tag `lifeboat` in the target or in the backup. It keeps the pause state of the
 * target, where it may be paused or at work for good reason; one that the target does not know starts paused. The run
 * that made the backup is in it as running, and was a success: there is a backup.
 */
export async function settleCarriers(load: LoadContext): Promise<Carriers> {
  return { carryingDags: await keepPauseStates(load), endedRun: await endBackupsRun(load) };
}

/** @returns the run that made the backup, when the restore brought it unfinished and it is ended now */
export async function endBackupsRun(load: LoadContext): Promise<string | null> {
  const { carriedBy: by } = databaseSource(load.manifest);
  const brought = load.manifest.tables.some((table) => table.name === 'dag_run');
  if (!brought || !by || load.leftOutRuns.includes(runLabel(by))) return null;
  return (await endRun(load, by)) ? runLabel(by) : null;
}

/** @returns the DAGs that carry backups or restores */
export async function keepPauseStates({ client, manifest, state }: LoadContext): Promise<readonly string[]> {
  if (!manifest.tables.some((table) => table.name === 'dag')) return [];
  const { schema } = state.live;
  const live = state.liveRuns.map((run) => run.dagId);
  const dag = quoteTable(schema, 'dag');
  const { rows } = await client.query<{ dag_id: string }>(
    `SELECT dag_id FROM ${dag} d WHERE ${carries(schema, 'd', '$1')} ORDER BY 1`,
    [[...live, ...knownCarriers(manifest)]],
  );
  const carrying = rows.map((row) => row.dag_id);
  await client.query(
    `UPDATE ${dag} d SET is_paused = coalesce((SELECT b.is_paused FROM ${PAUSED_BEFORE} b WHERE b.dag_id = d.dag_id), true)
      WHERE d.dag_id = ANY ($1::text[])`,
    [carrying],
  );
  // A DAG that is at work here goes on with the schedule that it has here.
  const next = ['', '_data_interval_start', '_data_interval_end', '_create_after'].map(
    (suffix) => `next_dagrun${suffix} = b.next_dagrun${suffix}`,
  );
  await client.query(
    `UPDATE ${dag} d SET ${next.join(', ')} FROM ${PAUSED_BEFORE} b WHERE b.dag_id = d.dag_id AND d.dag_id = ANY ($1::text[])`,
    [live],
  );
  return carrying;
}

/** @returns false when the backup does not hold the run, or nothing of it was unfinished */
async function endRun(load: LoadContext, by: RunName & { readonly taskId: string }): Promise<boolean> {
  const { client, manifest } = load;
  const schema = historySchema(load);
  const at = manifest.snapshotTime;
  // Where nothing was cleaned, the target may be the source, with that very run at work.
  const own = `NOT EXISTS (SELECT FROM pg_temp.${KEPT} k WHERE k.dag_id = $1 AND k.run_id = $2)`;
  const ended = await client.query(
    `UPDATE ${quoteTable(schema, 'dag_run')} SET state = 'success', end_date = coalesce(end_date, $3::timestamptz)
      WHERE dag_id = $1 AND run_id = $2 AND state IN ('running', 'queued') AND ${own}`,
    [by.dagId, by.runId, at],
  );
  await client.query(
    `UPDATE ${quoteTable(schema, 'task_instance')}
        SET state = 'success', end_date = $4::timestamptz, duration = extract(epoch FROM $4::timestamptz - start_date)
      WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND ${UNFINISHED_TASK} AND ${own}`,
    [by.dagId, by.runId, by.taskId, at],
  );
  return (ended.rowCount ?? 0) > 0;
}
