import type { TableSpec } from './spec.ts';

/** Which DAGs a dataset starts. A producer that ends before its consumer is parsed again would queue nothing without these rows. */
export const dagScheduleDatasetReference: TableSpec = {
  name: 'dag_schedule_dataset_reference',
  key: ['dataset_id', 'dag_id'],
  columns: ['dataset_id integer', 'dag_id text', 'created_at timestamptz', 'updated_at timestamptz'],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'merge', by: ['dataset_id', 'dag_id'], existing: 'keep' },
  after: ['dag'],
  references: { dataset_id: 'dataset' },
};
