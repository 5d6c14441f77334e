import type { Client } from 'pg';
import { quoteIdent, quoteLiteral, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { CarryingTask, RunName } from './api.ts';
import type { DetectedEnvironment } from './detect.ts';
import type { Blocker } from './plans.ts';

/** What a command is told of runs that must survive. */
export interface LiveRequest {
  /** Named by the user: each of them has to be there. */
  readonly keepRuns?: readonly RunName[];
  /** The task that this process runs in, if any; it counts when the target has that run. */
  readonly carriedBy?: CarryingTask;
}

/** A run of the target that cleanup and restore leave alone, with everything that hangs on it. */
export interface LiveRun extends RunName {
  /** dag_run.id in the target. */
  readonly id: number;
  readonly state: string | null;
  /** True: this process is one of its tasks. */
  readonly carries: boolean;
}

export interface FoundRuns {
  readonly live: readonly LiveRun[];
  /** Runs that the user named and the target does not have. */
  readonly missing: readonly RunName[];
}

export function runLabel({ dagId, runId }: RunName): string {
  return `${dagId}/${runId}`;
}

/** Which of the runs that must survive the target really has. */
export async function findLiveRuns(client: Client, schema: string, request: LiveRequest): Promise<FoundRuns> {
  const { keepRuns = [], carriedBy } = request;
  const asked = new Map([...keepRuns, ...(carriedBy ? [carriedBy] : [])].map((run) => [runLabel(run), run]));
  if (asked.size === 0) return { live: [], missing: [] };
  const result = await client.query<{ id: number; dag_id: string; run_id: string; state: string | null }>(
    `SELECT id, dag_id, run_id, state FROM ${quoteTable(schema, 'dag_run')} WHERE ${runIs([...asked.values()])} ORDER BY dag_id, run_id`,
  );
  const live = result.rows.map((row): LiveRun => ({
    id: row.id,
    dagId: row.dag_id,
    runId: row.run_id,
    state: row.state,
    carries: row.dag_id === carriedBy?.dagId && row.run_id === carriedBy.runId,
  }));
  const found = new Set(live.map(runLabel));
  return { live, missing: keepRuns.filter((run) => !found.has(runLabel(run))) };
}

/**
 * SQL predicate over a table's own columns: the rows that cleanup and restore leave alone. Undefined: none can be. Pure.
 *
 * It holds whatever has been deleted or loaded meanwhile: live rows are never deleted, and rows of the backup that belong
 * to a run of the same name are not loaded.
 */
export function livePredicate(
  state: Pick<DetectedEnvironment, 'live' | 'tables'> & { readonly liveRuns: readonly RunName[] },
  table: ResolvedTable,
): string | undefined {
  const ways = [table.liveRows, ofRuns(state.live.schema, state.tables, table, state.liveRuns)].filter(
    (way) => way !== undefined,
  );
  return ways.length === 0 ? undefined : ways.map((way) => `(${way})`).join(' OR ');
}

/** Rows that belong to the given runs, by the links of the specs. */
function ofRuns(
  schema: string,
  tables: readonly ResolvedTable[],
  table: ResolvedTable,
  runs: readonly RunName[],
): string | undefined {
  if (runs.length === 0) return undefined;
  if (table.name === 'dag_run') return runIs(runs);
  const ways = table.ofRun.flatMap((link) => {
    const parent = tables.find(({ name }) => name === link.of);
    const belongs = parent && ofRuns(schema, tables, parent, runs);
    if (belongs === undefined) return [];
    const theirs = link.theirs.map(quoteIdent).join(', ');
    return [`${row(link.own)} IN (SELECT ${theirs} FROM ${quoteTable(schema, link.of)} WHERE ${belongs})`];
  });
  return ways.length === 0 ? undefined : ways.join(' OR ');
}

function runIs(runs: readonly RunName[]): string {
  const names = runs.map(({ dagId, runId }) => `(${quoteLiteral(dagId)}, ${quoteLiteral(runId)})`);
  return `(dag_id, run_id) IN (${names.join(', ')})`;
}

function row(columns: readonly string[]): string {
  return columns.length === 1 ? quoteIdent(columns[0] ?? '') : `(${columns.map(quoteIdent).join(', ')})`;
}

/** Whoever names a run that must survive, and names one that is not there, may be about to clean the wrong database. */
export function missingRunBlockers({
  facts,
  missingRuns,
}: {
  readonly facts: { readonly name: string };
  readonly missingRuns: readonly RunName[];
}): readonly Blocker[] {
  if (missingRuns.length === 0) return [];
  return [
    {
      code: 'no-such-run',
      message: `${facts.name} has no run ${missingRuns.map(runLabel).join(', ')}, which is to be kept.`,
      next: 'Look at the names (`airflow dags list-runs -d DAG_ID`), and at whether this is the right environment.',
    },
  ];
}
