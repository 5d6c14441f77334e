import type { TableSpec } from './spec.ts';

/** Dataset aliases, registered by the parser: matched by name. */
export const datasetAlias: TableSpec = {
  name: 'dataset_alias',
  since: '2.10',
  key: ['id'],
  columns: ['id integer', 'name text'],
  chosen: { by: 'referrers' },
  restore: { kind: 'merge', by: ['name'], existing: 'keep' },
  serial: 'id',
};
