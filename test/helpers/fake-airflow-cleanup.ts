import { type Api, type FakeAnswer, type FakeRequest, list, refusal } from './fake-airflow-rows.ts';

type Row = Record<string, unknown>;

/** What a cleanup asks besides: health, tasks at work, and what it deletes. Undefined: such a route is not here. */
export function cleanupRoute(
  api: Api,
  request: FakeRequest,
  parts: readonly string[],
): FakeAnswer | undefined {
  const { method, path, query } = request;
  const { rows, v1 } = api;
  if (path === (v1 ? '/health' : '/monitor/health')) {
    return {
      status: 200,
      body: { scheduler: { latest_scheduler_heartbeat: '2026-11-21T11:59:30.5+00:00' } },
    };
  }
  if (path === '/dags/~/dagRuns/~/taskInstances' && query.has('state')) {
    const states = query.getAll('state');
    const found = rows.history.task_instances.filter(({ state }) => states.includes(String(state)));
    return list(api, request, 'task_instances', found);
  }
  if (path === '/dags/~/dagRuns' && method === 'PATCH' && offersBulk(api)) return bulk(api, request);
  if (method !== 'DELETE') return undefined;
  if (parts[2] === 'dagRuns' && parts.length === 4) {
    const { status, detail } = deleteRun(api, parts[1] ?? '', parts[3] ?? '');
    return detail === undefined ? { status } : refusal(status, detail);
  }
  if (parts[2] === 'queuedEvents' || parts[3] === 'queuedEvent') return deleteQueued(api, request, parts);
  return undefined;
}

/** 3.3 and newer. */
function offersBulk({ version }: Api): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major === 3 && minor >= 3;
}

function deleteRun(
  { rows, version }: Api,
  dagId: string,
  runId: string,
): { status: number; detail?: string } {
  const at = rows.dag_runs.findIndex((row) => row.dag_id === dagId && row.dag_run_id === runId);
  const run = rows.dag_runs[at];
  if (run === undefined) return { status: 404, detail: 'not found' };
  if (run.state === 'running' && /^3\.[^0]/.test(version)) {
    const detail = `The DagRun with dag_id: \`${dagId}\` and run_id: \`${runId}\` cannot be deleted in running state`;
    return { status: 409, detail };
  }
  rows.dag_runs.splice(at, 1);
  const isOfRun = (row: Row): boolean => row.dag_id === dagId && (row.dag_run_id ?? row.run_id) === runId;
  for (const table of [rows.history.task_instances, rows.history.tries, rows.history.xcoms]) {
    for (let index = table.length - 1; index >= 0; index -= 1) {
      if (isOfRun(table[index] ?? {})) table.splice(index, 1);
    }
  }
  return { status: 204 };
}

interface Action {
  readonly action: string;
  readonly entities: readonly {
    readonly dag_id: string;
    readonly dag_run_id: string;
    readonly state?: string;
  }[];
}

function bulk(api: Api, { body }: FakeRequest): FakeAnswer {
  const answer: Record<string, { success: string[]; errors: Row[] }> = {};
  for (const { action, entities } of (body as { readonly actions: readonly Action[] }).actions) {
    const result = (answer[action] ??= { success: [], errors: [] });
    for (const { dag_id: dag, dag_run_id: id, state } of entities) {
      const run = api.rows.dag_runs.find((row) => row.dag_id === dag && row.dag_run_id === id);
      if (run === undefined) continue;
      const { status, detail } =
        action === 'delete' ? deleteRun(api, dag, id) : (Object.assign(run, { state }), { status: 200 });
      if (detail === undefined) result.success.push(`${dag}.${id}`);
      else result.errors.push({ error: detail, status_code: status });
    }
  }
  return { status: 200, body: answer };
}

function deleteQueued({ rows }: Api, { path, query }: FakeRequest, parts: readonly string[]): FakeAnswer {
  const { queued } = rows.history;
  const before = query.get('before') ?? '9';
  const isOne = (row: Row): boolean =>
    (path.startsWith('/dags/') ? row.dag_id : String(row.asset_id)) === parts[1] &&
    String(row.created_at) < before;
  const left = queued.filter((row) => !isOne(row));
  if (left.length === queued.length) return refusal(404, 'Queue event was not found');
  queued.splice(0, queued.length, ...left);
  return { status: 204 };
}
