import type { TableSpec } from './spec.ts';

/** Missed SLAs. */
export const slaMiss: TableSpec = {
  name: 'sla_miss',
  key: ['task_id', 'dag_id', 'execution_date'],
  columns: [
    'task_id text',
    'dag_id text',
    'execution_date timestamptz',
    'email_sent boolean',
    'timestamp timestamptz',
    'description text',
    'notification_sent boolean',
  ],
  chosen: { by: 'dag', column: 'dag_id', happened: 'timestamp' },
  restore: { kind: 'history' },
  ofRun: [
    { own: ['dag_id', 'execution_date'], of: 'dag_run', theirs: ['dag_id', 'execution_date'], as: 'about' },
  ],
};
