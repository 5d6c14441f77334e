import type { TableSpec } from './spec.ts';

/** Which DAGs an alias starts. */
export const dagScheduleDatasetAliasReference: TableSpec = {
  name: 'dag_schedule_dataset_alias_reference',
  since: '2.10',
  key: ['alias_id', 'dag_id'],
  columns: ['alias_id integer', 'dag_id text', 'created_at timestamptz', 'updated_at timestamptz'],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'merge', by: ['alias_id', 'dag_id'], existing: 'keep' },
  after: ['dag'],
  references: { alias_id: 'dataset_alias' },
};
