import type { ColumnType } from '../tables/spec.ts';
import { isAtLeast, restApi, type RestListName } from './rest.ts';

/**
 * What a backup through the API holds, named as the database names it: a table is called and has the columns of its
 * Airflow's schema, so that every command that reads a backup understands it. Where the API says something else than the
 * column of that name would hold (a value as text, a note with its run) the column has another name.
 */
export interface RestTable {
  readonly name: string;
  readonly columns: readonly RestColumn[];
  /** Columns that name a row. */
  readonly key: readonly string[];
  /** Where the key is a number: what names the row in every environment, if anything does. */
  readonly names?: readonly string[];
  /** Column → table whose id it holds. */
  readonly references: Readonly<Record<string, string>>;
  readonly read: RestRead;
  /** What the table has in the database and the API does not give. */
  readonly notGiven: readonly RestGap[];
}

export interface RestColumn {
  readonly name: string;
  readonly type: ColumnType;
  /** Field of the API's record; a dot leads into a record within. */
  readonly field: string;
  /** The API may mask it: `***` in it is no value. */
  readonly masked: boolean;
}

export interface RestGap {
  /** Absent: rows. */
  readonly columns?: readonly string[];
  readonly reason: string;
}

/**
 * How its rows are got.
 * - list: one list holds them all. `details`: fields that only the single record has, asked for row by row.
 * - run, task, try: of the runs, page by page. xcom: a list of names, and a request for each value.
 * - perDag, perAsset: one request for each DAG or asset.
 */
export type RestRead =
  | { readonly by: 'list'; readonly list: RestListName; readonly details?: readonly string[] }
  | { readonly by: 'run' | 'task' | 'try' | 'xcom' }
  | { readonly by: 'perDag' | 'perAsset'; readonly list: RestListName };

