import type { TableSpec } from './spec.ts';

/** Identity, pause state and next run of each DAG; the rest is rewritten by the parser. */
export const dag: TableSpec = {
  name: 'dag',
  key: ['dag_id'],
  columns: [
    'dag_id text',
    'root_dag_id text',
    'is_paused boolean',
    'is_subdag boolean',
    'is_active boolean',
    'last_parsed_time timestamptz',
    'last_expired timestamptz',
    'fileloc text',
    'processor_subdir text',
    'owners text',
    { column: 'dag_display_name text', since: '2.9' },
    'description text',
    'default_view text',
    'schedule_interval text',
    'timetable_description text',
    { column: 'dataset_expression json', since: '2.9' },
    'max_active_tasks integer',
    'max_active_runs integer',
    { column: 'max_consecutive_failed_dag_runs integer', since: '2.9', migrated: '0' },
    'has_task_concurrency_limits boolean',
    'has_import_errors boolean',
    'next_dagrun timestamptz',
    'next_dagrun_data_interval_start timestamptz',
    'next_dagrun_data_interval_end timestamptz',
    'next_dagrun_create_after timestamptz',
  ],
  leftOutColumns: [
    { name: 'scheduler_lock', reason: 'a lock of the dead environment; unused since 2.0' },
    { name: 'last_pickled', reason: 'points into dag_pickle, which is left out' },
    { name: 'pickle_id', reason: 'points into dag_pickle, which is left out' },
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'merge', by: ['dag_id'], existing: 'schedule' },
  rewrites: [
    // NULL in databases that were migrated to 2.9.0 or 2.9.1; NOT NULL and 0 since 2.9.2
    // (0142_2_9_2_fix_inconsistency_between_ORM_and_migration_files.py).
    {
      column: 'max_consecutive_failed_dag_runs',
      when: 'max_consecutive_failed_dag_runs IS NULL',
      to: '0',
    },
  ],
};
