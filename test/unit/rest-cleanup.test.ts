import { afterEach, describe, expect, test } from 'vitest';
import type { EngineContext } from '../../src/engine/api.ts';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import type { RestCleanupRequest, RestCleanupResult } from '../../src/engine/rest-cleanup/api.ts';
import { cleanupThroughRest } from '../../src/engine/rest-cleanup/cleanup.ts';
import type { RestClient } from '../../src/rest/client.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { FakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { noHistory } from '../helpers/fake-airflow-history.ts';
import type { FakeRows } from '../helpers/fake-airflow-rows.ts';
import { sampleRows } from '../helpers/fake-airflow-sample.ts';
import { restWorld, writes } from '../helpers/restore-world.ts';

const world = restWorld();
afterEach(() => world.close());

const events: LifeboatEvent[] = [];
const ctx: EngineContext = {
  storage: createMemoryStorage(),
  report: (event) => events.push(event),
  signal: new AbortController().signal,
  now: () => new Date('2026-11-21T12:00:00Z'),
};

function clean(client: RestClient, more: Partial<RestCleanupRequest> = {}): Promise<RestCleanupResult> {
  const confirm = (): Promise<boolean> => Promise.resolve(true);
  return cleanupThroughRest(ctx, {
    client,
    via: 'http',
    catchup: 'hold',
    lock: true,
    ignoreRunning: true,
    dryRun: false,
    confirm,
    ...more,
  });
}

const runsOf = (fake: FakeAirflowApi): string[] =>
  fake.rows.dag_runs.map((run) => `${String(run.dag_id)}/${String(run.dag_run_id)}`);

type Row = Record<string, unknown>;

const run = (dagId: string, id: string, more: Row = {}): Row => ({
  dag_id: dagId,
  dag_run_id: id,
  run_type: id.split('__')[0],
  state: 'success',
  logical_date: '2026-11-20T00:00:00Z',
  ...more,
});

const many = (count: number): Row[] =>
  Array.from({ length: count }, (_, at) => run('etl', `manual__${at}`, { logical_date: null }));

