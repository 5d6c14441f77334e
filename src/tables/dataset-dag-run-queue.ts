import type { TableSpec } from './spec.ts';

/** Datasets that a waiting DAG has already seen updated. */
export const datasetDagRunQueue: TableSpec = {
  name: 'dataset_dag_run_queue',
  key: ['dataset_id', 'target_dag_id'],
  columns: ['dataset_id integer', 'target_dag_id text', 'created_at timestamptz'],
  chosen: { by: 'dag', column: 'target_dag_id' },
  restore: { kind: 'history' },
  after: ['dag'],
  references: { dataset_id: 'dataset' },
};
