import type { RestClient } from '../../rest/client.ts';
import { isRestError } from '../../rest/errors.ts';
import { allRows, type Listing, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import { sendUnlessBroken } from '../../rest/unless-broken.ts';
import { FAILS, noWayTo, placeOf, together, type Reading } from './reading.ts';

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
 * enough runs that the answer is whole, and a run that is larger alone by its own list. Where the server fails at one of
 * them, its run is found by halves, and it is named.
 */
export async function readTasks(reading: Reading, runs: readonly RunKey[]): Promise<readonly Row[]> {
  const groups = inGroups(runs, RUNS_TOGETHER);
  return (await together(groups, (group) => tasksOf(reading, group))).flat();
}

function inGroups(runs: readonly RunKey[], size: number): readonly (readonly RunKey[])[] {
  return Array.from({ length: Math.ceil(runs.length / size) }, (_, at) =>
    runs.slice(at * size, (at + 1) * size),
  );
}

async function tasksOf(reading: Reading, runs: readonly RunKey[]): Promise<readonly Row[]> {
  const { client } = reading;
  const found = client.dialect.api === 'v2' ? await orderedBatch(client, runs) : await batch(client, runs);
  const wanted = new Set(runs.map(nameOfRun));
  if ('rows' in found) return found.rows.filter((row) => wanted.has(nameOfRun(keyOfRun(row))));
  const [run] = runs;
  if (run === undefined) return [];
  if (runs.length === 1) return tasksOfOne(reading, run);
  const size = Math.max(1, Math.floor(runs.length * found.share));
  const rows: Row[] = [];
  for (const group of inGroups(runs, size)) rows.push(...(await tasksOf(reading, group)));
  return rows;
}

/** Without rows: which share of these runs to ask for at once. */
type Batch = { readonly rows: readonly Row[] } | { readonly share: number };

const HALF: Batch = { share: 0.5 };
/** Runs are of different sizes. */
const FILL = 0.9;

/** In halves where the server fails at one of them. */
async function orderedBatch(client: RestClient, runs: readonly RunKey[]): Promise<Batch> {
  try {
    return { rows: await allRows(client, batchOf(client, runs)) };
  } catch (thrown) {
    if (isRestError(thrown, 500)) return HALF;
    throw thrown;
  }
}

/** Newer ones of v1 give a hundred, of all that there are. */
async function batch(client: RestClient, runs: readonly RunKey[]): Promise<Batch> {
  const { path, form } = batchOf(client, runs);
  const answer = await sendUnlessBroken(client, { method: 'POST', path, body: form, repeatable: true });
  if (answer === undefined) return HALF;
  const { task_instances: rows, total_entries: total } = answer.body as {
    task_instances: readonly Row[];
    total_entries: number;
  };
  if (rows.length === total) return { rows };
  return { share: Math.min(0.5, (FILL * rows.length) / total) };
}

function batchOf(client: RestClient, runs: readonly RunKey[]): Listing {
  const form = { dag_ids: [...new Set(runs.map(({ dagId }) => dagId))], ...runFilter(client, runs) };
  return { path: BATCH, rows: 'task_instances', key: ['id'], orderBy: 'id', form };
}

/** Of a run that has too many for one answer, or one that the server fails at. */
async function tasksOfOne({ client, gaps }: Reading, run: RunKey): Promise<readonly Row[]> {
  const { dagId, runId } = run;
  const path = restPath('/dags/{dagId}/dagRuns/{runId}/taskInstances', { dagId, runId });
  const own: Listing =
    client.dialect.api === 'v2'
      ? batchOf(client, [run])
      : { path, rows: 'task_instances', key: ['task_id', 'map_index'] };
  const noWay = noWayTo(client, own.path);
  if (noWay !== undefined) {
    gaps.row('task_instance', `${nameOfRun(run)}/…`, noWay);
    return [];
  }
  const rows = await allRows(client, {
    ...own,
    onUnreadable: (after, nth) => {
      const place = placeOf('one', nth, after && nameOfTask(after));
      gaps.row('task_instance', `${nameOfRun(run)}: ${place}`, FAILS);
    },
  });
  return rows.filter((row) => nameOfRun(keyOfRun(row)) === nameOfRun(run));
}

function nameOfTask({ task_id: id, map_index: index }: Row): string {
  return `${String(id)}${typeof index === 'number' && index >= 0 ? `[${index}]` : ''}`;
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

/** The earlier tries of a task instance, or why there are none. */
export async function readTries(
  client: RestClient,
  task: Row,
): Promise<{ readonly rows: readonly Row[] } | { readonly lost: string }> {
  const { dagId, runId } = keyOfRun(task);
  const mapped = Number(task.map_index) >= 0 ? `/${String(task.map_index)}` : '';
  const template = `/dags/{dagId}/dagRuns/{runId}/taskInstances/{taskId}${mapped}/tries`;
  const path = restPath(template, { dagId, runId, taskId: String(task.task_id) });
  const noWay = noWayTo(client, path);
  if (noWay !== undefined) return { lost: noWay };
  try {
    const answer = await sendUnlessBroken(client, { method: 'GET', path });
    if (answer === undefined) return { lost: FAILS };
    const { body } = answer;
    const rows: unknown =
      typeof body === 'object' && body !== null ? Reflect.get(body, 'task_instances') : undefined;
    return { rows: Array.isArray(rows) ? withoutCurrent(task, rows as readonly Row[]) : [] };
  } catch (thrown) {
    // 2.10 has none for a task that its DAG does not have any more.
    if (isRestError(thrown, 404)) return { rows: [] };
    throw thrown;
  }
}

/**
 * The API tells the current try behind the earlier ones, but where it waits for the next: then all are earlier ones, and
 * 2.10 tells the last of them twice.
 */
function withoutCurrent({ try_number: number, state }: Row, rows: readonly Row[]): readonly Row[] {
  if (state === 'up_for_retry') {
    return rows.filter((row, at) => rows.findIndex((one) => one.try_number === row.try_number) === at);
  }
  const current = rows.findLastIndex((row) => row.try_number === number);
  return rows.filter((_row, at) => at !== current);
}
