import type { TableSpec } from './spec.ts';

/** Failed tries, for the Gantt and duration views. */
export const taskFail: TableSpec = {
  name: 'task_fail',
  key: ['id'],
  columns: [
    'id integer',
    'task_id text',
    'dag_id text',
    'run_id text',
    'map_index integer',
    'start_date timestamptz',
    'end_date timestamptz',
    'duration integer',
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  serial: 'id',
  after: ['task_instance'],
  ofRun: [{ own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'part' }],
};
