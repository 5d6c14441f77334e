import type { TableSpec } from './spec.ts';

/** Values passed between tasks. `dag_run_id` has no foreign key, yet Airflow joins on it: a stale one makes the value unreadable. */
export const xcom: TableSpec = {
  name: 'xcom',
  key: ['dag_run_id', 'task_id', 'map_index', 'key'],
  columns: [
    'dag_run_id integer',
    'task_id text',
    'map_index integer',
    'key text',
    'dag_id text',
    'run_id text',
    'value bytea',
    'timestamp timestamptz',
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  after: ['task_instance'],
  references: { dag_run_id: 'dag_run' },
  countsAsHistory: true,
  ofRun: [{ own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'part' }],
};