describe.each(['2.8.1', '2.11.0', '3.0.6', '3.2.1', '3.3.2'])('a cleanup of %s', (version) => {
  const v1 = version.startsWith('2.');
  const sample = (): FakeRows => sampleRows(v1 ? '2' : '3');

  test('deletes runs with what hangs on them, but for the newest of a schedule', async () => {
    const { fake, client } = await world.start(version, sample());
    const { plan, cleaned } = await clean(client);
    expect(plan).toMatchObject({
      kind: 'rest-cleanup',
      target: { airflow: version, via: 'http', schedulerHeartbeat: '2026-11-21T11:59:30.500Z' },
      deletes: 2,
      ends: 1,
      dags: [{ dagId: 'etl', deletes: 2, keeps: 1 }],
      keeps: [{ because: 'schedule', runs: 1, names: ['etl/scheduled__1'] }],
      queuedEvents: version === '2.8.1' ? 0 : 1,
      startsAgain: [],
      blockers: [],
    });
    expect(plan.leftOut.map(({ table }) => table)).toContain(v1 ? 'dataset_event' : 'asset_event');
    expect(plan.leftOut.some(({ table }) => table === 'dataset_dag_run_queue')).toBe(version === '2.8.1');
    expect(cleaned).toMatchObject({ runs: 2, ended: 1, gone: 0, begunAgainRuns: 0, refused: [] });
    expect(runsOf(fake)).toEqual(['etl/scheduled__1']);
    const { task_instances: tasks, queued } = fake.rows.history;
    expect(new Set(tasks.map((task) => task.dag_run_id))).toEqual(new Set(['scheduled__1']));
    expect(queued).toHaveLength(version === '2.8.1' ? 1 : 0);
    expect(fake.rows.variables).toHaveLength(4);
    expect(fake.rows.dags).toHaveLength(1);
  });

  test('done once more it deletes nothing', async () => {
    const { fake, client } = await world.start(version, sample());
    await clean(client);
    const before = writes(fake).length;
    const { plan, cleaned } = await clean(client);
    expect(plan).toMatchObject({ deletes: 0, queuedEvents: 0 });
    expect(cleaned).toMatchObject({ runs: 0, gone: 0 });
    expect(writes(fake)).toHaveLength(before);
  });

  test('goes through many pages; what comes meanwhile, or begins again, stays', async () => {
    const { fake, client } = await world.start(version, {
      dag_runs: [run('etl', 'scheduled__1'), ...many(1_050)],
    });
    let deletes = 0;
    fake.onCall = ({ method, path, text }) => {
      const isDeletion = method === 'DELETE' || (method === 'PATCH' && text.includes('"delete"'));
      if (!isDeletion || !path.includes('dagRuns')) return;
      deletes += 1;
      if (deletes === 2) fake.rows.dag_runs.push(run('etl', 'manual__new'));
      if (deletes === 3) Object.assign(fake.rows.dag_runs.at(-5) ?? {}, { state: 'queued' });
      // Somebody else deletes one that stays: the pages move, and one is stepped over.
      if (deletes === 5) fake.rows.dag_runs.splice(0, 1);
    };
    const { cleaned, plan } = await clean(client);
    expect(plan.deletes).toBe(1_050);

    expect(runsOf(fake)).toEqual(['etl/manual__1046', 'etl/manual__new']);
    expect(cleaned).toMatchObject({ begunAgainRuns: 1, begunAgain: ['etl/manual__1046'] });
    expect(cleaned).toMatchObject({ runs: 1_049, gone: 0 });
    if (version === '3.3.2') expect(deletes).toBeLessThan(80);
  });

  test('a dry run writes nothing', async () => {
    const { fake, client } = await world.start(version, sample());
    const { cleaned } = await clean(client, { dryRun: true });
    expect(cleaned).toBeUndefined();
    expect(writes(fake)).toEqual([]);
  });

  test('nor does one that nobody confirms', async () => {
    const { fake, client } = await world.start(version, sample());
    const refused = clean(client, { confirm: () => Promise.resolve(false) });
    await expect(refused).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringMatching(/cleanup of .* was not confirmed/) as string,
    });
    expect(writes(fake)).toEqual([]);
  });
});

