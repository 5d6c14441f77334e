import { afterEach, describe, expect, test } from 'vitest';
import type { FakeRows } from '../helpers/fake-airflow-rows.ts';
import { noHistory } from '../helpers/fake-airflow-history.ts';
import { restWorld, writes } from '../helpers/restore-world.ts';

const { backedUp, start, restore, close } = restWorld();
afterEach(close);

/** `etl` waits for two assets, and has one of them in its queue. */
function waiting(rows: FakeRows): void {
  rows.dags.splice(0, 1, { dag_id: 'etl', is_paused: false });
  rows.dag_runs.length = 0;
  rows.events.push({
    ...rows.events[0],
    id: 3,
    extra: { rows: 4, newest: true },
    timestamp: '2026-11-20T01:02:04.000000Z',
  });
}

/** There `other` waits for it too, and is let go; `idle` does, and is paused. */
function target(): Partial<FakeRows> {
  const consumers = ['etl', 'other', 'idle'].map((id) => ({ dag_id: id }));
  return {
    pools: [{ name: 'default_pool', slots: 128, description: 'd', include_deferred: true }],
    variables: [
      { key: 'plain', value: 'v\n"1"' },
      { key: 'empty', value: '' },
    ],
    connections: [{ connection_id: 'whole', conn_type: 'mine' }],
    dags: [
      { dag_id: 'etl', is_paused: true },
      { dag_id: 'other', is_paused: false },
      { dag_id: 'idle', is_paused: true },
    ],
    assets: [{ id: 7, uri: 's3://a', scheduled_dags: consumers, consuming_dags: consumers }],
    events: [{ id: 1, asset_id: 7, dataset_id: 7, uri: 's3://a', timestamp: '2026-11-19T00:00:00Z' }],
    history: noHistory(),
  };
}

const paused = ({ dags }: FakeRows): unknown[] => dags.map(({ is_paused: is }) => is);

describe.each([
  ['2.11.0', 'v1', 'datasets'],
  ['3.2.1', 'v2', 'assets'],
])('an asset that a DAG waits with, in Airflow %s', (release, api, root) => {
  test('has its last event again, and no other DAG is queued for it', async () => {
    const ctx = await backedUp(release, waiting);
    const { fake, client } = await start(release, target());
    const { plan, restored } = await restore(ctx, client);
    expect(plan.queued).toEqual([{ uri: 's3://a', dags: ['etl'] }]);
    expect(restored).toMatchObject({ events: ['s3://a'], refused: [] });
    expect(writes(fake)).toEqual([
      `PATCH ${api}/dags/etl`,
      `PATCH ${api}/dags/other`,
      `POST ${api}/${root}/events`,
      `PATCH ${api}/dags/other`,
    ]);
    expect(fake.rows.events.at(-1)).toMatchObject({ uri: 's3://a', extra: { rows: 4, newest: true } });
    expect(fake.rows.history.queued).toMatchObject([{ dag_id: 'etl', uri: 's3://a' }]);
    expect(paused(fake.rows)).toEqual([false, false, true]);
  });

  test('a second time nothing is written', async () => {
    const ctx = await backedUp(release, waiting);
    const { fake, client } = await start(release, target());
    await restore(ctx, client);
    fake.calls.length = 0;
    expect((await restore(ctx, client)).restored).toMatchObject({ events: [] });
    expect(writes(fake)).toEqual([]);
  });

  test.each(['lose-answer', 'reset'] as const)(
    'interrupted by %s at the event: one event in the end, and the other DAG is let go again',
    async (kind) => {
      const ctx = await backedUp(release, waiting);
      const { fake, client } = await start(release, target());
      fake.faults.push({ method: 'POST', path: '/events', kind });
      fake.onCall = ({ method, path }) => {
        // From then on the server is away.
        if (method === 'POST' && path.endsWith('/events')) fake.faults.push({ times: 99, kind: 'reset' });
      };
      await expect(restore(ctx, client)).rejects.toThrow();
      expect(paused(fake.rows)).toEqual([false, true, true]);
      fake.onCall = () => undefined;
      fake.faults.length = 0;
      await restore(ctx, client);
      expect(fake.rows.events).toHaveLength(2);
      expect(fake.rows.history.queued).toMatchObject([{ dag_id: 'etl' }]);
      expect(paused(fake.rows)).toEqual([false, false, true]);
    },
  );

  test('Airflow’s no is named, and the other DAG is let go again', async () => {
    const ctx = await backedUp(release, waiting);
    const { fake, client } = await start(release, target());
    fake.faults.push({ method: 'POST', path: '/events', kind: { status: 400, body: { detail: 'no such' } } });
    const { restored } = await restore(ctx, client);
    expect(restored).toMatchObject({ events: [], refused: [{ table: 'asset_event', name: 's3://a' }] });
    expect(paused(fake.rows)).toEqual([false, false, true]);
  });

  test.each<[reason: string, change: (rows: Partial<FakeRows>) => void]>([
    ['no DAG of the target names this asset', (rows) => rows.assets?.splice(0, 1)],
    [
      'does not wait for this asset',
      ({ assets }) => Object.assign(assets?.[0] ?? {}, { scheduled_dags: [], consuming_dags: [] }),
    ],
    [
      'its DAG is paused in the end',
      ({ dags }) => Object.assign(dags?.[0] ?? {}, { tags: [{ name: 'lifeboat' }] }),
    ],
  ])('none where %s: it is named', async (reason, change) => {
    const ctx = await backedUp(release, waiting);
    const rows = target();
    change(rows);
    const { fake, client } = await start(release, rows);
    const { plan, restored } = await restore(ctx, client);
    expect(plan.leftOut).toContainEqual({
      table: `${root.slice(0, -1)}_dag_run_queue`,
      reason: expect.stringContaining(reason) as string,
      rows: 1,
      names: ['etl: s3://a'],
    });
    expect(restored).toMatchObject({ events: [] });
    expect(fake.rows.events).toHaveLength(rows.events?.length ?? 0);
  });
});

test('2.8 creates no events: what waits is named', async () => {
  const ctx = await backedUp('2.11.0', waiting);
  const { client } = await start('2.8.1', target());
  const { plan } = await restore(ctx, client);
  expect(plan.leftOut).toContainEqual(
    expect.objectContaining({
      reason: 'events of datasets can be created through the API from Airflow 2.9 on',
      names: ['etl: s3://a'],
    }),
  );
});
