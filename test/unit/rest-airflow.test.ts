import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Airflow, openAirflow } from '../../src/rest/airflow.ts';
import { sendBulk } from '../../src/rest/bulk.ts';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';

const RETRY = { attempts: 4, baseDelay: 1, maxDelay: 2, window: 10_000 };

describe.each(['2.10.3', '3.0.6'])('Airflow %s', (version) => {
  let fake: FakeAirflowApi;
  let airflow: Airflow;

  beforeEach(async () => {
    fake = await startFakeAirflowApi({ version });
    const env = { LIFEBOAT_REST_USER: FAKE_USER.user, LIFEBOAT_REST_PASSWORD: FAKE_USER.password };
    airflow = await openAirflow(fake.url, { env, retry: RETRY });
  });
  afterEach(async () => {
    airflow.close();
    await fake.close();
  });

  test('a variable: create, get, update, list, delete', async () => {
    const { variables } = airflow;
    const key = 'odd key/with ünicode?&=';
    expect(await variables.get(key)).toBeUndefined();
    await variables.create({ key, value: 'one', description: 'first' });
    expect(await variables.get(key)).toMatchObject({ key, value: 'one' });
    await variables.update(key, { value: 'two' });
    expect(fake.rows.variables[0]).toMatchObject({ value: 'two', description: 'first' });
    // The value is not among the written, and must not be lost to what Airflow wants in its place.
    await variables.update(key, { description: 'second' });
    expect(fake.rows.variables[0]).toMatchObject({ value: 'two', description: 'second' });
    expect(await variables.list()).toHaveLength(1);
    expect(await variables.delete(key)).toBe(true);
    expect(await variables.delete(key)).toBe(false);
  });

  test('a variable that exists is not created over', async () => {
    await airflow.variables.create({ key: 'a', value: 'one' });
    await expect(airflow.variables.create({ key: 'a', value: 'two' })).rejects.toMatchObject({ status: 409 });
    expect(fake.rows.variables).toEqual([expect.objectContaining({ key: 'a', value: 'one' })]);
  });

  test('update_mask and other parameters are passed on', async () => {
    await airflow.connections.create({ connection_id: 'db', conn_type: 'postgres', host: 'a', login: 'l' });
    await airflow.connections.update(
      'db',
      { host: 'b', login: 'm' },
      { updateMask: ['host'], query: { x: '1' } },
    );
    expect(fake.rows.connections[0]).toMatchObject({ conn_type: 'postgres', host: 'b', login: 'l' });
    expect(fake.calls.at(-1)?.query.get('x')).toBe('1');
    await airflow.pools.create({ name: 'small', slots: 2 });
    await airflow.pools.update('small', { slots: 3, description: 'more' });
    expect(await airflow.pools.get('small')).toMatchObject({ slots: 3, description: 'more' });
    await airflow.pools.list({ query: { order_by: '-name' } });
    expect(fake.calls.at(-1)?.query.getAll('order_by')).toEqual(['-name']);
  });

  test('a run: trigger, get, list, patch, clear, delete', async () => {
    fake.rows.dags.push({ dag_id: 'etl', is_paused: false });
    const { dagRuns } = airflow;
    const run = await dagRuns.trigger('etl', { dag_run_id: 'r 1', conf: { day: 1 }, note: 'by hand' });
    expect(run).toMatchObject({ dag_run_id: 'r 1', state: 'queued', conf: { day: 1 } });
    await dagRuns.trigger('etl');
    expect(await dagRuns.list({ dagIds: ['etl'], states: ['queued'] })).toHaveLength(2);
    expect(await dagRuns.list({ dagIds: ['other'] })).toHaveLength(0);
    await dagRuns.patch('etl', 'r 1', { state: 'failed', note: 'broken' });
    expect(await dagRuns.get('etl', 'r 1')).toMatchObject({ state: 'failed', note: 'broken' });
    await dagRuns.clear('etl', 'r 1', { dryRun: true });
    expect(await dagRuns.get('etl', 'r 1')).toMatchObject({ state: 'failed' });
    await dagRuns.clear('etl', 'r 1');
    expect(await dagRuns.get('etl', 'r 1')).toMatchObject({ state: 'queued' });
    expect(await dagRuns.delete('etl', 'r 1')).toBe(true);
    expect(await dagRuns.get('etl', 'r 1')).toBeUndefined();
  });

  test.each([{ kind: 'lose-answer' as const }, { kind: 'reset' as const }])(
    'a trigger with an id survives $kind, and makes one run',
    async ({ kind }) => {
      fake.faults.push({ method: 'POST', path: '/dagRuns', kind });
      expect(await airflow.dagRuns.trigger('etl', { dag_run_id: 'once' })).toMatchObject({
        dag_run_id: 'once',
      });
      expect(fake.rows.dag_runs).toHaveLength(1);
    },
  );

  test('DAGs are paused one by one', async () => {
    fake.rows.dags.push({ dag_id: 'a', is_paused: false }, { dag_id: 'a/b', is_paused: false });
    await airflow.dags.setPaused('a/b', true);
    expect(fake.rows.dags.map((dag) => dag.is_paused)).toEqual([false, true]);
    expect(await airflow.dags.list()).toHaveLength(2);
    expect(await airflow.dags.get('none')).toBeUndefined();
  });

  test('an event of a dataset or asset: create, list', async () => {
    fake.rows.assets.push({ id: 7, uri: 's3://bucket/key_2' }, { id: 8, uri: 's3://bucket/key_2/part' });
    const event = await airflow.datasets.createEvent({ uri: 's3://bucket/key_2', extra: { size: 1 } });
    expect(event).toMatchObject({ extra: { size: 1 } });
    expect(fake.rows.events).toEqual([expect.objectContaining({ uri: 's3://bucket/key_2' })]);
    expect(await airflow.assets.events()).toHaveLength(1);
    await expect(airflow.assets.createEvent({ uri: 's3://bucket' })).rejects.toMatchObject({ status: 404 });
  });
});

