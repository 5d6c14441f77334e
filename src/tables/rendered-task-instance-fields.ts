import type { TableSpec } from './spec.ts';

/** Templated fields as they were rendered. */
export const renderedTaskInstanceFields: TableSpec = {
  name: 'rendered_task_instance_fields',
  key: ['dag_id', 'task_id', 'run_id', 'map_index'],
  columns: [
    'dag_id text',
    'task_id text',
    'run_id text',
    'map_index integer',
    'rendered_fields json',
    'k8s_pod_yaml json',
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  after: ['task_instance'],
  ofRun: [{ own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'part' }],
};
