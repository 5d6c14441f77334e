import { cleanupRoute } from './fake-airflow-cleanup.ts';
import { type FakeHistory, historyRoute, makeTasks } from './fake-airflow-history.ts';

/** The metadata that a fake Airflow's API shows: plain rows in the order of their ids. */
export interface FakeRows {
  readonly variables: Record<string, unknown>[];
  readonly connections: Record<string, unknown>[];
  readonly pools: Record<string, unknown>[];
  readonly dags: Record<string, unknown>[];
  readonly dag_runs: Record<string, unknown>[];
  readonly assets: Record<string, unknown>[];
  readonly events: Record<string, unknown>[];
  readonly history: FakeHistory;
}

export interface FakeRequest {
  readonly method: string;
  /** Behind /api/vN, percent-encoded as it came. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

export interface FakeAnswer {
  readonly status: number;
  readonly body?: unknown;
}

export interface Api {
  /** Such as 3.0.6. */
  readonly version: string;
  readonly v1: boolean;
  /** Of 2.x; of 3.x a number without end. */
  readonly minor: number;
  readonly rows: FakeRows;
  /** `[api] maximum_page_limit`. */
  readonly pageCap: number;
}

type Body = Record<string, unknown>;

const NAMED = { variables: 'key', connections: 'connection_id', pools: 'name' } as const;

/** What Airflow answers, as its routes of 2.x (`v1`) or 3.x have it. Undefined: there is no such route. */
export function route(api: Api, request: FakeRequest): FakeAnswer | undefined {
  const { method, path } = request;
  const parts = path.split('/').slice(1).map(decodeURIComponent);
  const [root = '', id, kind, runId, action] = parts;
  // Of 2.x only keys of variables are paths.
  if (api.v1 && path.includes('%2F') && root !== 'variables') return refusal(404, 'Not Found');
  const cleaned = cleanupRoute(api, request, parts);
  if (cleaned !== undefined) return cleaned;
  const told = historyRoute(api, request, parts);
  if (told !== undefined) return told;
  if (root in NAMED && parts.length <= 2) return named(api, request, root as keyof typeof NAMED, id);
  if (path === '/dags/~/dagRuns/list' && method === 'POST') return batch(api, request);
  if (root === 'dags' && parts.length === 1) return dags(api, request);
  if (root === 'dags' && (parts.length === 2 || kind === 'details')) return oneDag(api, request, id ?? '');
  if (kind === 'dagRuns' && parts.length === 3 && method === 'POST') return trigger(api, request, id ?? '');
  if (kind === 'dagRuns' && runId !== undefined) return oneRun(api, request, id ?? '', runId, action);
  if (root === (api.v1 ? 'datasets' : 'assets')) return assets(api, request, id);
  return undefined;
}

// --- variables, connections, pools ---

function named(
  api: Api,
  request: FakeRequest,
  root: keyof typeof NAMED,
  id?: string,
): FakeAnswer | undefined {
  const rows = api.rows[root];
  const key = NAMED[root];
  const { method } = request;
  const body = request.body as Body;
  if (api.v1 && (method === 'POST' || method === 'PATCH')) {
    const field = { variables: 'description', connections: 'password', pools: '' }[root];
    if (body[field] === null) return refusal(400, `{'${field}': ['Field may not be null.']}`);
  }
  if (id === undefined) {
    if (method === 'GET') return list(api, request, root, rows);
    if (method === 'PATCH' && !api.v1) return bulk(rows, key, body);
    if (method !== 'POST') return undefined;
    const at = rows.findIndex((row) => row[key] === body[key]);
    // v1 writes over a variable that exists.
    if (at >= 0 && !(api.v1 && root === 'variables')) return refusal(409, 'exists already');
    // 2.8 answers as if it had stored the description.
    const stored = api.minor <= 8 && root === 'variables' ? { ...body, description: null } : body;
    if (at >= 0) rows[at] = { ...rows[at], ...stored };
    else rows.push({ id: rows.length + 1, ...stored });
    return { status: api.v1 ? 200 : 201, body };
  }
  const at = rows.findIndex((row) => row[key] === id);
  if (at < 0) return refusal(404, `${id} was not found`);
  if (method === 'GET') return { status: 200, body: rows[at] };
  if (method === 'DELETE') {
    rows.splice(at, 1);
    return { status: 204 };
  }
  if (method !== 'PATCH') return undefined;
  if (body[key] !== undefined && body[key] !== id) return refusal(400, 'the name cannot be changed');
  if (!api.v1 && root === 'pools' && (body.slots === undefined || body.include_deferred === undefined)) {
    return refusal(422, 'Field required');
  }
  const mask = api.v1
    ? request.query.get('update_mask')?.split(',')
    : request.query.has('update_mask')
      ? request.query.getAll('update_mask')
      : undefined;
  if (api.v1 && root === 'variables' && mask?.includes('value') === true) {
    return refusal(400, "'value' is unknown or cannot be updated.");
  }
  if (api.minor <= 5 && root === 'variables') {
    if (mask !== undefined) return refusal(400, 'No field to update');
    rows[at] = { ...rows[at], description: null, value: body.value };
    return { status: 200, body };
  }
  const changes = Object.entries(body).filter(
    ([field, value]) =>
      (mask === undefined || mask.includes(field)) &&
      // Nothing of v1 takes a password away.
      !(api.v1 && field === 'password' && value === ''),
  );
  rows[at] = { ...rows[at], ...Object.fromEntries(changes) };
  return { status: 200, body: rows[at] };
}

