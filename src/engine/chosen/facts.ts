import type { Client } from 'pg';
import { quoteTable } from '../../db/introspect.ts';
import { sqlStateOf } from '../../db/sqlstate.ts';
import { LifeboatError } from '../../errors.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { EngineContext, RestoreRequest } from '../api.ts';
import { readRows } from '../export/rows.ts';
import { storedTable } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import type { Blocker } from '../plans.ts';
import { livePredicate } from '../live-rows.ts';
import { findRunningTasks } from '../running-tasks.ts';
import type { RunningTasks } from '../running-tasks.ts';
import type { TargetState } from '../target-state.ts';
import { choiceOf, clearedCondition, dagCondition, runCondition } from './conditions.ts';
import type { Choice, Side } from './conditions.ts';

const BATCH = 5000;
const NAMES_SHOWN = 10;
/** SQLSTATE of PostgreSQL. */
const INVALID_REGULAR_EXPRESSION = '2201B';

/** What has to be known of the chosen part before anything changes. */
export interface ChosenFacts {
  readonly choice: Choice;
  /** Chosen DAGs of the backup, sorted. */
  readonly dagIds: readonly string[];
  /** Rows of the backup's `dag` that are chosen. */
  readonly dags: number;
  readonly runs: number;
  /** Chosen runs that had not ended, by state, and those of them of type backfill. */
  readonly unfinished: Readonly<Record<string, number>>;
  readonly backfillRuns: number;
  readonly taken: TakenRuns;
  /** Rows of the target that make way, by table; tables that nothing is deleted from are not in it. */
  readonly cleared: ReadonlyMap<string, number>;
  /** Tasks at work in the target among those that make way. */
  readonly running: RunningTasks;
}

/** Runs of the backup whose run_id or logical date the target has already, under the same DAG. */
export interface TakenRuns {
  readonly count: number;
  /** "dag/run", the first ten. */
  readonly names: readonly string[];
}

/**
 * Reads the DAGs and runs of the backup, a batch at a time, and compares them with the target. The database judges the
 * patterns, here and when rows are loaded: one meaning for both. Undefined: all of the backup is wanted.
 *
 * @throws LifeboatError 'usage' when the patterns are none or choose no DAG, 'integrity' for damaged parts
 */
export async function readChosen(
  ctx: EngineContext,
  client: Client,
  input: {
    readonly manifest: Manifest;
    readonly state: TargetState;
    readonly request: Pick<RestoreRequest, 'dags' | 'excludeDags' | 'since' | 'clean'>;
  },
): Promise<ChosenFacts | undefined> {
  const { manifest, state, request } = input;
  const choice = choiceOf(manifest, request);
  if (!choice) return undefined;
  try {
    const dags = await readDags(ctx, client, manifest, choice);
    const { dagIds, ...found } = await readRuns(ctx, client, input, choice);
    const known = new Set([...dags.dagIds, ...dagIds]);
    if (known.size === 0) throw nothingChosen(manifest, choice, dags.others);
    const cleared = request.clean ? await countCleared(client, state, choice) : new Map<string, number>();
    const running = await findRunning(client, state, choice);
    return { choice, dagIds: [...known].sort(), dags: dags.dagIds.length, ...found, cleared, running };
  } catch (error) {
    if (sqlStateOf(error) !== INVALID_REGULAR_EXPRESSION) throw error;
    throw new LifeboatError('usage', `--dags or --exclude-dags is no pattern: ${patterns(choice)}.`, {
      next: 'Patterns are those of a shell: *, ?, [abc], [!abc].',
      cause: error,
    });
  }
}

async function readDags(
  ctx: EngineContext,
  client: Client,
  manifest: Manifest,
  choice: Choice,
): Promise<{ readonly dagIds: readonly string[]; readonly others: readonly string[] }> {
  const dagIds: string[] = [];
  const others: string[] = [];
  for await (const batch of batches(ctx, manifest, 'dag', ['dag_id'])) {
    const result = await client.query<{ dag_id: string; is_chosen: boolean }>(
      `SELECT dag_id, (${dagCondition(choice, 'dag_id')}) AS is_chosen FROM pg_catalog.unnest($1::text[]) AS b(dag_id)`,
      [batch[0]],
    );
    for (const row of result.rows) (row.is_chosen ? dagIds : others).push(row.dag_id);
  }
  return { dagIds, others };
}