describe('runs that stay', () => {
  const rows = (): Partial<FakeRows> => ({
    dags: [
      { dag_id: 'restore_metadata', is_paused: false, tags: [{ name: 'lifeboat' }] },
      { dag_id: 'etl', is_paused: false },
    ],
    dag_runs: [
      run('restore_metadata', 'manual__past'),
      run('restore_metadata', 'manual__now', { state: 'running' }),
      run('my_cleanup', 'manual__own', { state: 'running' }),
      run('etl', 'manual__kept', { state: 'running' }),
      run('etl', 'manual__1'),
    ],
    history: {
      ...noHistory(),
      task_instances: [
        { dag_id: 'etl', dag_run_id: 'manual__kept', task_id: 'a', map_index: -1, state: 'running' },
        { dag_id: 'my_cleanup', dag_run_id: 'manual__own', task_id: 'b', map_index: -1, state: 'running' },
      ],
    },
  });
  const carriedBy = { dagId: 'my_cleanup', runId: 'manual__own', taskId: 'b' };
  const keepRuns = [{ dagId: 'etl', runId: 'manual__kept' }];

  test('are the one that carries it, those that the user names, and of DAGs with the tag those under way', async () => {
    const { fake, client } = await world.start('3.2.1', rows());
    const { plan } = await clean(client, { carriedBy, keepRuns, ignoreRunning: false });
    expect(plan.blockers).toEqual([]);
    expect(plan.keeps.map(({ because, names }) => [because, names])).toEqual([
      ['lifeboat', ['restore_metadata/manual__now']],
      ['carries', ['my_cleanup/manual__own']],
      ['named', ['etl/manual__kept']],
    ]);
    expect(runsOf(fake)).toEqual([
      'restore_metadata/manual__now',
      'my_cleanup/manual__own',
      'etl/manual__kept',
    ]);
  });

  test('tasks at work in others refuse it, unless nobody is at work for them', async () => {
    const { fake, client } = await world.start('3.2.1', rows());
    const refused = clean(client, { carriedBy, ignoreRunning: false });
    await expect(refused).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringMatching(
        /A task of .* is running or queued: etl\.a, run manual__kept \(running\)/,
      ) as string,
    });
    expect(writes(fake)).toEqual([]);
    const { plan } = await clean(client, { carriedBy });
    expect(plan.warnings).toMatchObject([{ code: 'running-tasks' }]);
    expect(runsOf(fake)).not.toContain('etl/manual__kept');
  });

  test('a run to be kept that is not there refuses it', async () => {
    const { client } = await world.start('3.2.1', rows());
    const refused = clean(client, { keepRuns: [{ dagId: 'etl', runId: 'manual__kept2' }] });
    await expect(refused).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringMatching(/has no run etl\/manual__kept2/) as string,
    });
  });

  test('without the list of tasks nobody knows what runs', async () => {
    const { fake, client } = await world.start('3.2.1', rows());
    fake.faults.push({ path: '~/taskInstances', times: 3, kind: { status: 500 } });
    await expect(clean(client, { ignoreRunning: false })).rejects.toMatchObject({ kind: 'refused' });
    fake.faults.push({ path: '~/taskInstances', times: 6, kind: { status: 500 } });
    expect((await clean(client)).cleaned?.refused).toEqual([]);
  });
});

describe('the schedule', () => {
  const dag_runs = [
    run('etl', 'scheduled__3', { logical_date: '2026-11-03T00:00:00Z' }),
    run('etl', 'scheduled__2', { logical_date: '2026-11-02T00:00:00+02:00' }),
    run('etl', 'backfill__1', { logical_date: '2026-11-01T00:00:00Z' }),
    run('parts', 'scheduled__b', { logical_date: null, run_after: '2026-11-04T00:00:00Z' }),
    run('parts', 'scheduled__a', { logical_date: null, run_after: '2026-11-03T00:00:00Z' }),
    run('asked', 'manual__1'),
  ];
  const dags = ['etl', 'parts', 'asked', 'paused'].map((id) => ({ dag_id: id, is_paused: id === 'parts' }));

  test('is read from the newest run, which stays', async () => {
    const { fake, client } = await world.start('3.2.1', { dags, dag_runs: [...dag_runs] });
    const { plan } = await clean(client);
    expect(runsOf(fake)).toEqual(['etl/scheduled__3', 'parts/scheduled__b']);
    expect(plan.startsAgain).toEqual([]);
  });

  test('begins anew where that is deleted too, which is said', async () => {
    const { fake, client } = await world.start('3.2.1', { dags, dag_runs: [...dag_runs] });
    const { plan } = await clean(client, { catchup: 'start' });
    expect(runsOf(fake)).toEqual([]);
    expect(plan.startsAgain).toEqual(['etl']);
  });
});

