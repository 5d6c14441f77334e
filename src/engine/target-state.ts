import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { DatabaseTarget } from '../db/target.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { detectEnvironment } from './detect.ts';
import type { DetectedEnvironment } from './detect.ts';
import { findLiveRuns, livePredicate } from './live-rows.ts';
import type { LiveRequest, LiveRun } from './live-rows.ts';
import { findRunningTasks } from './running-tasks.ts';
import type { RunningTasks } from './running-tasks.ts';
import type { RunName } from './api.ts';

export interface TableCount {
  readonly rows: number;
  /** Those among them that cleanup and restore leave alone. */
  readonly live: number;
}

/** A table that is not Airflow's and refers to one that is. */
export interface OutsideChild {
  readonly table: string;
  readonly parent: string;
}

/** The target as found: all that a plan needs to know. */
export interface TargetState extends DetectedEnvironment {
  readonly counts: ReadonlyMap<string, TableCount>;
  readonly outsideChildren: readonly OutsideChild[];
  /** Runs of the target that are left alone, with everything that hangs on them. */
  readonly liveRuns: readonly LiveRun[];
  /** Runs that the user wants kept and the target does not have. */
  readonly missingRuns: readonly RunName[];
  /** Tasks of the target that an executor knows, other than live rows. */
  readonly runningTasks: RunningTasks;
}

export async function readTargetState(
  client: Client,
  target: DatabaseTarget,
  request: LiveRequest = {},
): Promise<TargetState> {
  const detected = await detectEnvironment(client, target);
  const runs = await findLiveRuns(client, target.schema, request);
  const live = { ...detected, liveRuns: runs.live };
  const counts = new Map<string, TableCount>();
  for (const table of detected.tables) {
    counts.set(table.name, await countRows(client, target.schema, table, livePredicate(live, table)));
  }
  const known = new Set(detected.tables.map((table) => table.name));
  const outsideChildren = detected.live.foreignKeys
    .filter((key) => !known.has(key.table) && known.has(key.parent))
    .map(({ table, parent }) => ({ table, parent }));
  const tasks = detected.tables.find(({ name }) => name === 'task_instance');
  const runningTasks = await findRunningTasks(client, target.schema, tasks && livePredicate(live, tasks));
  return {
    ...live,
    counts,
    outsideChildren,
    missingRuns: runs.missing,
    runningTasks,
  };
}

async function countRows(
  client: Client,
  schema: string,
  table: ResolvedTable,
  predicate: string | undefined,
): Promise<TableCount> {
  const live = predicate === undefined ? '0' : `pg_catalog.count(*) FILTER (WHERE ${predicate})`;
  const result = await client.query<{ rows: string; live: string }>(
    `SELECT pg_catalog.count(*) AS rows, ${live} AS live FROM ${quoteTable(schema, table.name)}`,
  );
  return { rows: Number(result.rows[0]?.rows ?? 0), live: Number(result.rows[0]?.live ?? 0) };
}

export interface SequenceState {
  /** Qualified and quoted. */
  readonly sequence: string;
  /** Largest value ever issued; 0 when none was. */
  readonly issued: number;
  readonly maximum: number;
}

/** The sequence behind a serial column, or undefined when the column has none. */
export async function readSequence(
  client: Client,
  state: DetectedEnvironment,
  table: ResolvedTable,
): Promise<SequenceState | undefined> {
  const found = state.live.sequences.find((one) => one.table === table.name && one.column === table.serial);
  if (!found) return undefined;
  const result = await client.query<{ issued: string; maximum: string }>(sequenceSql(found.sequence));
  const row = result.rows[0];
  return { sequence: found.sequence, issued: Number(row?.issued ?? 0), maximum: Number(row?.maximum ?? 0) };
}

/** (issued, maximum) of a sequence with the given qualified name. */
export function sequenceSql(sequence: string): string {
  return `SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - p.seqincrement END AS issued, p.seqmax AS maximum
            FROM ${sequence} s, pg_catalog.pg_sequence p WHERE p.seqrelid = '${sequence.replaceAll("'", "''")}'::regclass`;
}

/** Largest value of a column, 0 for an empty table. */
export async function maxOf(client: Client, qualifiedTable: string, column: string): Promise<number> {
  const result = await client.query<{ max: string | null }>(
    `SELECT pg_catalog.max(${quoteIdent(column)})::text AS max FROM ${qualifiedTable}`,
  );
  return Number(result.rows[0]?.max ?? 0);
}
