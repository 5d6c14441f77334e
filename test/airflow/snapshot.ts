import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import { lifeboat } from './lifeboat.ts';

export interface SnapshotRun {
  readonly dag_id: string;
  readonly run_id: string;
  readonly run_type: string;
  readonly state: string;
}

export interface SnapshotTask {
  readonly dag_id: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly map_index: string;
  /** '' for NULL. */
  readonly state: string;
  readonly try_number: string;
  readonly max_tries: string;
  readonly end_date: string;
}

export interface Snapshot {
  readonly runs: readonly SnapshotRun[];
  readonly tasks: readonly SnapshotTask[];
  readonly reschedules: readonly Readonly<Record<string, string>>[];
}

const FINISHED_TASK = ['success', 'failed', 'skipped', 'upstream_failed', 'removed'];

export const isFinishedRun = ({ state }: SnapshotRun): boolean => state === 'success' || state === 'failed';
export const isFinishedTask = ({ state }: SnapshotTask): boolean => FINISHED_TASK.includes(state);

export const runKey = (row: { readonly dag_id: unknown; readonly run_id: unknown }): string =>
  JSON.stringify([row.dag_id, row.run_id]);

export const taskKey = (row: {
  readonly dag_id: unknown;
  readonly run_id: unknown;
  readonly task_id: unknown;
  readonly map_index: unknown;
}): string => JSON.stringify([row.dag_id, row.run_id, row.task_id, Number(row.map_index)]);

/** What the newest backup holds, read through `lifeboat export`: the source itself went on after its snapshot. */
export async function readSnapshot(storage: string, folder: string): Promise<Snapshot> {
  const tables = ['dag_run', 'task_instance', 'task_reschedule'];
  const args = ['export', 'latest', '--storage', storage, '--to', folder, '--format', 'csv'];
  await lifeboat([...args, '--tables', tables.join(',')]);
  const [runs, tasks, reschedules] = await Promise.all(
    tables.map(async (table) => {
      const text = await readFile(join(folder, `${table}.csv`), 'utf8');
      return parse<Record<string, string>>(text, { columns: true });
    }),
  );
  return {
    runs: runs as unknown as SnapshotRun[],
    tasks: tasks as unknown as SnapshotTask[],
    reschedules: reschedules ?? [],
  };
}
