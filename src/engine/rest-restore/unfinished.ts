import { isoDate } from '../list-runs.ts';
import { type Manifest, storedTable } from '../manifest.ts';
import type { BackupReader, StoredRecord } from './records.ts';
import { storedJson } from './stored-json.ts';

export interface StoredTask {
  readonly taskId: string;
  readonly mapIndex: number;
  readonly state: string | null;
  readonly startDate: string | null;
}

export interface StoredXcom {
  readonly taskId: string;
  /** Null: a backup through the API of 2.5 or 2.6 does not know it. */
  readonly mapIndex: number | null;
  readonly key: string;
  /** Undefined: the backup does not have it as JSON. */
  readonly value: unknown;
}

/** A run that had not ended, with what is known of its tasks. Dates are ISO 8601. */
export interface UnfinishedRun {
  readonly dagId: string;
  readonly runId: string;
  readonly state: string;
  readonly logicalDate: string | null;
  readonly interval: readonly [start: string, end: string] | null;
  readonly runAfter: string | null;
  /** Undefined: it is no JSON. */
  readonly conf: unknown;
  readonly note: string | null;
  readonly partitionKey: string | null;
  readonly tasks: readonly StoredTask[];
  readonly xcoms: readonly StoredXcom[];
}

const ENDED: readonly (string | null | undefined)[] = ['success', 'failed'];

/** The backup has no such table: then nobody knows what had been done of a run. */
export const NEEDED: readonly string[] = ['dag_run', 'task_instance', 'xcom'];

/** All runs of the chosen DAGs that had not ended, in the order of their DAGs and dates. */
export async function readUnfinished(
  manifest: Manifest,
  reader: BackupReader,
  isChosen: (dagId: string) => boolean,
): Promise<readonly UnfinishedRun[]> {
  const runs = new Map<string, StoredRecord>();
  for await (const run of reader.records('dag_run')) {
    if (!ENDED.includes(run.state) && isChosen(run.dag_id ?? '')) runs.set(nameOf(run), run);
  }
  if (runs.size === 0) return [];
  const tasks = new Map<string, StoredTask[]>();
  for await (const task of reader.records('task_instance')) {
    if (runs.has(nameOf(task))) push(tasks, nameOf(task), toTask(task));
  }
  const notes = await readNotes(reader, runs);
  const lost = lostValues(manifest);
  const xcoms = new Map<string, StoredXcom[]>();
  const type = typeOf(manifest, 'xcom', 'value');
  for await (const xcom of reader.records('xcom')) {
    if (runs.has(nameOf(xcom))) push(xcoms, nameOf(xcom), toXcom(xcom, type, lost));
  }
  const confType = typeOf(manifest, 'dag_run', 'conf');
  return [...runs]
    .map(([name, run]) => ({
      ...toRun(run, confType),
      note: run.note ?? notes.get(run.id ?? '') ?? null,
      tasks: tasks.get(name) ?? [],
      xcoms: xcoms.get(name) ?? [],
    }))
    .sort((a, b) => compare(a.dagId, b.dagId) || compare(a.logicalDate ?? a.runId, b.logicalDate ?? b.runId));
}

/** In a database they have a table of their own, which names runs by their numbers. */
async function readNotes(
  reader: BackupReader,
  runs: ReadonlyMap<string, StoredRecord>,
): Promise<ReadonlyMap<string, string>> {
  const ids = new Set([...runs.values()].map(({ id }) => id));
  const notes = new Map<string, string>();
  for await (const { dag_run_id: id, content } of reader.records('dag_run_note')) {
    if (typeof id === 'string' && typeof content === 'string' && ids.has(id)) notes.set(id, content);
  }
  return notes;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function nameOf({ dag_id: dagId, run_id: runId }: StoredRecord): string {
  return `${dagId ?? ''}/${runId ?? ''}`;
}

function push<Value>(lists: Map<string, Value[]>, name: string, value: Value): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [value]);
  else list.push(value);
}

function typeOf(manifest: Manifest, table: string, column: string): string {
  return storedTable(manifest, table)?.types[column] ?? '';
}

function toRun(run: StoredRecord, confType: string): Omit<UnfinishedRun, 'note' | 'tasks' | 'xcoms'> {
  const [start, end] = [isoDate(run.data_interval_start), isoDate(run.data_interval_end)];
  // v1 gives it as JSON; the column of that name is a pickle.
  const [conf, type] = run.conf_json === undefined ? [run.conf ?? null, confType] : [run.conf_json, 'json'];
  return {
    dagId: run.dag_id ?? '',
    runId: run.run_id ?? '',
    state: run.state ?? 'queued',
    logicalDate: isoDate(run.logical_date === undefined ? run.execution_date : run.logical_date),
    interval: start === null || end === null ? null : [start, end],
    runAfter: isoDate(run.run_after),
    conf: conf === null ? {} : nullAsNone(storedJson(conf, type)?.value),
    partitionKey: run.partition_key ?? null,
  };
}

function toTask(task: StoredRecord): StoredTask {
  return {
    taskId: task.task_id ?? '',
    mapIndex: Number(task.map_index ?? -1),
    state: task.state ?? null,
    startDate: isoDate(task.start_date),
  };
}

function toXcom(xcom: StoredRecord, type: string, lost: ReadonlySet<string>): StoredXcom {
  const [taskId, key] = [xcom.task_id ?? '', xcom.key ?? ''];
  const isLost = lost.has(`${nameOf(xcom)}/${taskId}/${key}`);
  // JSON's null is no text in a backup through the API.
  const isNull = xcom.value === null && type.startsWith('json') && !isLost;
  const value = isNull ? null : storedJson(xcom.value ?? null, type)?.value;
  return { taskId, mapIndex: xcom.map_index === undefined ? null : Number(xcom.map_index), key, value };
}

/** A run of Airflow 2 that was asked for without a conf may have the pickle of None. */
function nullAsNone(conf: unknown): unknown {
  return conf === null ? {} : conf;
}

/** XComs whose value the API did not give. */
function lostValues({ leftOut }: Manifest): ReadonlySet<string> {
  return new Set(
    leftOut.filter(({ table, columns }) => table === 'xcom' && columns).flatMap(({ names }) => names ?? []),
  );
}
