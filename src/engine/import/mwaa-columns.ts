import type { Minor } from '../../tables/spec.ts';
import { inRange } from '../../versions/minors.ts';

type Column = string | { readonly name: string; readonly since: Minor };

/**
 * Fields of the files of mwaa_dr, in their order, which no header tells.
 * Source: aws-samples/mwaa-disaster-recovery, assets/dags/mwaa_dr/v_2_4 to v_2_10 and framework/model.
 */
const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  variable: ['key', 'val', 'description'],
  connection: ['conn_id', 'conn_type', 'description', 'extra', 'host', 'login', 'password', 'port', 'schema'],
  slot_pool: ['description', { name: 'include_deferred', since: '2.7' }, 'pool', 'slots'],
  log: [
    'dag_id',
    'dttm',
    'event',
    'execution_date',
    'extra',
    'map_index',
    'owner',
    { name: 'owner_display_name', since: '2.8' },
    { name: 'run_id', since: '2.9' },
    'task_id',
    { name: 'try_number', since: '2.10' },
  ],
  job: [
    'dag_id',
    'end_date',
    'executor_class',
    'hostname',
    'job_type',
    'latest_heartbeat',
    'start_date',
    'state',
    'unixname',
  ],
  dag_run: [
    { name: 'clear_number', since: '2.8' },
    'conf',
    'creating_job_id',
    'dag_hash',
    'dag_id',
    'data_interval_end',
    'data_interval_start',
    'end_date',
    'execution_date',
    'external_trigger',
    'last_scheduling_decision',
    'log_template_id',
    'queued_at',
    'run_id',
    'run_type',
    'start_date',
    'state',
    { name: 'updated_at', since: '2.8' },
  ],
  trigger: ['classpath', 'created_date', 'kwargs', 'triggerer_id'],
  task_instance: [
    'dag_id',
    'map_index',
    'run_id',
    'task_id',
    { name: 'custom_operator_name', since: '2.7' },
    'duration',
    'end_date',
    { name: 'executor', since: '2.10' },
    'executor_config',
    'external_executor_id',
    'hostname',
    'job_id',
    'max_tries',
    'next_kwargs',
    'next_method',
    'operator',
    'pid',
    'pool',
    'pool_slots',
    'priority_weight',
    'queue',
    'queued_by_job_id',
    'queued_dttm',
    { name: 'rendered_map_index', since: '2.9' },
    'start_date',
    'state',
    { name: 'task_display_name', since: '2.9' },
    'trigger_id',
    'trigger_timeout',
    'try_number',
    'unixname',
    'updated_at',
  ],
  task_fail: ['dag_id', 'duration', 'end_date', 'map_index', 'run_id', 'start_date', 'task_id'],
  xcom: ['dag_run_id', 'key', 'map_index', 'task_id', 'dag_id', 'run_id', 'timestamp', 'value'],
};

export const MWAA_TABLES: readonly string[] = Object.keys(COLUMNS);

/** The two files with commas and clear text; all others have `|`. */
export const MWAA_COMMA: ReadonlySet<string> = new Set(['variable', 'connection']);

/** The fields of one file for one version; 2.11 has the tables of 2.10. */
export function mwaaColumns(table: string, minor: Minor): readonly string[] {
  return (COLUMNS[table] ?? []).flatMap((column) => {
    if (typeof column === 'string') return [column];
    return inRange(minor, { since: column.since }) ? [column.name] : [];
  });
}
