import { type Api, type FakeAnswer, type FakeRequest, list, page, refusal } from './fake-airflow-rows.ts';

type Row = Record<string, unknown>;

/** What a fake Airflow tells of its past; nothing of it can be written. */
export interface FakeHistory {
  readonly task_instances: Row[];
  /** Tries before the current one. */
  readonly tries: Row[];
  /** With `value`, which the lists do not tell; `brokenValue`: the server fails at it. */
  readonly xcoms: Row[];
  readonly aliases: Row[];
  readonly queued: Row[];
  readonly dag_versions: Row[];
  readonly backfills: Row[];
  readonly event_logs: Row[];
  readonly import_errors: Row[];
}

export function noHistory(): FakeHistory {
  return {
    task_instances: [],
    tries: [],
    xcoms: [],
    aliases: [],
    queued: [],
    dag_versions: [],
    backfills: [],
    event_logs: [],
    import_errors: [],
  };
}

/** Undefined: such a route is not here. */
export function historyRoute(
  api: Api,
  request: FakeRequest,
  parts: readonly string[],
): FakeAnswer | undefined {
  const { method, path, query } = request;
  const { history, dag_runs: runs } = api.rows;
  const some = (name: string, rows: readonly Row[]): FakeAnswer => list(api, request, name, rows);
  if (path === '/dags/~/dagRuns/~/taskInstances/list' && method === 'POST') return taskBatch(api, request);
  if (parts[2] === 'dagRuns' && parts[4] === 'taskInstances' && method === 'PATCH') {
    return setState(api, request, parts);
  }
  if (parts[6] === 'xcomEntries' && method === 'POST' && !api.v1) return writeXcom(api, request, parts);
  if (method !== 'GET') return undefined;
  if (path === '/dags/~/dagRuns') {
    const since = query.get('updated_at_gte');
    return some(
      'dag_runs',
      runs.filter((run) => since === null || (typeof run.updated_at === 'string' && run.updated_at >= since)),
    );
  }
  if (path === '/eventLogs') return some('event_logs', history.event_logs);
  if (path === '/importErrors') return some('import_errors', history.import_errors);
  if (path === '/assets/aliases') return some('asset_aliases', history.aliases);
  if (path === '/dags/~/dagVersions') return some('dag_versions', history.dag_versions);
  if (path === '/backfills') {
    return some(
      'backfills',
      history.backfills.filter((row) => row.dag_id === query.get('dag_id')),
    );
  }
  if (parts[2] === 'queuedEvents' || parts[3] === 'queuedEvent') return queued(api, request, parts);
  if (parts[2] === 'dagRuns' && parts[4] === 'taskInstances') return ofTasks(api, request, parts);
  return undefined;
}

/** A run's task instances, as Airflow makes them with the run: those of its DAG's `tasks`, mapped ones not expanded. */
export function makeTasks({ rows }: Api, dagId: string, runId: string): void {
  const tasks = rows.dags.find((dag) => dag.dag_id === dagId)?.tasks;
  for (const task of Array.isArray(tasks) ? tasks : []) {
    rows.history.task_instances.push({
      id: `${dagId}-${runId}-${String(task)}`,
      dag_id: dagId,
      dag_run_id: runId,
      task_id: task,
      map_index: -1,
      state: null,
    });
  }
}

function setState({ v1, minor, rows }: Api, { body }: FakeRequest, parts: readonly string[]): FakeAnswer {
  const [, dag, , run, , task, mapIndex = '-1'] = parts;
  const { new_state: state, dry_run: dryRun } = body as { new_state?: string; dry_run?: boolean };
  const found = rows.history.task_instances.find(
    (row) =>
      row.dag_id === dag &&
      row.dag_run_id === run &&
      row.task_id === task &&
      String(row.map_index) === mapIndex,
  );
  if (found === undefined) return refusal(404, 'Task Instance not found');
  if (!['success', 'failed', 'skipped'].includes(state ?? '')) return refusal(422, 'not a state');
  if (state === 'skipped' && minor < 7) return refusal(400, "'skipped' is not one of ['success', 'failed']");
  // 2.7 to 2.9 know no run in that state.
  if (state === 'skipped' && minor < 10) return { status: 500 };
  // v1 only says what it would do, unless told otherwise; v2 minds what is so already.
  if (v1 && dryRun !== false) return { status: 200, body: found };
  if (!v1 && found.state === state) return refusal(409, `Task id is already in ${String(state)} state`);
  found.state = state;
  return { status: 200, body: { task_instances: [found], total_entries: 1 } };
}

