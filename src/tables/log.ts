import type { TableSpec } from './spec.ts';

/** The audit log (not the task logs, which are files). */
export const log: TableSpec = {
  name: 'log',
  key: ['id'],
  columns: [
    'id integer',
    'dttm timestamptz',
    'dag_id text',
    'task_id text',
    'map_index integer',
    'event text',
    'execution_date timestamptz',
    { column: 'run_id text', since: '2.9' },
    'owner text',
    { column: 'owner_display_name text', since: '2.8' },
    'extra text',
    { column: 'try_number integer', since: '2.10' },
  ],
  chosen: { by: 'dag', column: 'dag_id', happened: 'dttm' },
  sameFact: ['dttm', 'event', 'dag_id', 'task_id', 'map_index', 'execution_date', 'owner', 'extra'],
  restore: { kind: 'history' },
  serial: 'id',
  taskTokens: { column: 'extra', type: 'text', emptied: "'left out of the backup: a task token'" },
  ofRun: [
    { own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'about' },
    { own: ['dag_id', 'execution_date'], of: 'dag_run', theirs: ['dag_id', 'execution_date'], as: 'about' },
  ],
};
