import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringifyExact } from '../../src/rest/exact-json.ts';
import { noHistory } from './fake-airflow-history.ts';
import { type FakeAnswer, type FakeRequest, type FakeRows, refusal, route } from './fake-airflow-rows.ts';

export interface FakeApiCall extends FakeRequest {
  /** The body as it came. */
  readonly text: string;
  readonly headers: IncomingMessage['headers'];
}

/** What goes wrong with the next `times` requests (1 when absent) whose path has `path` in it. */
export interface FakeApiFault {
  readonly method?: string;
  readonly path?: string;
  readonly times?: number;
  readonly kind:
    | {
        readonly status: number;
        readonly headers?: Readonly<Record<string, string>>;
        readonly body?: unknown;
      }
    /** The socket is destroyed before the request is looked at. */
    | 'reset'
    /** The request is carried out, and the socket destroyed instead of answering. */
    | 'lose-answer'
    /** No answer, ever. */
    | 'hang'
    /** The answer's headers, this many bytes of its body, and a destroyed socket. */
    | { readonly cutAfter: number };
}

export interface FakeApiOptions {
  /** Such as 3.0.6 or 2.8.1: decides which API there is. */
  readonly version: string;
  readonly rows?: Partial<FakeRows>;
  /** `[api] maximum_page_limit`. */
  readonly pageCap?: number;
  /** Requests that a token is good for. */
  readonly tokenUses?: number;
  /** GET /version wants to know who asks, as behind some proxies. */
  readonly closed?: boolean;
  /** Before /api. */
  readonly prefix?: string;
}

export const FAKE_USER = { user: 'admin', password: 'adm1n-p@ss' } as const;

export interface FakeAirflowApi {
  readonly url: string;
  readonly rows: FakeRows;
  readonly calls: FakeApiCall[];
  readonly faults: FakeApiFault[];
  /** Called with each request before it is answered, to change rows between two pages. */
  onCall: (call: FakeApiCall) => void;
  /** Tokens that were given. */
  tokens(): number;
  close(): Promise<void>;
}

/** Airflow's API over real HTTP: the routes that the client uses, signing in as each major has it, and faults. */
export async function startFakeAirflowApi(options: FakeApiOptions): Promise<FakeAirflowApi> {
  const { version, pageCap = 100, tokenUses = Infinity, closed = false, prefix = '' } = options;
  const v1 = version.startsWith('2.');
  const minor = v1 ? Number(version.split('.')[1]) : Infinity;
  const rows: FakeRows = {
    variables: [],
    connections: [],
    pools: [],
    dags: [],
    dag_runs: [],
    assets: [],
    events: [],
    history: noHistory(),
    ...options.rows,
  };
  const tokens = new Map<string, number>();
  const fake = { calls: [] as FakeApiCall[], faults: [] as FakeApiFault[], onCall: (): void => undefined };

  const signIn = (body: unknown): FakeAnswer => {
    const { username, password } = body as { username?: string; password?: string };
    if (username !== FAKE_USER.user || password !== FAKE_USER.password) {
      return refusal(401, 'Invalid credentials');
    }
    const token = `token-${tokens.size + 1}-of-the-fake`;
    tokens.set(token, tokenUses);
    return { status: 201, body: { access_token: token } };
  };
  const mayAsk = ({ authorization = '' }: IncomingMessage['headers']): boolean => {
    if (v1) {
      const { user, password } = FAKE_USER;
      return authorization === `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    }
    const token = authorization.replace('Bearer ', '');
    const left = tokens.get(token) ?? 0;
    tokens.set(token, left - 1);
    return left > 0;
  };
  const answer = (call: FakeApiCall): FakeAnswer => {
    if (!v1 && call.path === '/auth/token' && call.method === 'POST') return signIn(call.body);
    const [, api, path = ''] = /^\/api\/(v\d)(\/.*)$/.exec(call.path) ?? [];
    if (api !== (v1 ? 'v1' : 'v2')) return refusal(404, 'Not Found');
    if (path === '/version' && !closed) return { status: 200, body: { version, git_version: null } };
    if (!mayAsk(call.headers)) return refusal(401, 'Unauthorized');
    if (path === '/version') return { status: 200, body: { version, git_version: null } };
    return (
      route({ version, v1, minor, rows, pageCap }, { ...call, path }) ??
      refusal(404, `no route for ${call.method} ${path}`)
    );
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [rawPath = '', query = ''] = (request.url ?? '/').split('?');
    const body = await text(request);
    const call: FakeApiCall = {
      method: request.method ?? '',
      path: rawPath.startsWith(prefix) ? rawPath.slice(prefix.length) : '/elsewhere',
      query: new URLSearchParams(query),
      text: body,
      body: body === '' ? undefined : (JSON.parse(body) as unknown),
      headers: request.headers,
    };
    fake.calls.push(call);
    (fake.onCall as (call: FakeApiCall) => void)(call);
    const fault = takeFault(fake.faults, call);
    if (fault === 'reset') {
      request.socket.destroy();
      return;
    }
    if (fault === 'hang') return;
    if (typeof fault === 'object' && 'status' in fault) {
      send(response, fault.status, fault.body, fault.headers);
      return;
    }
    const { status, body: answerBody } = answer(call);
    if (fault === 'lose-answer') return void request.socket.destroy();
    if (typeof fault === 'object') return cut(response, status, answerBody, fault.cutAfter);
    send(response, status, answerBody);
  };
  const server = createServer((request, response) => {
    handle(request, response).catch((thrown: unknown) => {
      response.writeHead(500).end(JSON.stringify({ detail: `the fake failed: ${String(thrown)}` }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return Object.assign(fake, {
    url: `http://127.0.0.1:${port}${prefix}`,
    rows,
    tokens: () => tokens.size,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

function takeFault(faults: FakeApiFault[], call: FakeApiCall): FakeApiFault['kind'] | undefined {
  const at = faults.findIndex(
    ({ method, path }) =>
      (method === undefined || method === call.method) && (path === undefined || call.path.includes(path)),
  );
  const fault = faults[at];
  if (fault === undefined) return undefined;
  const times = (fault.times ?? 1) - 1;
  if (times > 0) faults[at] = { ...fault, times };
  else faults.splice(at, 1);
  return fault.kind;
}

function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body === undefined ? undefined : typeof body === 'string' ? body : stringifyExact(body));
}

async function cut(response: ServerResponse, status: number, body: unknown, bytes: number): Promise<void> {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.write(JSON.stringify(body).slice(0, bytes));
  await sleep(30);
  response.destroy();
}