function writeXcom({ rows }: Api, { body }: FakeRequest, parts: readonly string[]): FakeAnswer {
  const [, dag, , run, , task] = parts;
  const given = body as { key: string; value: unknown; map_index: number };
  const row = { dag_id: dag, run_id: run, task_id: task, ...given };
  const isSame = (one: Row): boolean =>
    ['dag_id', 'run_id', 'task_id', 'key', 'map_index'].every((field) => one[field] === (row as Row)[field]);
  if (rows.history.xcoms.some(isSame)) return refusal(409, 'The XCom exists already');
  rows.history.xcoms.push(row);
  return { status: 201, body: row };
}

function taskBatch({ rows, pageCap, v1 }: Api, { body }: FakeRequest): FakeAnswer {
  const form = body as {
    dag_ids?: string[];
    dag_run_ids?: string[];
    page_offset?: number;
    page_limit?: number;
  };
  const found = rows.history.task_instances.filter(
    (task) =>
      (form.dag_ids?.includes(String(task.dag_id)) ?? true) &&
      (form.dag_run_ids?.includes(String(task.dag_run_id)) ?? true),
  );
  // 2.8 and older know no pages here.
  return page(
    'task_instances',
    found,
    form.page_offset ?? 0,
    v1 ? 1e9 : (form.page_limit ?? 100),
    v1 ? 1e9 : pageCap,
  );
}

function queued({ rows, v1 }: Api, { path, query }: FakeRequest, parts: readonly string[]): FakeAnswer {
  const own = rows.history.queued.filter(
    (row) => (path.startsWith('/dags/') ? row.dag_id : String(row.asset_id)) === parts[1],
  );
  if (v1 && query.size > 0) return refusal(400, 'Extra query parameter(s) not in spec');
  if (own.length === 0) return refusal(404, 'Queue event was not found');
  return { status: 200, body: { queued_events: own, total_entries: own.length } };
}

/** /dags/{dag}/dagRuns/{run}/taskInstances[/{task}[/{map}][/tries]] and …/{task}/xcomEntries[/{key}] */
function ofTasks(api: Api, request: FakeRequest, parts: readonly string[]): FakeAnswer | undefined {
  const { history } = api.rows;
  const [, dag, , run, , task, ...rest] = parts;
  const isOne = (row: Row): boolean =>
    [
      [dag, row.dag_id],
      [run, row.dag_run_id ?? row.run_id],
      [task ?? '~', row.task_id],
    ].every(([asked, has]) => asked === '~' || asked === has);
  if (task === undefined) return list(api, request, 'task_instances', history.task_instances.filter(isOne));
  const [kind, key] = rest;
  if (kind === 'xcomEntries' && key === undefined) {
    const untold = { value: undefined, ...(api.minor < 7 ? { map_index: undefined } : {}) };
    const rows = history.xcoms.filter(isOne).map((row) => ({ ...row, ...untold }));
    return list(api, request, 'xcom_entries', rows);
  }
  if (kind === 'xcomEntries') {
    const asked = request.query.get('map_index');
    const named = history.xcoms.filter((row) => isOne(row) && row.key === key);
    if (api.minor < 7 && asked !== null) {
      return refusal(400, 'Extra query parameter(s) map_index not in spec');
    }
    if (api.minor < 7 && named.length > 1) return { status: 500 };
    const found =
      api.minor < 7 ? named[0] : named.find((row) => (row.map_index ?? -1) === Number(asked ?? -1));
    if (found === undefined) return refusal(404, 'XCom was not found');
    return found.brokenValue === true ? { status: 500 } : { status: 200, body: found };
  }
  if (rest.at(-1) !== 'tries') return undefined;
  const mapIndex = rest.length === 2 ? Number(kind) : -1;
  const of = (rows: readonly Row[]): readonly Row[] =>
    rows.filter((row) => isOne(row) && (row.map_index ?? -1) === mapIndex);
  const all = [...of(history.tries), ...of(history.task_instances)];
  if (all.some((row) => row.broken === true)) return { status: 500 };
  return { status: 200, body: { task_instances: all, total_entries: all.length } };
}