test('events came with 2.9: an older Airflow is not asked', async () => {
  const fake = await startFakeAirflowApi({ version: '2.8.1' });
  const url = fake.url.replace('//', `//${FAKE_USER.user}:${encodeURIComponent(FAKE_USER.password)}@`);
  const airflow = await openAirflow(url, { retry: RETRY });
  await expect(airflow.datasets.createEvent({ uri: 's3://x' })).rejects.toMatchObject({
    code: 'not-offered',
  });
  airflow.close();
  await fake.close();
});

test('the bulk answer is 200 whatever happened: its errors are read', async () => {
  const fake = await startFakeAirflowApi({ version: '3.0.6' });
  fake.rows.variables.push({ id: 1, key: 'a', value: 'old' });
  const url = fake.url.replace('//', `//${FAKE_USER.user}:${encodeURIComponent(FAKE_USER.password)}@`);
  const airflow = await openAirflow(url, { retry: RETRY });
  const outcome = await sendBulk(airflow.client, '/variables', [
    {
      action: 'create',
      entities: [
        { key: 'a', value: 'x' },
        { key: 'b', value: 'y' },
      ],
      action_on_existence: 'fail',
    },
    { action: 'delete', entities: ['none'], action_on_non_existence: 'fail' },
  ]);
  expect(outcome.done).toEqual({ create: ['b'], update: [], delete: [] });
  expect(outcome.errors.map(({ action, status }) => [action, status])).toEqual([
    ['create', 409],
    ['delete', 404],
  ]);
  airflow.close();
  await fake.close();
});

