import type { TableSpec } from './spec.ts';

/** Notes on task instances. Users are not restored, so their ids are translated by name. */
export const taskInstanceNote: TableSpec = {
  name: 'task_instance_note',
  key: ['task_id', 'dag_id', 'run_id', 'map_index'],
  columns: [
    'user_id integer',
    'task_id text',
    'dag_id text',
    'run_id text',
    'map_index integer',
    'content text',
    'created_at timestamptz',
    'updated_at timestamptz',
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  after: ['task_instance'],
  references: { user_id: 'ab_user' },
  ofRun: [{ own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'part' }],
};
