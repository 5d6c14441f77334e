import type { TableSpec } from './spec.ts';

/** Which datasets an alias has stood for. */
export const datasetAliasDataset: TableSpec = {
  name: 'dataset_alias_dataset',
  since: '2.10',
  key: ['alias_id', 'dataset_id'],
  columns: ['alias_id integer', 'dataset_id integer'],
  chosen: { by: 'parents', columns: ['alias_id', 'dataset_id'] },
  restore: { kind: 'merge', by: ['alias_id', 'dataset_id'], existing: 'keep' },
  references: { alias_id: 'dataset_alias', dataset_id: 'dataset' },
};
