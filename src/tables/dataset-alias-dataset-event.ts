import type { TableSpec } from './spec.ts';

/** Which updates came through which alias. */
export const datasetAliasDatasetEvent: TableSpec = {
  name: 'dataset_alias_dataset_event',
  since: '2.10',
  key: ['alias_id', 'event_id'],
  columns: ['alias_id integer', 'event_id integer'],
  chosen: { by: 'parents', columns: ['event_id'] },
  restore: { kind: 'history' },
  references: { alias_id: 'dataset_alias', event_id: 'dataset_event' },
  ofRun: [{ own: ['event_id'], of: 'dataset_event', theirs: ['id'], as: 'about' }],
};
