import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { signatureProblem } from './sigv4.ts';

export interface FakeMwaaOptions {
  readonly environment: string;
  /** Of the Airflow behind it. */
  readonly version: string;
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly sessionToken?: string;
  /** Milliseconds that Airflow has for an answer; MWAA: 10 s. */
  readonly patienceMs?: number;
  /** Bytes of an answer; MWAA: 6 MB. */
  readonly answerBytes?: number;
  /** Requests in a second. */
  readonly perSecond?: number;
  /** PRIVATE_ONLY, and the caller is elsewhere. */
  readonly privateWebServer?: boolean;
}

export interface FakeMwaa {
  /** For the process that shall use it. */
  readonly env: Readonly<Record<string, string>>;
  /** Of InvokeRestApi, in their order, refused ones too. */
  readonly invocations: { readonly Path: string; readonly Method: string; readonly refused?: string }[];
  /** Every name of an operation that was asked for. */
  readonly operations: string[];
  close(): Promise<void>;
}

interface Invocation {
  readonly Path: string;
  readonly Method: string;
  readonly QueryParameters?: Readonly<Record<string, unknown>>;
  readonly Body?: unknown;
}

const PATH_LENGTH = 64;
const METHODS = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'];
const REGION = 'eu-west-1';

interface Reply {
  readonly status: number;
  readonly error?: string;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string | string[]>>;
}

/**
 * Amazon MWAA in front of an Airflow that runs elsewhere, as its API reference, botocore's model and its users describe
 * it: GetEnvironment, CreateWebLoginToken, CreateCliToken and InvokeRestApi with their signatures and limits, and the
 * login of the web server. It stands on one port: its host is the endpoint, and the web server's.
 */
