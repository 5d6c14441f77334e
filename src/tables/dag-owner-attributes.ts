import type { TableSpec } from './spec.ts';

/** Links of DAG owners, rewritten by the parser. */
export const dagOwnerAttributes: TableSpec = {
  name: 'dag_owner_attributes',
  key: ['dag_id', 'owner'],
  columns: ['dag_id text', 'owner text', 'link text'],
  restore: { kind: 'merge', by: ['dag_id', 'owner'], existing: 'keep' },
  after: ['dag'],
};
