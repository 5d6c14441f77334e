import type { RestRead, RestGap, RestTable } from './rest-tables.ts';

/** How the lists of both majors are written. */
export interface TableEntry {
  readonly name: string;
  readonly since?: string;
  readonly key: readonly string[];
  readonly names?: readonly string[];
  readonly references?: RestTable['references'];
  readonly read: RestRead;
  /** `'column type field'`, the field where it is called otherwise; `!` behind the type: it may be masked; `*`: also, and null is no value; `^`: in capitals. */
  readonly columns: readonly ColumnEntry[];
  readonly notGiven?: readonly RestGap[];
}

export type ColumnEntry = string | { readonly column: string; readonly since: string };

export const TASK: readonly string[] = ['dag_id', 'task_id', 'run_id', 'map_index'];
export const INTERNAL = 'Airflow’s API does not give it';
export const PARSER = 'the parser of DAG files makes it anew';

/** The same in both majors. */
export const POOL: TableEntry = {
  name: 'slot_pool',
  key: ['pool'],
  read: { by: 'list', list: 'pools' },
  notGiven: [{ columns: ['id'], reason: INTERNAL }],
  columns: [
    'pool text name',
    'slots integer',
    'description text',
    { column: 'include_deferred boolean', since: '2.7' },
    { column: 'team_name text', since: '3.2' },
  ],
};

export const TRY_COLUMNS: readonly ColumnEntry[] = [
  'dag_id text',
  'task_id text',
  'run_id text dag_run_id',
  'map_index integer',
  'start_date timestamptz',
  'end_date timestamptz',
  'duration float',
  'state text',
  'try_number integer',
  'max_tries integer',
  'hostname text',
  'unixname text',
  'pool text',
  'pool_slots integer',
  'queue text',
  'priority_weight integer',
  'operator text',
  { column: 'custom_operator_name text operator_name', since: '3.1' },
  'queued_dttm timestamptz queued_when',
  { column: 'scheduled_dttm timestamptz scheduled_when', since: '3.0' },
  'pid integer',
  { column: 'executor text', since: '2.10' },
  { column: 'dag_version_id text dag_version.id', since: '3.0' },
  // Python's repr of a pickle: to be read, not to be loaded.
  'executor_config_text text executor_config',
];

const TASK_GAPS: readonly RestGap[] = [
  { columns: ['executor_config'], reason: 'the API gives its text alone (executor_config_text)' },
  { columns: ['next_method', 'next_kwargs', 'trigger_timeout'], reason: INTERNAL },
  { columns: ['queued_by_job_id', 'external_executor_id'], reason: INTERNAL },
];

/** Of Airflow 2. */
export const TASK_GAPS_2: readonly RestGap[] = [
  ...TASK_GAPS,
  { columns: ['trigger_id', 'job_id', 'updated_at'], reason: INTERNAL },
  { columns: ['custom_operator_name'], reason: INTERNAL, since: '2.7' },
  { columns: ['task_display_name', 'rendered_map_index'], reason: INTERNAL, since: '2.9' },
];

/** Of Airflow 2. */
export const DAG_OF_PARSER_2: readonly RestGap[] = [
  {
    columns: (
      'root_dag_id is_subdag last_parsed_time last_pickled last_expired scheduler_lock pickle_id processor_subdir owners ' +
      'description default_view schedule_interval timetable_description max_active_tasks max_active_runs ' +
      'has_task_concurrency_limits has_import_errors next_dagrun next_dagrun_data_interval_start ' +
      'next_dagrun_data_interval_end next_dagrun_create_after'
    ).split(' '),
    reason: PARSER,
  },
  {
    columns: ['dag_display_name', 'dataset_expression', 'max_consecutive_failed_dag_runs'],
    reason: PARSER,
    since: '2.9',
  },
];

/** Of Airflow 3. */
export const DAG_OF_PARSER_3: readonly RestGap[] = [
  {
    columns: (
      'dag_display_name description owners timetable_summary timetable_description asset_expression max_active_tasks ' +
      'max_active_runs max_consecutive_failed_dag_runs has_task_concurrency_limits has_import_errors last_parsed_time ' +
      'last_expired next_dagrun next_dagrun_data_interval_start next_dagrun_data_interval_end next_dagrun_create_after'
    ).split(' '),
    reason: PARSER,
  },
  { columns: ['last_parse_duration'], reason: PARSER, since: '3.1' },
  {
    columns: (
      'timetable_type timetable_partitioned deadline fail_fast allowed_run_types exceeds_max_non_backfill ' +
      'next_dagrun_partition_key next_dagrun_partition_date'
    ).split(' '),
    reason: PARSER,
    since: '3.2',
  },
  { columns: ['timetable_periodic', 'partition_mapper_info'], reason: PARSER, since: '3.3' },
];

export const TASK_GAPS_3: readonly RestGap[] = [
  ...TASK_GAPS,
  {
    columns: ['trigger_id', 'updated_at', 'context_carrier', 'span_status', 'custom_operator_name'],
    reason: INTERNAL,
  },
  {
    columns: ['task_display_name', 'rendered_map_index'],
    reason: 'the API gives what is shown in their place (shown_name, shown_map_index)',
  },
  { columns: ['retry_delay_override', 'retry_reason'], reason: INTERNAL, since: '3.3' },
];
