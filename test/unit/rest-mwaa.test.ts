import { afterEach, describe, expect, test, vi } from 'vitest';
import { parseRestAddress } from '../../src/rest/address.ts';
import { airflowOf } from '../../src/rest/airflow.ts';
import type { RestClient } from '../../src/rest/client.ts';
import { openRest } from '../../src/rest/open.ts';
import { allRows } from '../../src/rest/pages.ts';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { type FakeMwaa, type FakeMwaaOptions, startFakeMwaa } from '../helpers/fake-mwaa.ts';
import { restErrorOf } from '../helpers/rest-error.ts';
import { signatureProblem } from '../helpers/sigv4.ts';

const QUICK = { attempts: 3, baseDelay: 1, maxDelay: 2, window: 10_000 };
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  vi.unstubAllEnvs();
});

interface World {
  readonly fake: FakeAirflowApi;
  readonly mwaa: FakeMwaa;
  open(environment?: string, query?: string): Promise<RestClient>;
}

async function world(version: string, options: Partial<FakeMwaaOptions> = {}): Promise<World> {
  const fake = await startFakeAirflowApi({ version });
  const mwaa = await startFakeMwaa({ environment: 'prod', version, url: fake.url, ...FAKE_USER, ...options });
  cleanups.push(
    () => fake.close(),
    () => mwaa.close(),
  );
  for (const name of ['AWS_PROFILE', 'AWS_SESSION_TOKEN']) vi.stubEnv(name, undefined);
  for (const [name, value] of Object.entries(mwaa.env)) vi.stubEnv(name, value);
  return {
    fake,
    mwaa,
    async open(environment = 'prod', query = '') {
      const client = await openRest(
        parseRestAddress(`mwaa://${environment}?region=eu-west-1${query}`, mwaa.env),
        {
          retry: QUICK,
        },
      );
      cleanups.push(() => {
        client.close();
      });
      return client;
    },
  };
}

test('the verifier of the tests knows the example of the specification, and a change of it', () => {
  const request = {
    method: 'GET',
    url: '/?Action=ListUsers&Version=2010-05-08',
    headers: {
      host: 'iam.amazonaws.com',
      'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
      'x-amz-date': '20150830T123600Z',
      authorization:
        'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
    },
    body: '',
  };
  const rules = {
    service: 'iam',
    region: 'us-east-1',
    accessKeyId: 'AKIDEXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
    now: () => new Date('2015-08-30T12:40:00Z'),
  };
  expect(signatureProblem(request, rules)).toBeUndefined();
  expect(signatureProblem({ ...request, body: 'x' }, rules)).toBe('InvalidSignatureException');
  expect(signatureProblem(request, { ...rules, now: () => new Date('2015-08-30T13:00:00Z') })).toBe(
    'InvalidSignatureException',
  );
});

