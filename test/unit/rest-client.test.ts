import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { LifeboatError } from '../../src/errors.ts';
import { openClient, type RestClient } from '../../src/rest/client.ts';
import type { RestCredentials } from '../../src/rest/auth.ts';
import { createHttpTransport } from '../../src/rest/http.ts';
import type { RetryPolicy } from '../../src/retry.ts';
import {
  FAKE_USER,
  type FakeAirflowApi,
  type FakeApiOptions,
  startFakeAirflowApi,
} from '../helpers/fake-airflow-api.ts';
import { restErrorOf } from '../helpers/rest-error.ts';

const QUICK: RetryPolicy = { attempts: 4, baseDelay: 1, maxDelay: 2, window: 10_000 };
const PASSWORD: RestCredentials = { kind: 'password', ...FAKE_USER };

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options: Partial<FakeApiOptions> = {}): Promise<FakeAirflowApi> {
  const api = await startFakeAirflowApi({ version: '3.0.6', ...options });
  cleanups.push(() => api.close());
  return api;
}

interface Opening {
  readonly credentials?: RestCredentials;
  readonly signal?: AbortSignal;
  readonly silenceMs?: number;
  readonly path?: string;
}

async function open(url: string, options: Opening = {}): Promise<RestClient> {
  const { credentials = PASSWORD, signal, silenceMs, path = '' } = options;
  const transport = await createHttpTransport({
    url: new URL(`${url}${path}`),
    credentials,
    ...(silenceMs === undefined ? {} : { silenceMs }),
  });
  cleanups.push(() => {
    transport.close();
  });
  return openClient({ transport, retry: QUICK, ...(signal === undefined ? {} : { signal }) });
}

describe('finding out what answers', () => {
  test.each([
    ['2.8.1', 'v1', 0],
    ['3.0.6', 'v2', 1],
  ])('%s is %s', async (version, api, tokens) => {
    const fake = await start({ version });
    const client = await open(fake.url);
    await client.send({ method: 'GET', path: '/variables' });
    expect({ airflow: client.airflow, api: client.dialect.api, tokens: fake.tokens() }).toEqual({
      airflow: version,
      api,
      tokens,
    });
  });

  test.each(['2.8.1', '3.0.6'])('%s that shows its version to nobody', async (version) => {
    const fake = await start({ version, closed: true });
    expect((await open(fake.url)).airflow).toBe(version);
  });

  test('a prefix, and an address that goes into the API already', async () => {
    const fake = await start({ prefix: '/team/a' });
    expect((await open(fake.url, { path: '/' })).airflow).toBe('3.0.6');
    expect((await open(fake.url, { path: '/api/v2/' })).airflow).toBe('3.0.6');
  });

  test('a version that nobody knows is unsupported (13), not tried', async () => {
    const fake = await start({ version: '4.1.0' });
    const error = await restErrorOf(open(fake.url));
    expect(error).toMatchObject({ kind: 'unsupported', code: 'not-offered' });
    expect(error.message).toContain('Airflow 4.1.0');
  });

  test('another web server is told as such', async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Hello</html>');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => void server.close());
    const { port } = server.address() as AddressInfo;
    expect(await restErrorOf(open(`http://127.0.0.1:${port}`))).toMatchObject({ code: 'not-airflow' });
  });

  test('a closed port is an error soon', async () => {
    const fake = await start();
    await fake.close();
    cleanups.length = 0;
    const error = await restErrorOf(open(fake.url));
    expect(error).toMatchObject({ code: 'unreachable' });
    expect(error.message).toMatch(/is not reached: the connection was refused/);
  });
});

describe('signing in', () => {
  test('one token for many requests, and a new one when it expires in the middle', async () => {
    const fake = await start({ tokenUses: 5 });
    const client = await open(fake.url);
    await Promise.all(Array.from({ length: 12 }, () => client.send({ method: 'GET', path: '/variables' })));
    const served = fake.calls.filter(({ path }) => path === '/api/v2/variables');
    expect(served.length).toBeGreaterThanOrEqual(12);
    expect(fake.tokens()).toBeGreaterThanOrEqual(3);
    // Requests that are refused together ask for one token, not for one each.
    expect(fake.tokens()).toBeLessThanOrEqual(4);
  });

  test.each(['2.8.1', '3.0.6'])('%s: a wrong password is told without it', async (version) => {
    const fake = await start({ version });
    const credentials: RestCredentials = { kind: 'password', user: 'admin', password: 'wrong-hush' };
    const client = await open(fake.url, { credentials });
    const error = await restErrorOf(client.send({ method: 'GET', path: '/variables' }));
    expect(error.status).toBe(401);
    expect(JSON.stringify([error.message, error.next, error.details])).not.toContain('hush');
  });

  test('a ready token is sent as it is, and not renewed', async () => {
    const fake = await start();
    const client = await open(fake.url, { credentials: { kind: 'token', token: 'ready-made' } });
    expect(await restErrorOf(client.send({ method: 'GET', path: '/pools' }))).toMatchObject({ status: 401 });
    expect(fake.calls.at(-1)?.headers.authorization).toBe('Bearer ready-made');
    expect(fake.calls.filter(({ path }) => path.includes('/pools'))).toHaveLength(1);
  });
});