interface TableEntry {
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

type ColumnEntry = string | { readonly column: string; readonly since: string };

const TASK = ['dag_id', 'task_id', 'run_id', 'map_index'];
const INTERNAL = 'Airflow’s API does not give it';
const PARSER = 'the parser of DAG files makes it anew';

/** The same in both majors. */
const POOL: TableEntry = {
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

const TRY_COLUMNS: readonly ColumnEntry[] = [
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

const TASK_GAPS: readonly RestGap[] = [
  { columns: ['executor_config'], reason: 'the API gives its text alone (executor_config_text)' },
  { columns: ['next_method', 'next_kwargs', 'trigger_timeout'], reason: INTERNAL },
  { columns: ['job_id', 'queued_by_job_id', 'external_executor_id'], reason: INTERNAL },
];

const V1: readonly TableEntry[] = [
  POOL,
  {
    name: 'variable',
    key: ['key'],
    read: { by: 'list', list: 'variables' },
    columns: ['key text', 'val text! value', 'description text'],
  },
  {
    name: 'connection',
    key: ['conn_id'],
    read: { by: 'list', list: 'connections', details: ['extra'] },
    columns: [
      'conn_id text connection_id',
      'conn_type text',
      'description text',
      'host text',
      'schema text',
      'login text',
      'port integer',
      'extra text!',
    ],
    notGiven: [{ columns: ['password'], reason: 'the API of Airflow 2 gives no password' }],
  },
  {
    name: 'dag',
    key: ['dag_id'],
    read: { by: 'list', list: 'dags' },
    columns: ['dag_id text', 'is_paused boolean', 'is_active boolean', 'fileloc text'],
    notGiven: [{ columns: ['schedule_interval', 'next_dagrun', 'tags', 'owners'], reason: PARSER }],
  },
  {
    name: 'dataset',
    key: ['id'],
    names: ['uri'],
    read: { by: 'list', list: 'assets' },
    columns: ['id integer', 'uri text', 'extra json', 'created_at timestamptz', 'updated_at timestamptz'],
  },
  {
    name: 'dataset_event',
    key: ['id'],
    names: [
      'dataset_id',
      'source_dag_id',
      'source_run_id',
      'source_task_id',
      'source_map_index',
      'timestamp',
    ],
    references: { dataset_id: 'dataset' },
    read: { by: 'list', list: 'assetEvents' },
    columns: [
      'id integer',
      'dataset_id integer',
      'extra json',
      'source_dag_id text',
      'source_task_id text',
      'source_run_id text',
      'source_map_index integer',
      'timestamp timestamptz',
      'created_dagruns json',
    ],
  },
  {
    name: 'dataset_dag_run_queue',
    since: '2.9',
    key: ['uri', 'target_dag_id'],
    read: { by: 'perDag', list: 'queuedEvents' },
    columns: ['uri text', 'target_dag_id text dag_id', 'created_at timestamptz'],
  },
  {
    name: 'dag_run',
    key: ['dag_id', 'run_id'],
    read: { by: 'run' },
    columns: [
      'dag_id text',
      'run_id text dag_run_id',
      'execution_date timestamptz logical_date',
      'start_date timestamptz',
      'end_date timestamptz',
      'state text',
      'run_type text',
      'external_trigger boolean',
      'data_interval_start timestamptz',
      'data_interval_end timestamptz',
      'last_scheduling_decision timestamptz',
      'conf_json json conf',
      'note text',
    ],
    notGiven: [
      { columns: ['conf'], reason: 'the API gives it as JSON and not as the pickle that it is (conf_json)' },
      { columns: ['id', 'queued_at', 'creating_job_id', 'dag_hash', 'log_template_id'], reason: INTERNAL },
    ],
  },
  {
    name: 'task_instance',
    key: TASK,
    read: { by: 'task' },
    columns: [
      ...TRY_COLUMNS,
      'note text',
      'trigger_json json trigger',
      { column: 'rendered_map_index text', since: '2.9' },
    ],
    notGiven: TASK_GAPS,
  },
  {
    name: 'task_instance_history',
    since: '2.10',
    key: [...TASK, 'try_number'],
    read: { by: 'try' },
    columns: TRY_COLUMNS,
    notGiven: TASK_GAPS,
  },
  {
    name: 'xcom',
    key: [...TASK, 'key'],
    read: { by: 'xcom' },
    columns: [
      'dag_id text',
      'task_id text',
      'run_id text',
      'map_index integer',
      'key text',
      'timestamp timestamptz',
      'value_text text value',
    ],
    notGiven: [{ columns: ['value'], reason: 'the API gives its text alone (value_text)' }],
  },
  {
    name: 'log',
    key: ['id'],
    read: { by: 'list', list: 'eventLogs' },
    columns: [
      'id integer event_log_id',
      'dttm timestamptz when',
      'dag_id text',
      'task_id text',
      { column: 'run_id text', since: '2.10' },
      { column: 'map_index integer', since: '2.10' },
      { column: 'try_number integer', since: '2.10' },
      'event text',
      'execution_date timestamptz',
      'owner text',
      'extra text',
    ],
  },
  {
    name: 'import_error',
    key: ['id'],
    read: { by: 'list', list: 'importErrors' },
    columns: [
      'id integer import_error_id',
      'timestamp timestamptz',
      'filename text',
      'stacktrace text stack_trace',
    ],
  },
];

const V2: readonly TableEntry[] = [
  POOL,
  {
    name: 'variable',
    key: ['key'],
    read: { by: 'list', list: 'variables' },
    columns: ['key text', 'val text! value', 'description text', { column: 'team_name text', since: '3.2' }],
  },
  {
    name: 'connection',
    key: ['conn_id'],
    read: { by: 'list', list: 'connections' },
    columns: [
      'conn_id text connection_id',
      'conn_type text',
      'description text',
      'host text',
      'schema text',
      'login text',
      'password text!',
      'port integer',
      'extra text!',
      { column: 'team_name text', since: '3.2' },
    ],
  },
  {
    name: 'dag',
    key: ['dag_id'],
    read: { by: 'list', list: 'dags' },
    columns: [
      'dag_id text',
      'is_paused boolean',
      'is_stale boolean',
      'bundle_name text',
      'bundle_version text',
      'relative_fileloc text',
      'fileloc text',
    ],
    notGiven: [{ columns: ['timetable_summary', 'next_dagrun', 'tags', 'owners'], reason: PARSER }],
  },
  {
    name: 'asset',
    key: ['id'],
    names: ['name', 'uri'],
    read: { by: 'list', list: 'assets' },
    columns: [
      'id integer',
      'name text',
      'uri text',
      'group text',
      'extra json',
      'created_at timestamptz',
      'updated_at timestamptz',
    ],
  },
  {
    name: 'asset_alias',
    key: ['id'],
    names: ['name'],
    read: { by: 'list', list: 'assetAliases' },
    columns: ['id integer', 'name text', 'group text'],
  },
  {
    name: 'asset_event',
    key: ['id'],
    names: ['asset_id', 'source_dag_id', 'source_run_id', 'source_task_id', 'source_map_index', 'timestamp'],
    references: { asset_id: 'asset' },
    read: { by: 'list', list: 'assetEvents' },
    columns: [
      'id integer',
      'asset_id integer',
      'extra json',
      'source_task_id text',
      'source_dag_id text',
      'source_run_id text',
      'source_map_index integer',
      'timestamp timestamptz',
      { column: 'partition_key text', since: '3.2' },
      'created_dagruns json',
    ],
  },
  {
    name: 'asset_dag_run_queue',
    references: { asset_id: 'asset' },
    key: ['asset_id', 'target_dag_id'],
    read: { by: 'perAsset', list: 'queuedEvents' },
    columns: ['asset_id integer', 'target_dag_id text dag_id', 'created_at timestamptz'],
  },
  {
    name: 'dag_version',
    key: ['id'],
    names: ['dag_id', 'version_number'],
    read: { by: 'list', list: 'dagVersions' },
    columns: [
      'id text',
      'version_number integer',
      'dag_id text',
      'bundle_name text',
      'bundle_version text',
      'created_at timestamptz',
    ],
    notGiven: [{ columns: ['serialized_dag'], reason: PARSER }],
  },
  {
    name: 'backfill',
    key: ['id'],
    read: { by: 'perDag', list: 'backfills' },
    columns: [
      'id integer',
      'dag_id text',
      'from_date timestamptz',
      'to_date timestamptz',
      'dag_run_conf json',
      'is_paused boolean',
      'reprocess_behavior text',
      'max_active_runs integer',
      'created_at timestamptz',
      'completed_at timestamptz',
      'updated_at timestamptz',
    ],
  },
  {
    name: 'dag_run',
    key: ['dag_id', 'run_id'],
    read: { by: 'run' },
    columns: [
      'dag_id text',
      'run_id text dag_run_id',
      'logical_date timestamptz',
      'queued_at timestamptz',
      'start_date timestamptz',
      'end_date timestamptz',
      'data_interval_start timestamptz',
      'data_interval_end timestamptz',
      'run_after timestamptz',
      'last_scheduling_decision timestamptz',
      'run_type text',
      'state text',
      'triggered_by text',
      { column: 'triggering_user_name text', since: '3.1' },
      'conf json',
      'note text',
      'bundle_version text',
      { column: 'partition_key text', since: '3.2' },
      'dag_versions json',
    ],
    notGiven: [
      {
        columns: ['id', 'creating_job_id', 'log_template_id', 'clear_number', 'backfill_id', 'updated_at'],
        reason: INTERNAL,
      },
    ],
  },
  {
    name: 'task_instance',
    key: TASK,
    read: { by: 'task' },
    columns: [
      'id text',
      ...TRY_COLUMNS,
      'task_display_name text',
      'note text',
      'rendered_map_index text',
      'trigger_json json trigger',
    ],
    notGiven: TASK_GAPS,
  },
  {
    name: 'task_instance_history',
    key: [...TASK, 'try_number'],
    read: { by: 'try' },
    columns: TRY_COLUMNS,
    notGiven: TASK_GAPS,
  },
  {
    name: 'xcom',
    key: [...TASK, 'key'],
    read: { by: 'xcom' },
    columns: [
      'dag_id text',
      'task_id text',
      'run_id text',
      'map_index integer',
      'key text',
      'timestamp timestamptz',
      'value json',
    ],
  },
  {
    name: 'log',
    key: ['id'],
    read: { by: 'list', list: 'eventLogs' },
    columns: [
      'id integer event_log_id',
      'dttm timestamptz when',
      'dag_id text',
      'task_id text',
      'run_id text',
      'map_index integer',
      'try_number integer',
      'event text',
      'logical_date timestamptz',
      'owner text',
      'extra text',
    ],
  },
  {
    name: 'import_error',
    key: ['id'],
    read: { by: 'list', list: 'importErrors' },
    columns: [
      'id integer import_error_id',
      'timestamp timestamptz',
      'filename text',
      'bundle_name text',
      'stacktrace text stack_trace',
    ],
  },
];

/** The tables of a release such as 3.0.6, in the order in which they are read. */
export function restTables(release: string): readonly RestTable[] {
  const entries = restApi(release) === 'v1' ? V1 : V2;
  return entries
    .filter(({ since }) => since === undefined || isAtLeast(release, since))
    .map(({ name, key, names, references = {}, read, columns, notGiven = [] }) => ({
      name,
      key,
      ...(names === undefined ? {} : { names }),
      references,
      read,
      columns: columns
        .filter((entry) => typeof entry === 'string' || isAtLeast(release, entry.since))
        .map((entry) => toColumn(typeof entry === 'string' ? entry : entry.column)),
      notGiven,
    }));
}

function toColumn(text: string): RestColumn {
  const [name = '', type = '', field = name] = text.split(' ');
  return { name, type: type.replace('!', '') as ColumnType, field, masked: type.endsWith('!') };
}
