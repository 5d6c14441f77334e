import type { TableSpec } from './spec.ts';

/** Notes on runs. Users are not restored, so their ids are translated by name. */
export const dagRunNote: TableSpec = {
  name: 'dag_run_note',
  key: ['dag_run_id'],
  columns: [
    'user_id integer',
    'dag_run_id integer',
    'content text',
    'created_at timestamptz',
    'updated_at timestamptz',
  ],
  chosen: { by: 'parents', columns: ['dag_run_id'] },
  restore: { kind: 'history' },
  references: { dag_run_id: 'dag_run', user_id: 'ab_user' },
  ofRun: [{ own: ['dag_run_id'], of: 'dag_run', theirs: ['id'], as: 'part' }],
};
