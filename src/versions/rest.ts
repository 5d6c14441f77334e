/**
 * Airflow's stable REST API by version, as data: v1 of 2.x, v2 of 3.x, and what came within them. Read from the
 * openapi documents and routes of the releases; nothing else knows that they differ.
 */
export interface RestDialect {
  readonly api: 'v1' | 'v2';
  /** Parameter update_mask: names with commas between them, or the parameter once for each. */
  readonly updateMask: 'commas' | 'repeated';
  /** PATCH of a collection creates, updates and deletes many of its members in one request. */
  readonly bulk: boolean;
  /** POST of a variable whose key exists replaces it without a word. */
  readonly variablesOverwritten: boolean;
  /** Fields that a PATCH must hold, whether they are written or not, and what is sent for those that are not. */
  readonly filler: Readonly<Record<NamedList, Readonly<Record<string, unknown>>>>;
  /** Fields that a body must not hold as null, and what a PATCH holds in its place; null: nothing takes such a value away. */
  readonly nullsRefused: Readonly<Record<NamedList, Readonly<Record<string, string | null>>>>;
  /** The update_mask that PATCH of a variable's value takes is none. */
  readonly valueUnmaskable: boolean;
  /** Of paths only those that begin so may have an encoded slash; null: all. */
  readonly slashPaths: string | null;
  /** A run's note has a path of its own, or is a field of the run. */
  readonly runNote: 'path' | 'field';
  /** POST of a run must hold logical_date, be it null. */
  readonly logicalDateNeeded: boolean;
  /** What 2.x calls dataset and names by URI, 3.x calls asset and names by a number. */
  readonly assets: { readonly root: string; readonly eventNames: 'uri' | 'id' };
  /** Path that tells how its components are, and when a scheduler was last heard of. */
  readonly health: string;
  /** Tables that tell of what happened, and of which the API deletes nothing. */
  readonly undeletable: readonly string[];
  /** Where a backup keeps the value of an XCom: v1 gives its text alone. */
  readonly xcomColumn: 'value' | 'value_text';
  readonly lists: Readonly<Record<CommonList, RestList>> & Readonly<Partial<Record<RestListName, RestList>>>;
  /** First minor that offers it. */
  readonly since: Readonly<Record<RestFeature, string>>;
}

/** Lists of what has a name that people chose. */
export type NamedList = 'variables' | 'connections' | 'pools';

type CommonList =
  | NamedList
  | 'dags'
  | 'dagRuns'
  | 'xcoms'
  | 'assets'
  | 'assetEvents'
  | 'queuedEvents'
  | 'eventLogs'
  | 'importErrors';

export type RestListName = CommonList | 'assetAliases' | 'dagVersions' | 'backfills';

export type RestFeature =
  | 'bulkRuns'
  | 'changeDescription'
  | 'createAssetEvent'
  | 'describeVariable'
  | 'noteOfNewRun'
  | 'queuedEvents'
  | 'runInterval'
  | 'runsUpdatedSince'
  | 'setSkipped'
  | 'tasksByRun'
  | 'tries'
  | 'writeXcom'
  | 'xcomMapIndex';

export interface RestList {
  /** `{id}`: one list for each DAG or asset. */
  readonly path: string;
  /** Field of the answer that holds the rows. */
  readonly rows: string;
  /** A column that only grows, or the nearest there is: rows that come in while it is listed stand at the end. */
  readonly orderBy?: string;
  /** Fields that together name a row. */
  readonly key: readonly string[];
  /** Always sent: without it the list is of a part. */
  readonly query?: Readonly<Record<string, string>>;
  /** It has no pages; v1 refuses to be asked for one. */
  readonly whole?: boolean;
  /** Its number of rows is of all, whatever filter it is asked with. */
  readonly countsUnfiltered?: boolean;
}

const list = (
  path: string,
  rows: string,
  orderBy: string | undefined,
  key: readonly string[],
  query?: RestList['query'],
): RestList =>
  Object.freeze({
    path,
    rows,
    key,
    ...(orderBy === undefined ? {} : { orderBy }),
    ...(query === undefined ? {} : { query }),
  });

const whole = (path: string, rows: string, key: readonly string[]): RestList =>
  Object.freeze({ ...list(path, rows, undefined, key), whole: true });

/** Of runs, tasks and keys that are all of them: the order is the server's own, by these names. */
const XCOMS = '/dags/~/dagRuns/~/taskInstances/~/xcomEntries';

/** The same in both. */
const COMMON = {
  variables: list('/variables', 'variables', 'id', ['key']),
  connections: list('/connections', 'connections', 'id', ['connection_id']),
  pools: list('/pools', 'pools', 'id', ['name']),
  dagRuns: list('/dags/~/dagRuns', 'dag_runs', 'id', ['dag_id', 'dag_run_id']),
};

