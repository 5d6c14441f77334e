import type { TableSpec } from './spec.ts';

/** Lengths of what mapped tasks expand over. */
export const taskMap: TableSpec = {
  name: 'task_map',
  key: ['dag_id', 'task_id', 'run_id', 'map_index'],
  columns: ['dag_id text', 'task_id text', 'run_id text', 'map_index integer', 'length integer', 'keys json'],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  after: ['task_instance'],
  ofRun: [{ own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'part' }],
};
