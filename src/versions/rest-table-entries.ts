import type { RestRead, RestGap, RestTable } from './rest-tables.ts';

/** How the lists of both majors are written. */
export interface TableEntry {
  readonly name: string;
  readonly since?: string;
  readonly key: readonly string[];
  readonly names?: readonly string[];
  readonly references?: RestTable['references'];
  readonly read: RestRead;
  /** `'column type field'`, the field where it is called otherwise; `!` behind the type: it may be masked. */
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
  { column: 'custom_operator_name text operator_name', since: '3.0' },
  'queued_dttm timestamptz queued_when',
  { column: 'scheduled_dttm timestamptz scheduled_when', since: '3.0' },
  'pid integer',
  { column: 'executor text', since: '2.10' },
  { column: 'dag_version_id text dag_version.id', since: '3.0' },
  // Python's repr of a pickle: to be read, not to be loaded.
  'executor_config_text text executor_config',
];

export const TASK_GAPS: readonly RestGap[] = [
  { columns: ['executor_config'], reason: 'the API gives its text alone (executor_config_text)' },
  { columns: ['next_method', 'next_kwargs', 'trigger_timeout'], reason: INTERNAL },
  { columns: ['job_id', 'queued_by_job_id', 'external_executor_id'], reason: INTERNAL },
];
