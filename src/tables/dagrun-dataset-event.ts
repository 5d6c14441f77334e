import type { TableSpec } from './spec.ts';

/** Which updates made which run. */
export const dagrunDatasetEvent: TableSpec = {
  name: 'dagrun_dataset_event',
  key: ['dag_run_id', 'event_id'],
  columns: ['dag_run_id integer', 'event_id integer'],
  chosen: { by: 'parents', columns: ['dag_run_id'] },
  restore: { kind: 'history' },
  references: { dag_run_id: 'dag_run', event_id: 'dataset_event' },
  ofRun: [{ own: ['dag_run_id'], of: 'dag_run', theirs: ['id'], as: 'part' }],
};