describe('trying again', () => {
  test.each([
    ['429 with a wish', { status: 429, headers: { 'retry-after': '0' } }],
    ['503', { status: 503, body: 'upstream connect error' }],
    ['500', { status: 500, body: { detail: 'Oops' } }],
    ['a reset', 'reset' as const],
    ['a lost answer', 'lose-answer' as const],
    ['a body that is cut off', { cutAfter: 10 }],
  ])('GET goes through %s', async (_name, kind) => {
    const fake = await start();
    fake.rows.pools.push({ id: 1, name: 'default_pool', slots: 128 });
    const client = await open(fake.url);
    fake.faults.push({ path: '/pools', times: 2, kind });
    const { body } = await client.send({ method: 'GET', path: '/pools' });
    expect(body).toMatchObject({ total_entries: 1 });
    expect(fake.faults).toEqual([]);
  });

  test('the answer after the last try is the error', async () => {
    const fake = await start();
    const client = await open(fake.url);
    fake.faults.push({ path: '/pools', times: 99, kind: { status: 502, body: '<html>Bad Gateway</html>' } });
    const error = await restErrorOf(client.send({ method: 'GET', path: '/pools' }));
    expect(error).toMatchObject({ status: 502, transient: true });
    expect(error.message).not.toContain('<html>');
    expect(99 - (fake.faults[0]?.times ?? 0)).toBe(QUICK.attempts);
  });

  test.each(['lose-answer' as const, { status: 503 }])('a POST after %j is not sent twice', async (kind) => {
    const fake = await start();
    fake.rows.dags.push({ dag_id: 'etl' });
    const client = await open(fake.url);
    fake.faults.push({ path: '/dagRuns', kind });
    await restErrorOf(
      client.send({ method: 'POST', path: '/dags/etl/dagRuns', body: { logical_date: null } }),
    );
    expect(fake.calls.filter(({ path }) => path.endsWith('/dagRuns'))).toHaveLength(1);
  });

  test('a POST that was certainly refused is', async () => {
    const fake = await start();
    const client = await open(fake.url);
    fake.faults.push({ path: '/variables', times: 2, kind: { status: 429 } });
    await client.send({ method: 'POST', path: '/variables', body: { key: 'a', value: '1' } });
    expect(fake.rows.variables).toHaveLength(1);
  });

  test.each([400, 403, 404, 409, 422])('%d is the end', async (status) => {
    const fake = await start();
    const client = await open(fake.url);
    fake.faults.push({ path: '/pools', times: 2, kind: { status, body: { detail: 'No.' } } });
    const error = await restErrorOf(client.send({ method: 'GET', path: '/pools' }));
    expect(error).toMatchObject({ status, transient: false });
    expect(error.message).toMatch(/No\.$/);
    expect(fake.faults).toHaveLength(1);
  });

  test('silence ends', async () => {
    const fake = await start();
    const client = await open(fake.url, { silenceMs: 60 });
    fake.faults.push({ path: '/pools', times: 99, kind: 'hang' });
    const error = await restErrorOf(client.send({ method: 'GET', path: '/pools' }));
    expect(error).toMatchObject({ code: 'no-answer' });
    expect(error.message).toContain('no answer within 0.06 s');
  });

  test('an abort ends a request under way, and a pause, with its reason', async () => {
    const fake = await start();
    const controller = new AbortController();
    const client = await open(fake.url, { signal: controller.signal });
    fake.faults.push({ path: '/pools', kind: 'hang' });
    const asked = client.send({ method: 'GET', path: '/pools' });
    const reason = new LifeboatError('interrupted', 'Stop.');
    setTimeout(() => {
      controller.abort(reason);
    }, 50);
    await expect(asked).rejects.toBe(reason);
    await expect(client.send({ method: 'GET', path: '/pools' })).rejects.toBe(reason);
  });
});

describe('the words of an error', () => {
  test('values of a refused body are not in them', async () => {
    const fake = await start();
    const client = await open(fake.url);
    const detail = [{ type: 'x', loc: ['body', 'value'], msg: 'Input should be a string', input: 'hush' }];
    fake.faults.push({ kind: { status: 422, body: { detail } }, path: '/variables' });
    const error = await restErrorOf(client.send({ method: 'POST', path: '/variables', body: {} }));
    expect(error.message).toContain('body.value: Input should be a string');
    const sql = {
      reason: 'Unique constraint violation',
      statement: 'INSERT',
      orig_error: 'Key (val)=(hush)',
    };
    fake.faults.push({ kind: { status: 409, body: { detail: sql } }, path: '/variables' });
    const conflict = await restErrorOf(client.send({ method: 'POST', path: '/variables', body: {} }));
    expect(conflict.message).toContain('Unique constraint violation');
    expect(JSON.stringify([error, conflict, error.message, conflict.message])).not.toContain('hush');
  });

  test('nor is the password that a server repeats', async () => {
    const fake = await start();
    const client = await open(fake.url);
    fake.faults.push({
      path: '/pools',
      kind: { status: 400, body: { detail: `for ${FAKE_USER.password}` } },
    });
    // The password becomes a secret when it is used.
    const error = await restErrorOf(client.send({ method: 'GET', path: '/pools' }));
    expect(error.message).toContain('for ***');
  });

  test('a login page is no answer', async () => {
    const fake = await start();
    const client = await open(fake.url);
    const headers = { location: 'https://sso.example.com/login?state=hush' };
    fake.faults.push({ path: '/pools', kind: { status: 302, headers } });
    const error = await restErrorOf(client.send({ method: 'GET', path: '/pools' }));
    expect(error).toMatchObject({ code: 'not-airflow', status: 302 });
    expect(error.message).toContain('sso.example.com');
    expect(error.message).not.toContain('hush');
  });
});