export async function startFakeMwaa(options: FakeMwaaOptions): Promise<FakeMwaa> {
  const {
    environment,
    version,
    patienceMs = 10_000,
    answerBytes = 6 * 1024 * 1024,
    perSecond = Infinity,
  } = options;
  const keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
  const v1 = version.startsWith('2.');
  const invocations: FakeMwaa['invocations'] = [];
  const operations: string[] = [];
  const webTokens = new Set<string>();
  const sessions = new Set<string>();
  const starts: number[] = [];
  let port = 0;

  let bearer: Promise<string> | undefined;
  const signIn = async (): Promise<string> => {
    const credentials = { username: options.user, password: options.password };
    const { text: answer } = await forward(
      options.url,
      '/auth/token',
      { Path: '', Method: 'POST', Body: credentials },
      {},
      patienceMs,
    );
    return (JSON.parse(answer) as { access_token?: string }).access_token ?? '';
  };

  /** What Airflow itself wants: an execution role is a user of it, behind MWAA's own sign-in. */
  const ofAirflow = async (path: string, call: Invocation): Promise<{ status: number; text: string }> => {
    const basic = `Basic ${Buffer.from(`${options.user}:${options.password}`).toString('base64')}`;
    if (v1) return forward(options.url, `/api/v1${path}`, call, { authorization: basic }, patienceMs);
    bearer ??= signIn();
    const authorization = `Bearer ${await bearer}`;
    const answer = await forward(options.url, `/api/v2${path}`, call, { authorization }, patienceMs);
    // It has expired, or the server has another secret since it was started again.
    if (answer.status === 401) bearer = undefined;
    return answer;
  };

  const invoke = async (body: string): Promise<Reply> => {
    const call = JSON.parse(body) as Invocation;
    const record = (refused?: string): void =>
      void invocations.push({
        Path: call.Path,
        Method: call.Method,
        ...(refused === undefined ? {} : { refused }),
      });
    const problem = problemOf(call);
    if (problem !== undefined) {
      record(problem);
      return exception('ValidationException', problem);
    }
    if (call.Path.length > PATH_LENGTH) {
      record('path');
      // As seen: no status, and no word about the path.
      return exception('RestApiClientException', '');
    }
    if (options.privateWebServer === true) {
      const words = 'Private webserver environments can only call InvokeRestApi within a VPC';
      return exception('AccessDeniedException', words, 403);
    }
    const now = performance.now();
    if (starts.filter((start) => now - start < 1000).length >= perSecond) {
      record('rate');
      return exception('ThrottlingException', 'Rate exceeded', 429);
    }
    starts.push(now);
    let answer: { status: number; text: string };
    try {
      answer = await ofAirflow(`${call.Path}${queryOf(call)}`, call);
    } catch {
      record('timeout');
      return exception('RestApiServerException', '');
    }
    if (Buffer.byteLength(answer.text) > answerBytes) {
      record('size');
      return exception('RestApiServerException', '');
    }
    record();
    const inner = {
      RestApiStatusCode: answer.status,
      RestApiResponse: answer.text === '' ? null : jsonOrText(answer.text),
    };
    if (answer.status < 400) return { status: 200, body: inner };
    const error = answer.status < 500 ? 'RestApiClientException' : 'RestApiServerException';
    return { status: 400, error, body: inner };
  };

  const service = async (request: IncomingMessage, body: string): Promise<Reply> => {
    const [, operation = '', name = ''] = /^\/(\w+)\/(.+)$/.exec(request.url ?? '') ?? [];
    operations.push(operation);
    const problem = signatureProblem(
      { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body },
      {
        service: 'airflow',
        region: REGION,
        ...keys,
        ...(options.sessionToken === undefined ? {} : { sessionToken: options.sessionToken }),
        now: () => new Date(),
      },
    );
    if (problem !== undefined) {
      return exception(problem, 'The request signature we calculated does not match', 403);
    }
    if (decodeURIComponent(name) !== environment) return exception('ResourceNotFoundException', '', 404);
    if (operation === 'restapi') return invoke(body);
    const token = `one-time-${operations.length}-of-the-fake`;
    webTokens.add(token);
    const host = `127.0.0.1:${port}`;
    if (operation === 'webtoken') return { status: 200, body: { WebToken: token, WebServerHostname: host } };
    if (operation === 'clitoken') return { status: 200, body: { CliToken: token, WebServerHostname: host } };
    if (operation === 'environments') {
      const Environment = {
        Name: environment,
        AirflowVersion: version,
        WebserverUrl: host,
        Status: 'AVAILABLE',
      };
      return { status: 200, body: { Environment } };
    }
    return exception('UnknownOperationException', '', 404);
  };

  /** The web server: the login of this major, and the API for whoever has a session. */
  const web = async (request: IncomingMessage, body: string): Promise<Reply> => {
    const [path = ''] = (request.url ?? '').split('?');
    if (path === (v1 ? '/aws_mwaa/login' : '/pluginsv2/aws_mwaa/login')) {
      const token = new URLSearchParams(body).get('token') ?? '';
      if (!webTokens.delete(token)) return { status: 403, body: {} };
      const session = `session-${token}`;
      sessions.add(session);
      const cookie = `${v1 ? 'session' : '_token'}=${session}; HttpOnly; Path=/`;
      return { status: 302, body: {}, headers: { location: '/home', 'set-cookie': [cookie] } };
    }
    const { authorization = '', cookie = '' } = request.headers;
    const session = v1 ? cookie.replace('session=', '') : authorization.replace('Bearer ', '');
    const api = /^\/api\/v\d/.exec(path)?.[0];
    if (api === undefined) return { status: 404, body: {} };
    if (!sessions.has(session)) return { status: 401, body: { detail: 'Unauthorized' } };
    const call = {
      Path: '',
      Method: request.method ?? '',
      ...(body === '' ? {} : { Body: JSON.parse(body) as unknown }),
    };
    const answer = await ofAirflow((request.url ?? '').slice(api.length), call);
    return {
      status: answer.status,
      body: answer.text === '' ? undefined : jsonOrText(answer.text),
    };
  };

  const server = createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      const ofService = /^\/(restapi|webtoken|clitoken|environments)\//.test(request.url ?? '');
      reply(response, await (ofService ? service(request, body) : web(request, body)));
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  return {
    env: {
      AWS_ENDPOINT_URL_MWAA: `http://127.0.0.1:${port}`,
      AWS_REGION: REGION,
      AWS_ACCESS_KEY_ID: keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      ...(options.sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: options.sessionToken }),
    },
    invocations,
    operations,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Airflow 3 says "Internal Server Error" in plain words. */
function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function problemOf({ Path, Method, QueryParameters = {} }: Invocation): string | undefined {
  if (typeof Path !== 'string' || !Path.startsWith('/')) return 'Path is missing';
  if (!METHODS.includes(Method)) return 'Method is not one of them';
  const strings = Object.values(QueryParameters).every(
    (value) =>
      typeof value === 'string' || (Array.isArray(value) && value.every((one) => typeof one === 'string')),
  );
  return strings ? undefined : 'QueryParameters are strings';
}

function queryOf({ QueryParameters = {} }: Invocation): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(QueryParameters)) {
    for (const one of [value].flat()) query.append(name, String(one));
  }
  const words = query.toString();
  return words === '' ? '' : `?${words}`;
}

/** With node:http, which leaves a percent-encoded path as it is. */
async function forward(
  base: string,
  path: string,
  { Method, Body }: Invocation,
  headers: Readonly<Record<string, string>>,
  patienceMs: number,
): Promise<{ status: number; text: string }> {
  const { hostname, port, pathname } = new URL(base);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      hostname,
      port,
      method: Method,
      path: `${pathname.replace(/\/$/, '')}${path}`,
      headers: { ...headers, ...(Body === undefined ? {} : { 'content-type': 'application/json' }) },
      agent: false,
      timeout: patienceMs,
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', reject);
    request.on('response', (response) => {
      text(response).then((body) => {
        resolve({ status: response.statusCode ?? 0, text: body });
      }, reject);
    });
    request.end(Body === undefined ? undefined : JSON.stringify(Body));
  });
}

function exception(error: string, message: string, status = 400): Reply {
  return { status, error, body: message === '' ? {} : { message } };
}

function reply(response: ServerResponse, { status, error, body, headers = {} }: Reply): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(error === undefined ? {} : { 'x-amzn-errortype': error }),
    ...headers,
  });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}
