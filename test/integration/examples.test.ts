import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { clearFailedRuns } from '../../examples/clear-failed-runs.ts';
import { copyVariables } from '../../examples/copy-variables.ts';
import { createHandler, type SqsEvent } from '../../examples/s3-to-dataset-event.ts';
import { triggerElsewhere } from '../../examples/trigger-in-another-environment.ts';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { type FakeMwaa, startFakeMwaa } from '../helpers/fake-mwaa.ts';

const env = { LIFEBOAT_REST_USER: FAKE_USER.user, LIFEBOAT_REST_PASSWORD: FAKE_USER.password };

describe.each(['2.10.3', '3.0.6'])('the examples, against Airflow %s', (version) => {
  let a: FakeAirflowApi;
  let b: FakeAirflowApi;
  let mwaa: FakeMwaa;

  beforeEach(async () => {
    a = await startFakeAirflowApi({ version });
    b = await startFakeAirflowApi({ version });
    mwaa = await startFakeMwaa({ environment: 'b', version, url: b.url, ...FAKE_USER });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await Promise.all([mwaa.close(), a.close(), b.close()]);
  });

  test('a DAG of MWAA’s B is triggered once, with credentials that are given', async () => {
    b.rows.dags.push({ dag_id: 'etl', is_paused: false });
    const awsCredentials = (): Promise<{ accessKeyId: string; secretAccessKey: string }> =>
      Promise.resolve({
        accessKeyId: mwaa.env.AWS_ACCESS_KEY_ID ?? '',
        secretAccessKey: mwaa.env.AWS_SECRET_ACCESS_KEY ?? '',
      });
    const trigger = {
      environment: 'mwaa://b?region=eu-west-1',
      dagId: 'etl',
      runId: 'from-a-1',
      conf: { day: 1 },
    };
    for (let time = 0; time < 2; time++) {
      expect(await triggerElsewhere(trigger, { env: mwaa.env, awsCredentials })).toMatchObject({
        dag_run_id: 'from-a-1',
        conf: { day: 1 },
      });
    }
    expect(b.rows.dag_runs).toHaveLength(1);
  });

  test('variables are copied; hidden ones are named, others deleted when asked for', async () => {
    a.rows.variables.push(
      { id: 1, key: 'new', value: 'n', description: null },
      { id: 2, key: 'both', value: 'mine', description: 'd' },
      { id: 3, key: 'api_key', value: '***', description: null },
    );
    b.rows.variables.push({ id: 1, key: 'both', value: 'old' }, { id: 2, key: 'only_b', value: 'x' });
    expect(await copyVariables(a.url, b.url, { env, deleteOthers: true })).toEqual({
      created: ['new'],
      updated: ['both'],
      deleted: ['only_b'],
      hidden: ['api_key'],
    });
    expect(b.rows.variables.map(({ key, value }) => [key, value])).toEqual([
      ['both', 'mine'],
      ['new', 'n'],
    ]);
  });

  test('failed runs are noted and cleared', async () => {
    a.rows.dag_runs.push(
      { dag_id: 'etl', dag_run_id: 'r1', state: 'failed' },
      { dag_id: 'etl', dag_run_id: 'r2', state: 'success' },
      { dag_id: 'other', dag_run_id: 'r3', state: 'failed' },
    );
    expect(await clearFailedRuns(a.url, ['etl'], 'again', { env })).toEqual(['etl/r1']);
    expect(a.rows.dag_runs.map(({ state, note }) => [state, note])).toEqual([
      ['queued', 'again'],
      ['success', undefined],
      ['failed', undefined],
    ]);
  });

  test('an object in S3 becomes an event; a message that fails alone comes again', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    a.rows.assets.push({ id: 4, uri: 's3://in/a b/ü.csv' });
    const record = (key: string, eventName = 'ObjectCreated:Put'): object => ({
      eventName,
      eventTime: '2026-11-21T00:00:00Z',
      s3: { bucket: { name: 'in' }, object: { key, size: 3 } },
    });
    const message = (messageId: string, body: object): SqsEvent['Records'][number] => ({
      messageId,
      body: JSON.stringify(body),
    });
    const response = await createHandler(a.url, { env })({
      Records: [
        message('1', { Records: [record('a+b/%C3%BC.csv')] }),
        message('2', { Records: [record('unknown')] }),
        message('3', { Service: 'Amazon S3', Event: 's3:TestEvent' }),
        message('4', { Records: [record('a+b/%C3%BC.csv', 'ObjectRemoved:Delete')] }),
      ],
    });
    expect(response).toEqual({ batchItemFailures: [{ itemIdentifier: '2' }] });
    expect(a.rows.events).toEqual([
      expect.objectContaining({ uri: 's3://in/a b/ü.csv', extra: expect.objectContaining({ size: 3 }) }),
    ]);
  });
});
