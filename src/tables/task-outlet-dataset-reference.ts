import type { TableSpec } from './spec.ts';

/** Which tasks update a dataset. */
export const taskOutletDatasetReference: TableSpec = {
  name: 'task_outlet_dataset_reference',
  key: ['dataset_id', 'dag_id', 'task_id'],
  columns: [
    'dataset_id integer',
    'dag_id text',
    'task_id text',
    'created_at timestamptz',
    'updated_at timestamptz',
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'merge', by: ['dataset_id', 'dag_id', 'task_id'], existing: 'keep' },
  after: ['dag'],
  references: { dataset_id: 'dataset' },
};
