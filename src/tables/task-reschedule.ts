import type { TableSpec } from './spec.ts';

/** Pokes of sensors in reschedule mode. */
export const taskReschedule: TableSpec = {
  name: 'task_reschedule',
  key: ['id'],
  columns: [
    'id integer',
    'task_id text',
    'dag_id text',
    'run_id text',
    'map_index integer',
    'try_number integer',
    'start_date timestamptz',
    'end_date timestamptz',
    'duration integer',
    'reschedule_date timestamptz',
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  serial: 'id',
  after: ['dag_run', 'task_instance'],
  ofRun: [{ own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'part' }],
};
