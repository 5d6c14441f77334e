import type { RestClient } from '../../rest/client.ts';
import { isRestError } from '../../rest/errors.ts';
import { fits, getOne } from '../../rest/one.ts';
import { allRows, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import { together } from './reading.ts';

/** A run, by what names it everywhere. */
export interface RunKey {
  readonly dagId: string;
  readonly runId: string;
  /** As the API writes it; only v1 needs it. */
  readonly logicalDate: string | null;
}

export const nameOfRun = ({ dagId, runId }: RunKey): string => `${dagId}/${runId}`;

export function keyOfRun(run: Row): RunKey {
  const date = run.logical_date;
  return {
    dagId: String(run.dag_id),
    runId: String(run.dag_run_id),
    logicalDate: typeof date === 'string' ? date : null,
  };
}

const BATCH = '/dags/~/dagRuns/~/taskInstances/list';
/** Runs whose tasks are asked for together. */
const RUNS_TOGETHER = 20;

/**
 * The task instances of some runs. v1's batch list has no order and, in older versions, no pages: so it is asked for few
 * enough runs that the answer is whole, and a run that is larger alone by its own list.
 */
export async function readTasks(client: RestClient, runs: readonly RunKey[]): Promise<readonly Row[]> {
  const groups = Array.from({ length: Math.ceil(runs.length / RUNS_TOGETHER) }, (_, at) =>
    runs.slice(at * RUNS_TOGETHER, (at + 1) * RUNS_TOGETHER),
  );
  return (await together(groups, (group) => tasksOf(client, group))).flat();
}

async function tasksOf(client: RestClient, runs: readonly RunKey[]): Promise<readonly Row[]> {
  const wanted = new Set(runs.map(nameOfRun));
  const own = (rows: readonly Row[]): readonly Row[] =>
    rows.filter((row) => wanted.has(nameOfRun(keyOfRun(row))));
  const form = { dag_ids: [...new Set(runs.map(({ dagId }) => dagId))], ...runFilter(client, runs) };
  if (client.dialect.api === 'v2') {
    const listing = { path: BATCH, rows: 'task_instances', key: ['id'], orderBy: 'id', form };
    return own(await allRows(client, listing));
  }
  const { body } = await client.send({ method: 'POST', path: BATCH, body: form, repeatable: true });
  const { task_instances: rows, total_entries: total } = body as {
    task_instances: readonly Row[];
    total_entries: number;
  };
  if (rows.length === total) return own(rows);
  const [first] = runs;
  if (first === undefined) return [];
  if (runs.length > 1) {
    const half = Math.ceil(runs.length / 2);
    return [...(await tasksOf(client, runs.slice(0, half))), ...(await tasksOf(client, runs.slice(half)))];
  }
  return allRows(client, {
    path: restPath('/dags/{dagId}/dagRuns/{runId}/taskInstances', { dagId: first.dagId, runId: first.runId }),
    rows: 'task_instances',
    key: ['task_id', 'map_index'],
  });
}

/** By the ids, or where they are no filter yet by the dates between which the runs lie. */
function runFilter(client: RestClient, runs: readonly RunKey[]): Row {
  if (client.offers('tasksByRun')) return { dag_run_ids: [...new Set(runs.map(({ runId }) => runId))] };
  const dates = runs.flatMap(({ logicalDate }) => logicalDate ?? []).sort();
  return { execution_date_gte: dates[0], execution_date_lte: dates.at(-1) };
}

const ENDED: readonly unknown[] = ['success', 'failed', 'skipped', 'upstream_failed', 'removed'];

/** What may have tries behind it: a second try, or a first one that goes on being tried. */
export function hasTries({ try_number: number, state }: Row): boolean {
  return typeof number === 'number' && (number > 1 || (number === 1 && !ENDED.includes(state)));
}

/** The earlier tries of a task instance; undefined: its path is too long. */
export async function readTries(client: RestClient, task: Row): Promise<readonly Row[] | undefined> {
  const { dagId, runId } = keyOfRun(task);
  const mapped = Number(task.map_index) >= 0 ? `/${String(task.map_index)}` : '';
  const template = `/dags/{dagId}/dagRuns/{runId}/taskInstances/{taskId}${mapped}/tries`;
  const path = restPath(template, { dagId, runId, taskId: String(task.task_id) });
  if (!fits(client, path)) return undefined;
  const body = await getOne(client, path).catch((thrown: unknown) => {
    // 2.10 has none for a task that its DAG does not have any more.
    if (isRestError(thrown, 404)) return undefined;
    throw thrown;
  });
  const rows: unknown =
    typeof body === 'object' && body !== null ? Reflect.get(body, 'task_instances') : undefined;
  return Array.isArray(rows) ? withoutCurrent(task, rows as readonly Row[]) : [];
}

/** The API tells the current try behind the earlier ones, but where it waits for the next: then all are earlier ones. */
function withoutCurrent({ try_number: number, state }: Row, rows: readonly Row[]): readonly Row[] {
  if (state === 'up_for_retry') return rows;
  const current = rows.findLastIndex((row) => row.try_number === number);
  return rows.filter((_row, at) => at !== current);
}
