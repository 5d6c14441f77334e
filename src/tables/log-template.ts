import type { TableSpec } from './spec.ts';

/** Where task logs are found. Ids differ between environments (upgraded ones have more rows), so they are matched by content. */
export const logTemplate: TableSpec = {
  name: 'log_template',
  key: ['id'],
  columns: ['id integer', 'filename text', 'elasticsearch_id text', 'created_at timestamptz'],
  chosen: { by: 'referrers' },
  restore: { kind: 'merge', by: ['filename', 'elasticsearch_id'], existing: 'keep' },
  serial: 'id',
  liveRows: 'true',
};