interface Action {
  readonly action: string;
  readonly entities: readonly (Body | string)[];
  readonly action_on_existence?: string;
}

/** `ConnectionBody.connection_id` of 3.x. */
const CONNECTION_ID = /^[\w.-]+$/;

function bulk(rows: Body[], key: string, { actions }: Body): FakeAnswer {
  const answer: Record<string, { success: string[]; errors: Body[] }> = {};
  for (const { action, entities, action_on_existence: onExistence } of actions as readonly Action[]) {
    const result = (answer[action] ??= { success: [], errors: [] });
    const nameOf = (entity: Body | string): string =>
      typeof entity === 'string' ? entity : String(entity[key]);
    // One body that does not validate, and nothing of the request is done.
    if (key === 'connection_id' && !entities.every((entity) => CONNECTION_ID.test(nameOf(entity)))) {
      return refusal(422, 'String should match pattern');
    }
    for (const entity of entities) {
      const name = nameOf(entity);
      const at = rows.findIndex((row) => row[key] === name);
      if (at >= 0 && onExistence === 'skip') continue;
      if (action === 'create' ? at >= 0 && onExistence !== 'overwrite' : at < 0) {
        result.errors.push({
          error: `${name} stands in the way`,
          status_code: action === 'create' ? 409 : 404,
        });
        continue;
      }
      if (action === 'delete') rows.splice(at, 1);
      else if (typeof entity !== 'string' && at >= 0) rows[at] = { ...rows[at], ...entity };
      else if (typeof entity !== 'string') rows.push(entity);
      result.success.push(name);
    }
  }
  return { status: 200, body: answer };
}

// --- lists ---

export function list(
  { pageCap }: Pick<Api, 'pageCap'>,
  { query }: FakeRequest,
  name: string,
  rows: readonly Body[],
): FakeAnswer {
  return page(name, rows, Number(query.get('offset') ?? 0), Number(query.get('limit') ?? 50), pageCap);
}

export function page(
  name: string,
  rows: readonly Body[],
  offset: number,
  limit: number,
  cap: number,
): FakeAnswer {
  const rowsOfPage = rows.slice(offset, offset + Math.min(limit, cap));
  // As 3.x does for a variable that its Fernet key does not read.
  if (rowsOfPage.some((row) => row.broken === true)) return { status: 500 };
  return { status: 200, body: { [name]: rowsOfPage, total_entries: rows.length } };
}

function matching(rows: readonly Body[], field: string, pattern: string | null): readonly Body[] {
  if (pattern === null) return rows;
  return rows.filter((row) => String(row[field]).toLowerCase().includes(pattern.toLowerCase()));
}

// --- DAGs and runs ---

function dags(api: Api, request: FakeRequest): FakeAnswer | undefined {
  const found = matching(api.rows.dags, 'dag_id', request.query.get('dag_id_pattern'));
  if (request.method === 'GET') return list(api, request, 'dags', found);
  if (request.method !== 'PATCH') return undefined;
  for (const dag of found) Object.assign(dag, request.body);
  return { status: 200, body: { dags: found, total_entries: found.length } };
}

function oneDag({ rows }: Api, { method, body }: FakeRequest, dagId: string): FakeAnswer | undefined {
  const dag = rows.dags.find((row) => row.dag_id === dagId);
  if (dag === undefined) return refusal(404, `The DAG ${dagId} was not found`);
  if (method === 'PATCH') Object.assign(dag, body);
  return { status: 200, body: dag };
}

function batch({ rows, pageCap }: Api, request: FakeRequest): FakeAnswer {
  const form = request.body as {
    dag_ids?: string[];
    states?: string[];
    page_offset?: number;
    page_limit?: number;
  };
  const found = rows.dag_runs.filter(
    (run) =>
      (form.dag_ids?.includes(String(run.dag_id)) ?? true) &&
      (form.states?.includes(String(run.state)) ?? true),
  );
  return page('dag_runs', found, form.page_offset ?? 0, form.page_limit ?? 100, pageCap);
}