describe.each(['2.8.1', '3.0.6'])('Airflow %s behind InvokeRestApi', (version) => {
  test('is asked with signed requests, numbers as strings', async () => {
    const { fake, mwaa, open } = await world(version);
    fake.rows.variables.push({ id: 1, key: 'a', value: '1' });
    const client = await open();
    expect(client.airflow).toBe(version);
    expect(await allRows(client, client.dialect.lists.variables)).toHaveLength(1);
    expect(mwaa.invocations).toEqual([
      { Path: '/version', Method: 'GET' },
      { Path: '/variables', Method: 'GET' },
    ]);
  });

  test('with the session token of a role, and a name that only MWAA sees', async () => {
    const { open } = await world(version, { sessionToken: 'FwoGZXIvYXdzE+/=', environment: 'My_Env-1' });
    expect((await open('My_Env-1')).airflow).toBe(version);
    const error = await restErrorOf(open('other'));
    expect(error).toMatchObject({ code: 'denied' });
    expect(error.message).toContain('no such environment');
  });

  test('an error of Airflow keeps its status and its words', async () => {
    const { open } = await world(version);
    const client = await open();
    const error = await restErrorOf(client.send({ method: 'GET', path: '/variables/none' }));
    expect(error).toMatchObject({ code: 'answer', status: 404, transient: false });
    expect(error.message).toContain('none was not found');
  });

  test('a wrong secret key is told', async () => {
    const { open } = await world(version);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'another');
    expect(await restErrorOf(open())).toMatchObject({ code: 'denied' });
  });

  test('a private web server is told with what to do', async () => {
    const { open } = await world(version, { privateWebServer: true });
    const error = await restErrorOf(open());
    expect(error.message).toContain('within a VPC');
    expect(error.next).toContain('airflow:InvokeRestApi');
  });

  test('paths stay within 64 characters; a longer one is not even sent', async () => {
    const { mwaa, open } = await world(version);
    const client = await open();
    const path = `/variables/${'k'.repeat(60)}`;
    const error = await restErrorOf(client.send({ method: 'GET', path }));
    expect(error).toMatchObject({ code: 'path-too-long' });
    expect(error.next).toContain('via=web');
    expect(mwaa.invocations).toHaveLength(1);
  });

  test('a long variable is found, a long DAG paused, a long run found', async () => {
    const { fake, mwaa, open } = await world(version);
    const [dagId, key] = ['d'.repeat(200), 'k'.repeat(120)];
    fake.rows.variables.push({ id: 1, key, value: 'v' });
    fake.rows.dags.push({ dag_id: dagId, is_paused: true }, { dag_id: 'other', is_paused: true });
    fake.rows.dag_runs.push({ dag_id: dagId, dag_run_id: 'r1', state: 'failed' });
    const airflow = airflowOf(await open());
    expect(await airflow.variables.get(key)).toMatchObject({ value: 'v' });
    await airflow.dags.setPaused(dagId, false);
    expect(fake.rows.dags.map((dag) => dag.is_paused)).toEqual([false, true]);
    expect(await airflow.dags.get(dagId)).toMatchObject({ is_paused: false });
    expect(await airflow.dagRuns.get(dagId, 'r1')).toMatchObject({ state: 'failed' });
    expect(mwaa.invocations.filter(({ refused }) => refused !== undefined)).toEqual([]);
    // What there is no short path for is refused, not sent to another DAG.
    expect(await restErrorOf(airflow.dagRuns.trigger(dagId))).toMatchObject({ code: 'path-too-long' });
  });

  test('a pattern that would pause other DAGs too is refused', async () => {
    const { fake, open } = await world(version);
    const dagId = 'd'.repeat(100);
    fake.rows.dags.push({ dag_id: dagId, is_paused: false }, { dag_id: `${dagId}_2`, is_paused: false });
    const airflow = airflowOf(await open());
    expect(await restErrorOf(airflow.dags.setPaused(dagId, true))).toMatchObject({ code: 'path-too-long' });
    expect(fake.rows.dags.map((dag) => dag.is_paused)).toEqual([false, false]);
  });

  test('answers over the limit are asked for in smaller pages', async () => {
    const { fake, mwaa, open } = await world(version, { answerBytes: 40_000 });
    for (let id = 1; id <= 150; id++) {
      fake.rows.variables.push({ id, key: `v${id}`, value: 'w'.repeat(1_000) });
    }
    const client = await open();
    expect(await allRows(client, client.dialect.lists.variables)).toHaveLength(150);
    const sizes = mwaa.invocations.filter(({ refused }) => refused === 'size');
    expect(sizes.length).toBeGreaterThan(0);
    expect(sizes.length).toBeLessThan(10);
  });

  test('ten requests a second and no more', async () => {
    const { mwaa, open } = await world(version, { perSecond: 10 });
    const client = await open();
    const started = performance.now();
    await Promise.all(Array.from({ length: 20 }, () => client.send({ method: 'GET', path: '/pools' })));
    expect(performance.now() - started).toBeGreaterThan(1_800);
    expect(mwaa.invocations.filter(({ refused }) => refused === 'rate').length).toBeLessThanOrEqual(2);
  });

  test('an Airflow that does not answer in time is asked again', async () => {
    const { fake, mwaa, open } = await world(version, { patienceMs: 150 });
    const client = await open();
    fake.faults.push({ path: '/pools', kind: 'hang' });
    await client.send({ method: 'GET', path: '/pools' });
    expect(mwaa.invocations.filter(({ refused }) => refused === 'timeout')).toHaveLength(1);
  });

  test('the web login is the other way: no limit of the path, and a new session when one ends', async () => {
    const { fake, mwaa, open } = await world(version);
    const dagId = 'd'.repeat(200);
    fake.rows.dags.push({ dag_id: dagId, is_paused: true });
    const airflow = airflowOf(await open('prod', '&via=web'));
    expect(airflow.client.airflow).toBe(version);
    const run = await airflow.dagRuns.trigger(dagId, { dag_run_id: 'r1' });
    expect(run).toMatchObject({ dag_id: dagId, dag_run_id: 'r1' });
    expect(mwaa.operations.every((operation) => operation === 'webtoken')).toBe(true);
  });
});

test('without credentials it is said so, and nothing is sent', async () => {
  const { mwaa, open } = await world('3.0.6');
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('HOME', '/nonexistent');
  await expect(open()).rejects.toThrow(/cannot be signed: no AWS credentials were found/);
  expect(mwaa.operations).toEqual([]);
});
