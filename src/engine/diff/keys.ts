import type { ResolvedTable } from '../../versions/registry.ts';

/** What a comparison needs to know of a table. */
export type ComparedSpec = Pick<
  ResolvedTable,
  'name' | 'key' | 'columns' | 'restore' | 'serial' | 'references' | 'secrets'
>;

/**
 * Natural keys of tables whose own key holds an id that another environment may give to another row. Tables that are
 * merged by a natural key have theirs in `restore.by`; those with neither have rows that are only equal or not (job,
 * trigger, log, task_fail, task_reschedule).
 */
const NATURAL_KEYS: Readonly<Record<string, readonly string[]>> = {
  dag_run: ['dag_id', 'run_id'],
  xcom: ['dag_id', 'run_id', 'task_id', 'map_index', 'key'],
  // Unique by the way Airflow writes it: one row for each try that was followed by another (taskinstancehistory.py).
  task_instance_history: ['dag_id', 'run_id', 'task_id', 'map_index', 'try_number'],
  // The same task may update a dataset twice in one moment; equal keys are paired one to one.
  dataset_event: [
    'dataset_id',
    'source_dag_id',
    'source_run_id',
    'source_task_id',
    'source_map_index',
    'timestamp',
  ],
};

/** The order for people: from the DAG down to the task. */
const TASK_KEY = ['dag_id', 'run_id', 'task_id', 'map_index'];

/** Columns that name a row in every environment; undefined where only ids do. */
export function naturalKey(spec: ComparedSpec): readonly string[] | undefined {
  if (spec.restore.kind !== 'history') return spec.restore.by;
  const special = NATURAL_KEYS[spec.name];
  if (special) return special;
  if (spec.serial !== undefined && spec.key.includes(spec.serial)) return undefined;
  const ofTask = spec.key.length === TASK_KEY.length && TASK_KEY.every((column) => spec.key.includes(column));
  return ofTask ? TASK_KEY : spec.key;
}