/** Column and type, as far as it takes to choose a run and to tell whether it had ended. */
const RUN_COLUMNS = [
  ['dag_id', 'text'],
  ['run_id', 'text'],
  ['execution_date', 'timestamptz'],
  ['start_date', 'timestamptz'],
  ['queued_at', 'timestamptz'],
  ['state', 'text'],
  ['run_type', 'text'],
] as const;

interface ChosenRun {
  readonly dag_id: string;
  readonly run_id: string;
  readonly state: string | null;
  readonly run_type: string;
  readonly taken: boolean;
}

type FoundRuns = Pick<ChosenFacts, 'runs' | 'unfinished' | 'backfillRuns' | 'taken'> & {
  readonly dagIds: ReadonlySet<string>;
};

async function readRuns(
  ctx: EngineContext,
  client: Client,
  input: {
    readonly manifest: Manifest;
    readonly state: TargetState;
    readonly request: Pick<RestoreRequest, 'clean'>;
  },
  choice: Choice,
): Promise<FoundRuns> {
  const { manifest, state, request } = input;
  const stays = request.clean
    ? `(${clearedIn(state, choice, tableNamed(state, 'dag_run')) ?? 'false'}) IS NOT TRUE`
    : 'true';
  const columns = RUN_COLUMNS.map(([name]) => name);
  const arrays = RUN_COLUMNS.map(([, type], at) => `pg_catalog.unnest($${at + 1}::${type}[])`);
  const unfinished: Record<string, number> = {};
  let backfillRuns = 0;
  let runs = 0;
  let count = 0;
  const names: string[] = [];
  const dagIds = new Set<string>();
  for await (const batch of batches(ctx, manifest, 'dag_run', columns)) {
    const result = await client.query<ChosenRun>(
      `SELECT dag_id, run_id, state, run_type, ${isTaken(state, stays)} AS taken
         FROM ROWS FROM (${arrays.join(', ')}) AS b(${columns.join(', ')})
        WHERE ${runCondition(choice)}`,
      [...batch],
    );
    runs += result.rows.length;
    for (const row of result.rows) {
      dagIds.add(row.dag_id);
      if (row.state === 'queued' || row.state === 'running') {
        unfinished[row.state] = (unfinished[row.state] ?? 0) + 1;
        if (row.run_type === 'backfill') backfillRuns += 1;
      }
      if (!row.taken) continue;
      count += 1;
      if (names.length < NAMES_SHOWN) names.push(`${row.dag_id}/${row.run_id}`);
    }
  }
  return { runs, unfinished, backfillRuns, taken: { count, names }, dagIds };
}

/**
 * SQL over rows b(dag_id, run_id, execution_date): dag_run is unique by either of the two. A run that the target is to
 * keep is not in the way: the backup's is left out.
 */
function isTaken({ live, liveRuns }: TargetState, stays: string): string {
  const kept = liveRuns.map(({ id }) => id);
  return `EXISTS (SELECT 1 FROM ${quoteTable(live.schema, 'dag_run')} t
    WHERE ${kept.length === 0 ? '' : `t.id NOT IN (${kept.join(', ')}) AND `}t.dag_id = b.dag_id AND (t.run_id = b.run_id OR t.execution_date = b.execution_date) AND (${stays}))`;
}

/** The same question under the locks, when the target cannot change any more and what makes way is gone. */
export async function findTaken(client: Client, state: TargetState, stage: string): Promise<TakenRuns> {
  const result = await client.query<{ name: string; count: string }>(
    `SELECT dag_id || '/' || run_id AS name, pg_catalog.count(*) OVER () AS count FROM ${stage} b
      WHERE ${isTaken(state, 'true')} ORDER BY 1 LIMIT ${NAMES_SHOWN}`,
  );
  return { count: Number(result.rows[0]?.count ?? 0), names: result.rows.map(({ name }) => name) };
}

