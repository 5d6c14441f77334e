import { afterEach, describe, expect, test } from 'vitest';
import { listRuns, type ListRunsRequest, type ListRunsResult } from '../../src/engine/list-runs.ts';
import { type RestWorld, startRestWorld } from '../helpers/rest-world.ts';

let world: RestWorld;
afterEach(() => world.close());

/** 300 runs of two DAGs, a day apart and not in order, of which one never ended. */
async function backedUp(): Promise<(more?: Partial<ListRunsRequest>) => Promise<ListRunsResult>> {
  world = await startRestWorld('3.2.1');
  const day = (number: number): string => new Date(Date.UTC(2026, 0, 1 + number)).toISOString();
  world.fake.rows.dag_runs.splice(
    0,
    100,
    ...Array.from({ length: 300 }, (_, at) => (at * 7) % 300).map((number) => ({
      dag_id: number % 2 === 0 ? 'etl' : 'billing',
      dag_run_id: `scheduled__${number}`,
      run_type: 'scheduled',
      state: number === 4 ? 'running' : number % 10 === 0 ? 'failed' : 'success',
      logical_date: day(number),
      start_date: day(number + 1),
      end_date: number === 4 ? null : day(number + 2),
      conf: {},
    })),
  );
  await world.backUp();
  const list = { backup: 'latest', limit: 3 };
  return (more = {}) => listRuns(world.ctx, { ...list, ...more });
}

const ids = ({ runs }: ListRunsResult): string[] => runs.map(({ runId }) => runId.replace('scheduled__', ''));

describe('the runs of a backup', () => {
  test('are all counted, and the newest listed', async () => {
    const list = await backedUp();
    const all = await list();
    expect(all).toMatchObject({
      total: 300,
      matching: 300,
      states: { failed: 30, running: 1, success: 269 },
    });
    expect(ids(all)).toEqual(['299', '298', '297']);
    expect(all.runs[0]).toEqual({
      dagId: 'billing',
      runId: 'scheduled__299',
      runType: 'scheduled',
      state: 'success',
      logicalDate: '2026-10-27T00:00:00+00:00',
      startDate: '2026-10-28T00:00:00+00:00',
      endDate: '2026-10-29T00:00:00+00:00',
    });
    expect(ids(await list({ limit: 300 }))).toEqual(Array.from({ length: 300 }, (_, at) => String(299 - at)));
  });

  test('are chosen by DAG, state and start', async () => {
    const list = await backedUp();
    expect(ids(await list({ dags: ['e*'], states: ['failed', 'running'] }))).toEqual(['290', '280', '270']);
    expect(await list({ excludeDags: ['e*'] })).toMatchObject({ matching: 150, states: { success: 150 } });
    const start = Date.UTC(2026, 0, 299);
    const late = await list({ since: Date.now() - start - 1000, limit: 10 });
    // The one that had not ended belongs to every part of a backup.
    expect(ids(late)).toEqual(['299', '298', '4']);
  });

  test('are asked for of a backup that has none', async () => {
    world = await startRestWorld('3.2.1');
    await world.backUp({ tables: ['variable'] });
    await expect(listRuns(world.ctx, { backup: 'latest', limit: 1 })).rejects.toMatchObject({
      kind: 'usage',
    });
  });
});