describe('what Airflow does not delete', () => {
  test('is named, and the rest is deleted', async () => {
    const { fake, client } = await world.start('3.2.1', { dag_runs: many(3) });
    fake.faults.push({ method: 'DELETE', path: 'manual__1', kind: { status: 409, body: { detail: 'no' } } });
    const { cleaned } = await clean(client);
    expect(cleaned).toMatchObject({ runs: 2, refusedRuns: 1, gone: 0 });
    expect(cleaned?.refused).toMatchObject([{ table: 'dag_run', name: 'etl/manual__1' }]);
    expect(runsOf(fake)).toEqual(['etl/manual__1']);
  });

  test('a run that goes on although it was ended, in one request of many', async () => {
    const { fake, client } = await world.start('3.3.2', {
      dag_runs: [...many(2), run('etl', 'manual__x', { state: 'running' })],
    });
    fake.faults.push({ method: 'PATCH', path: 'manual__x', kind: { status: 404 } });
    const { cleaned } = await clean(client);
    expect(cleaned).toMatchObject({ runs: 2, ended: 0, refusedRuns: 1, gone: 0 });
    expect(cleaned?.refused[0]?.message).toContain('cannot be deleted in running state');
    expect(runsOf(fake)).toEqual(['etl/manual__x']);
  });

  test('goes one by one where the many are refused', async () => {
    const { fake, client } = await world.start('3.3.2', { dag_runs: many(3) });
    fake.faults.push({ method: 'PATCH', path: '/dagRuns', kind: { status: 422 } });
    expect((await clean(client)).cleaned).toMatchObject({ runs: 3, refused: [] });
    expect(runsOf(fake)).toEqual([]);
  });

  test('a run that was deleted, and is listed all the same, is not tried for ever', async () => {
    const { fake, client } = await world.start('3.2.1', { dag_runs: many(1) });
    fake.onCall = ({ method }) => {
      if (method === 'DELETE') fake.rows.dag_runs.push(...many(1));
    };
    expect((await clean(client)).cleaned?.runs).toBe(1);
    expect(fake.calls.filter(({ method }) => method === 'DELETE')).toHaveLength(1);
  });

  test('is what no path of InvokeRestApi reaches, but with 3.3, which takes many in one request', async () => {
    const long = [run('etl', `manual__${'x'.repeat(60)}`), run('etl', 'manual__1')];
    const old = await world.start('3.2.1', { dag_runs: [...long] });
    const { plan } = await clean({ ...old.client, limits: { ...old.client.limits, pathLength: 64 } });
    expect(plan).toMatchObject({ deletes: 1, dags: [{ dagId: 'etl', deletes: 1, keeps: 1 }] });
    expect(plan.leftOut).toContainEqual(
      expect.objectContaining({
        table: 'dag_run',
        rows: 1,
        reason: expect.stringContaining('via=web') as string,
      }),
    );
    expect(runsOf(old.fake)).toHaveLength(1);
    const young = await world.start('3.3.2', {
      dag_runs: [{ ...long[0], state: 'running' }, ...long.slice(1)],
    });
    const { cleaned } = await clean({ ...young.client, limits: { ...young.client.limits, pathLength: 64 } });
    expect(cleaned).toMatchObject({ runs: 2, ended: 1, refused: [] });
    expect(runsOf(young.fake)).toEqual([]);
  });

  test('queued events that came since the plan was made stay', async () => {
    const rows = sampleRows('3');
    const { fake, client } = await world.start('3.2.1', rows);
    const later = { asset_id: 1, uri: 's3://a', dag_id: 'other', created_at: '2026-11-21T13:00:00Z' };
    const { cleaned } = await clean(client, {
      confirm: () => {
        fake.rows.history.queued.push(later);
        return Promise.resolve(true);
      },
    });
    expect(cleaned).toMatchObject({ queuedEvents: 1, refused: [] });
    expect(fake.rows.history.queued).toEqual([later]);
  });
});

describe('of two commands at once', () => {
  test('with a storage in common the second is refused, and changes nothing', async () => {
    const { fake, client } = await world.start('3.2.1', sampleRows('3'));
    let second: Promise<unknown> | undefined;
    const first = await clean(client, {
      confirm: async () => {
        second = clean(client).catch((error: unknown) => error);
        expect(await second).toMatchObject({ kind: 'locked' });
        expect(writes(fake)).toEqual([]);
        return true;
      },
    });
    expect(second).toBeDefined();
    expect(first.cleaned?.runs).toBe(2);
  }, 20_000);
});
