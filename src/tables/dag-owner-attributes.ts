import type { TableSpec } from './spec.ts';

/** Links of DAG owners, rewritten by the parser. */
export const dagOwnerAttributes: TableSpec = {
  name: 'dag_owner_attributes',
  key: ['dag_id', 'owner'],
  columns: ['dag_id text', 'owner text', 'link text'],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'merge', by: ['dag_id', 'owner'], existing: 'keep' },
  after: ['dag'],
};