function trigger(api: Api, request: FakeRequest, dagId: string): FakeAnswer {
  const { v1, minor, rows } = api;
  const body = request.body as Body;
  if (!v1 && !('logical_date' in body)) {
    const entry = { type: 'missing', loc: ['body', 'logical_date'], msg: 'Field required', input: body };
    return { status: 422, body: { detail: [entry] } };
  }
  if (rows.dags.length > 0 && rows.dags.every((dag) => dag.dag_id !== dagId)) {
    return refusal(404, `DAG with dag_id: '${dagId}' not found`);
  }
  if (minor < 6 && 'note' in body) return refusal(400, "Property is read-only - 'note'");
  const given = body.dag_run_id;
  const id = typeof given === 'string' ? given : `manual__${rows.dag_runs.length + 1}`;
  if (id.startsWith('scheduled__')) return refusal(400, 'it is reserved for scheduled runs');
  const isSame = (run: Body): boolean =>
    run.dag_run_id === id ||
    (typeof body.logical_date === 'string' && run.logical_date === body.logical_date);
  if (rows.dag_runs.some((run) => run.dag_id === dagId && isSame(run))) {
    return refusal(409, `DAGRun with DAG ID: '${dagId}' and DAGRun ID: '${id}' already exists`);
  }
  const run = { conf: {}, note: null, ...body, dag_id: dagId, dag_run_id: id, state: 'queued' };
  rows.dag_runs.push(run);
  makeTasks(api, dagId, id);
  return { status: 200, body: run };
}

function oneRun(
  { v1, rows }: Api,
  { method, body }: FakeRequest,
  dagId: string,
  runId: string,
  action?: string,
): FakeAnswer | undefined {
  const run = rows.dag_runs.find((row) => row.dag_id === dagId && row.dag_run_id === runId);
  if (run === undefined) return refusal(404, `The DagRun ${runId} was not found`);
  if (action === 'clear' && method === 'POST') {
    if ((body as Body).dry_run !== true) run.state = 'queued';
    return { status: 200, body: run };
  }
  if (action === 'setNote' ? !(v1 && method === 'PATCH') : action !== undefined) return undefined;
  if (method === 'PATCH') {
    if (v1 && action === undefined && 'note' in (body as Body)) return refusal(400, 'unknown field: note');
    Object.assign(run, body);
  }
  return { status: 200, body: run };
}

// --- datasets and assets ---

function assets(api: Api, request: FakeRequest, id?: string): FakeAnswer | undefined {
  const { v1, rows } = api;
  if (id === undefined) {
    const found = matching(rows.assets, 'uri', request.query.get('uri_pattern'));
    const answer = list(api, request, v1 ? 'datasets' : 'assets', found);
    // v1 counts all of them, whatever it is asked for.
    return v1 ? { ...answer, body: { ...(answer.body as Body), total_entries: rows.assets.length } } : answer;
  }
  if (id !== 'events') return undefined;
  if (request.method === 'GET') {
    const asked = request.query.get(v1 ? 'dataset_id' : 'asset_id');
    const found = rows.events.filter((row) => asked === null || String(idOfAsset(row)) === asked);
    return list(api, request, v1 ? 'dataset_events' : 'asset_events', found);
  }
  const body = request.body as Body;
  const asset = rows.assets.find((row) => (v1 ? row.uri === body.dataset_uri : row.id === body.asset_id));
  if (asset === undefined) return refusal(404, 'Asset was not found');
  const event = {
    id: rows.events.length + 1,
    timestamp: '2026-11-21T00:00:00Z',
    uri: asset.uri,
    extra: body.extra,
    [v1 ? 'dataset_id' : 'asset_id']: asset.id,
  };
  rows.events.push(event);
  queue(api, asset);
  return { status: 200, body: event };
}

const idOfAsset = ({ asset_id: assetId, dataset_id: datasetId }: Body): unknown => assetId ?? datasetId;

/** For every DAG that waits for it and is not paused. */
function queue({ v1, rows }: Api, asset: Body): void {
  const waiting = (v1 ? asset.consuming_dags : asset.scheduled_dags) as readonly Body[] | undefined;
  for (const { dag_id: dagId } of waiting ?? []) {
    const dag = rows.dags.find((row) => row.dag_id === dagId);
    const there = rows.history.queued.some((row) => row.dag_id === dagId && row.asset_id === asset.id);
    if (dag?.is_paused === false && !there) {
      rows.history.queued.push({ asset_id: asset.id, uri: asset.uri, dag_id: dagId });
    }
  }
}

export function refusal(status: number, detail: string): FakeAnswer {
  return { status, body: { detail, status, title: 'Refused', type: 'about:blank' } };
}
