import type { TableSpec } from './spec.ts';

/** What deferred tasks wait for. The triggerer tells triggers apart by id alone. `kwargs` is json up to 2.8 and text, usually a Fernet token, from 2.9 (airflow/models/trigger.py). */
export const trigger: TableSpec = {
  name: 'trigger',
  key: ['id'],
  columns: [
    'id integer',
    'classpath text',
    { column: 'kwargs json', until: '2.9' },
    { column: 'kwargs text', since: '2.9' },
    'created_date timestamptz',
    'triggerer_id integer',
  ],
  chosen: { by: 'referrers' },
  restore: { kind: 'history' },
  serial: 'id',
  references: { triggerer_id: 'job' },
  neverReuseIds: true,
  // A triggerer of the source is dead, and its id may be that of a live one here; NULL is what the target's take up
  // (Trigger.assign_unassigned, airflow/models/trigger.py, 2.5–2.11).
  rewrites: [{ column: 'triggerer_id', when: 'true', to: 'NULL' }],
  secrets: [{ column: 'kwargs', since: '2.9' }],
  // A trigger that is deleted takes its task instance along (ON DELETE CASCADE).
  ofRun: [{ own: ['id'], of: 'task_instance', theirs: ['trigger_id'], as: 'held' }],
};