export function takenBlockers(target: string, taken: TakenRuns, clean: boolean): readonly Blocker[] {
  if (taken.count === 0) return [];
  const more = taken.count > taken.names.length ? ` and ${taken.count - taken.names.length} more` : '';
  const runs = taken.count === 1 ? 'a run' : `${taken.count} runs`;
  return [
    {
      code: 'runs-exist',
      message: `${target} has ${runs} of the same run_id or logical date as the backup: ${taken.names.join(', ')}${more}.`,
      next: clean
        ? 'They stay with --clean, being older than --since. Choose an earlier --since, or other DAGs.'
        : 'Add --clean to delete the chosen history of the target first, or choose other DAGs or a later --since.',
    },
  ];
}

/** What may have changed in the target since the plan was made: now under the locks, where nothing does any more. */
export async function lookAgain(
  client: Client,
  state: TargetState,
  facts: ChosenFacts,
): Promise<ChosenFacts> {
  return { ...facts, running: await findRunning(client, state, facts.choice) };
}

async function findRunning(client: Client, state: TargetState, choice: Choice): Promise<RunningTasks> {
  const cleared = clearedIn(state, choice, tableNamed(state, 'task_instance'));
  return findRunningTasks(client, state.live.schema, `(${cleared ?? 'false'}) IS NOT TRUE`);
}

/** The part of the target that makes way for what was chosen; live rows do not. */
export function clearedIn(
  state: TargetState,
  choice: Choice,
  table: ResolvedTable | undefined,
): string | undefined {
  if (!table) return undefined;
  const side: Side = {
    tables: state.tables,
    name: (name) => quoteTable(state.live.schema, name),
    reduced: () => false,
  };
  const condition = clearedCondition(choice, side, table);
  const live = livePredicate(state, table);
  if (condition === undefined || live === undefined) return condition;
  return `(${condition}) AND (${live}) IS NOT TRUE`;
}

async function countCleared(
  client: Client,
  state: TargetState,
  choice: Choice,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const table of state.tables) {
    const condition = clearedIn(state, choice, table);
    if (condition === undefined) continue;
    const result = await client.query<{ count: string }>(
      `SELECT pg_catalog.count(*) AS count FROM ${quoteTable(state.live.schema, table.name)} WHERE ${condition}`,
    );
    counts.set(table.name, Number(result.rows[0]?.count ?? 0));
  }
  return counts;
}

function tableNamed(state: TargetState, name: string): ResolvedTable | undefined {
  return state.tables.find((table) => table.name === name);
}

/** Columns of a stored table, a batch of rows at a time; nothing when the backup does not have the table. */
async function* batches(
  ctx: EngineContext,
  manifest: Manifest,
  name: string,
  columns: readonly string[],
): AsyncGenerator<readonly (readonly (string | null)[])[]> {
  const stored = storedTable(manifest, name);
  if (!stored) return;
  const fields = columns.map((column) => stored.columns.indexOf(column));
  let batch: (string | null)[][] = fields.map(() => []);
  for await (const row of readRows(ctx, stored, () => undefined)) {
    fields.forEach((field, index) => batch[index]?.push(row[field] ?? null));
    if ((batch[0]?.length ?? 0) < BATCH) continue;
    yield batch;
    batch = fields.map(() => []);
  }
  if ((batch[0]?.length ?? 0) > 0) yield batch;
}

function nothingChosen(manifest: Manifest, choice: Choice, others: readonly string[]): LifeboatError {
  const shown = [...others].sort().slice(0, NAMES_SHOWN).join(', ');
  const more = others.length > NAMES_SHOWN ? `, and ${others.length - NAMES_SHOWN} more` : '';
  return new LifeboatError('usage', `${patterns(choice)} chooses no DAG of backup ${manifest.backupId}.`, {
    next: others.length === 0 ? 'The backup has no DAG.' : `It has ${shown}${more}.`,
  });
}

function patterns({ dags, excludeDags, since }: Choice): string {
  return [
    ...(dags.length === 0 ? [] : [`--dags ${dags.join(',')}`]),
    ...(excludeDags.length === 0 ? [] : [`--exclude-dags ${excludeDags.join(',')}`]),
    ...(since === undefined ? [] : ['--since']),
  ].join(' ');
}
