import type { TableSpec } from './spec.ts';

/** Tags of DAGs, rewritten by the parser. */
export const dagTag: TableSpec = {
  name: 'dag_tag',
  key: ['name', 'dag_id'],
  columns: ['name text', 'dag_id text'],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'merge', by: ['name', 'dag_id'], existing: 'keep' },
  after: ['dag'],
};