const V1: RestDialect = Object.freeze<RestDialect>({
  api: 'v1',
  updateMask: 'commas',
  bulk: false,
  variablesOverwritten: true,
  filler: { variables: { value: '' }, connections: { conn_type: '' }, pools: {} },
  nullsRefused: { variables: { description: '' }, connections: { password: null }, pools: {} },
  valueUnmaskable: true,
  slashPaths: '/variables/',
  runNote: 'path',
  logicalDateNeeded: false,
  assets: { root: '/datasets', eventNames: 'uri' },
  health: '/health',
  undeletable: ['dataset_event', 'import_error', 'job', 'log', 'sla_miss'],
  xcomColumn: 'value_text',
  lists: {
    ...COMMON,
    dags: list('/dags', 'dags', 'dag_id', ['dag_id'], { only_active: 'false' }),
    xcoms: list(XCOMS, 'xcom_entries', undefined, [
      'dag_id',
      'execution_date',
      'task_id',
      'map_index',
      'key',
      // Before 2.7 it has no map_index.
      'timestamp',
    ]),
    queuedEvents: whole('/dags/{id}/datasets/queuedEvent', 'queued_events', ['uri', 'dag_id']),
    assets: Object.freeze({ ...list('/datasets', 'datasets', 'id', ['id']), countsUnfiltered: true }),
    assetEvents: list('/datasets/events', 'dataset_events', 'timestamp', ['id']),
    eventLogs: list('/eventLogs', 'event_logs', 'event_log_id', ['event_log_id']),
    importErrors: list('/importErrors', 'import_errors', 'import_error_id', ['import_error_id']),
  },
  since: {
    bulkRuns: '3.3',
    changeDescription: '2.6',
    createAssetEvent: '2.9',
    describeVariable: '2.9',
    noteOfNewRun: '2.6',
    queuedEvents: '2.9',
    runInterval: '2.9',
    runsUpdatedSince: '2.6',
    // 2.7 to 2.9 take it, and fail: 500 (airflow/api/common/mark_tasks.py).
    setSkipped: '2.10',
    tasksByRun: '2.7',
    tries: '2.10',
    writeXcom: '3.3',
    xcomMapIndex: '2.7',
  },
});

const V2: RestDialect = Object.freeze<RestDialect>({
  api: 'v2',
  updateMask: 'repeated',
  bulk: true,
  variablesOverwritten: false,
  filler: {
    variables: { value: '' },
    connections: { conn_type: '' },
    pools: { slots: 0, include_deferred: false },
  },
  nullsRefused: { variables: {}, connections: {}, pools: {} },
  valueUnmaskable: false,
  slashPaths: null,
  runNote: 'field',
  logicalDateNeeded: true,
  assets: { root: '/assets', eventNames: 'id' },
  health: '/monitor/health',
  undeletable: ['asset_event', 'backfill', 'import_error', 'job', 'log'],
  xcomColumn: 'value',
  lists: {
    ...COMMON,
    dags: list('/dags', 'dags', 'dag_id', ['dag_id'], { exclude_stale: 'false' }),
    xcoms: list(XCOMS, 'xcom_entries', undefined, ['dag_id', 'run_id', 'task_id', 'map_index', 'key']),
    queuedEvents: whole('/assets/{id}/queuedEvents', 'queued_events', ['asset_id', 'dag_id']),
    assetAliases: list('/assets/aliases', 'asset_aliases', 'id', ['id']),
    dagVersions: list('/dags/~/dagVersions', 'dag_versions', 'id', ['id']),
    backfills: list('/backfills', 'backfills', 'id', ['id']),
    assets: list('/assets', 'assets', 'id', ['id'], { only_active: 'false' }),
    assetEvents: list('/assets/events', 'asset_events', 'timestamp', ['id']),
    eventLogs: list('/eventLogs', 'event_logs', 'id', ['event_log_id']),
    importErrors: list('/importErrors', 'import_errors', 'id', ['import_error_id']),
  },
  since: {
    bulkRuns: '3.3',
    changeDescription: '3.0',
    createAssetEvent: '3.0',
    describeVariable: '3.0',
    noteOfNewRun: '3.0',
    queuedEvents: '3.0',
    runInterval: '3.0',
    runsUpdatedSince: '3.0',
    setSkipped: '3.0',
    tasksByRun: '3.0',
    tries: '3.0',
    // Before, its POST writes the JSON of the value as a text, and tasks read that text (routes/public/xcom.py).
    writeXcom: '3.3',
    xcomMapIndex: '3.0',
  },
});

export const REST_DIALECTS: Readonly<Record<'v1' | 'v2', RestDialect>> = Object.freeze({ v1: V1, v2: V2 });

/** The oldest release whose API is known here, and the major that is not any more. */
const OLDEST = '2.5';
const TOO_NEW_MAJOR = 4;

/** The API of a release such as 3.0.6 or 2.11.0+composer; undefined: unknown to this Lifeboat. */
export function restDialect(release: string): RestDialect | undefined {
  const [major] = numbers(release);
  if (major === undefined || major >= TOO_NEW_MAJOR || !isAtLeast(release, OLDEST)) return undefined;
  return REST_DIALECTS[restApi(release)];
}

/** Which of the two a known release speaks. */
export function restApi(release: string): RestDialect['api'] {
  return numbers(release)[0] === 2 ? 'v1' : 'v2';
}

export function offers(dialect: RestDialect, release: string, feature: RestFeature): boolean {
  return isAtLeast(release, dialect.since[feature]);
}

/** Compared as numbers: 2.10 comes after 2.9. */
export function isAtLeast(release: string, minor: string): boolean {
  const [major = 0, second = 0] = numbers(release);
  const [leastMajor = 0, leastSecond = 0] = numbers(minor);
  return major > leastMajor || (major === leastMajor && second >= leastSecond);
}

function numbers(release: string): readonly number[] {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return major === undefined ? [] : [Number(major), Number(minor)];
}