describe('what 2.x has otherwise', () => {
  const start = async (version: string): Promise<{ fake: FakeAirflowApi; airflow: Airflow }> => {
    const fake = await startFakeAirflowApi({ version });
    const env = { LIFEBOAT_REST_USER: FAKE_USER.user, LIFEBOAT_REST_PASSWORD: FAKE_USER.password };
    return { fake, airflow: await openAirflow(fake.url, { env, retry: RETRY }) };
  };

  test('2.8: the description of a new variable, which its POST drops, is written after it', async () => {
    const { fake, airflow } = await start('2.8.1');
    await airflow.variables.create({ key: 'a', value: 'one', description: 'first' });
    expect(fake.rows.variables[0]).toMatchObject({ value: 'one', description: 'first' });
    airflow.close();
    await fake.close();
  });

  test('nulls that v1 refuses are left out of what is new, and emptied in what is there', async () => {
    const { fake, airflow } = await start('2.11.0');
    await airflow.variables.create({ key: 'a', value: 'one', description: null });
    await airflow.connections.create({ connection_id: 'c', conn_type: 'http', password: null, host: null });
    expect(fake.rows.connections).toEqual([{ id: 1, connection_id: 'c', conn_type: 'http', host: null }]);
    Object.assign(fake.rows.variables[0] ?? {}, { description: 'old' });
    Object.assign(fake.rows.connections[0] ?? {}, { password: 'old' });
    await airflow.variables.update('a', { value: 'two', description: null });
    await airflow.connections.update('c', { host: 'h', password: null });
    expect(fake.rows.variables).toMatchObject([{ value: 'two', description: '' }]);
    expect(fake.rows.connections).toMatchObject([{ host: 'h', password: 'old' }]);
    airflow.close();
    await fake.close();
  });

  test('2.5: a description, which it would drop, is refused before anything is sent', async () => {
    const { fake, airflow } = await start('2.5.1');
    const described = { key: 'a', value: 'one', description: 'first' };
    await expect(airflow.variables.create(described)).rejects.toMatchObject({ code: 'not-offered' });
    await airflow.variables.create({ ...described, description: null });
    await expect(airflow.variables.update('a', { description: 'x' })).rejects.toMatchObject({
      code: 'not-offered',
    });
    await airflow.variables.update('a', { value: 'two' });
    expect(fake.rows.variables).toMatchObject([{ key: 'a', value: 'two' }]);
    airflow.close();
    await fake.close();
  });

  test('a dataset is found by its URI, though v1 counts those that it is not asked for', async () => {
    const { fake, airflow } = await start('2.11.0');
    fake.rows.assets.push(...['s3://a', 's3://b', 's3://a/c'].map((uri, id) => ({ id, uri })));
    expect(await airflow.datasets.find('s3://a')).toMatchObject({ id: 0 });
    expect(await airflow.datasets.find('s3://a/c')).toMatchObject({ id: 2 });
    expect(await airflow.datasets.find('s3://none')).toBeUndefined();
    expect(await airflow.datasets.list()).toHaveLength(3);
    airflow.close();
    await fake.close();
  });

  test('an id with a slash is looked for in the list, and what cannot be done to it is an error', async () => {
    const { fake, airflow } = await start('2.10.3');
    fake.rows.pools.push({ id: 1, name: 'a/b', slots: 1 });
    expect(await airflow.pools.get('a/b')).toMatchObject({ slots: 1 });
    expect(await airflow.pools.get('a/c')).toBeUndefined();
    await expect(airflow.pools.delete('a/b')).rejects.toMatchObject({ code: 'not-offered' });
    await expect(airflow.dagRuns.delete('etl', 'a/b')).rejects.toMatchObject({ code: 'not-offered' });
    // What is not read may be what is looked for.
    fake.rows.pools.push({ id: 2, name: 'endless', slots: -1, broken: true });
    await expect(airflow.pools.get('a/c')).rejects.toThrow(/may be one of them/);
    expect(fake.rows.pools).toHaveLength(2);
    airflow.close();
    await fake.close();
  });
});
