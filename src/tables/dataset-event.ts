import type { TableSpec } from './spec.ts';

/** Updates of datasets. `dataset_id` has no foreign key. */
export const datasetEvent: TableSpec = {
  name: 'dataset_event',
  key: ['id'],
  columns: [
    'id integer',
    'dataset_id integer',
    'extra json',
    'source_task_id text',
    'source_dag_id text',
    'source_run_id text',
    'source_map_index integer',
    'timestamp timestamptz',
  ],
  chosen: { by: 'dag', column: 'source_dag_id', happened: 'timestamp', evenHeld: true },
  sameFact: [
    'timestamp',
    'dataset_id',
    'source_dag_id',
    'source_task_id',
    'source_run_id',
    'source_map_index',
  ],
  restore: { kind: 'history' },
  serial: 'id',
  references: { dataset_id: 'dataset' },
  ofRun: [
    { own: ['source_dag_id', 'source_run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'about' },
    { own: ['id'], of: 'dagrun_dataset_event', theirs: ['event_id'], as: 'held' },
  ],
};
