import type { TableSpec } from './spec.ts';

/** Datasets, registered by the parser: matched by uri, and every reference follows. */
export const dataset: TableSpec = {
  name: 'dataset',
  key: ['id'],
  columns: [
    'id integer',
    'uri text',
    'extra json',
    'created_at timestamptz',
    'updated_at timestamptz',
    'is_orphaned boolean',
  ],
  chosen: { by: 'referrers' },
  restore: { kind: 'merge', by: ['uri'], existing: 'keep' },
  serial: 'id',
};
