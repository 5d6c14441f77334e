import type pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import type { RestoreRequest } from '../../src/engine/api.ts';
import { databaseSource } from '../../src/engine/manifest.ts';
import { createDatabase } from '../helpers/databases.ts';
import type { TestDatabase } from '../helpers/databases.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import { backUp, engine, restoreInto, useWay } from './engine.ts';
import type { Engine, Loaded } from './engine.ts';

/** Unfinished runs by DAG, each with one task in that state; null: the run waits, and has none yet. */
const WORK = {
  backup_metadata: 'running',
  restore_metadata: 'running',
  cleanup_metadata: null,
  prune_metadata: 'up_for_retry',
  by_hand: 'queued',
  billing: 'running',
} as const;
const TAGGED: readonly string[] = [
  'backup_metadata',
  'restore_metadata',
  'cleanup_metadata',
  'prune_metadata',
];
const MADE_IT = { dagId: 'backup_metadata', runId: 'run', taskId: 'task' };

async function addDags(
  client: pg.Client,
  dagIds: readonly string[],
  tagged: readonly string[],
): Promise<void> {
  await insertRows(
    client,
    'dag',
    dagIds.map((dag_id) => ({ dag_id, is_active: true, is_paused: false })),
  );
  await insertRows(
    client,
    'dag_tag',
    tagged.map((dag_id) => ({ name: 'lifeboat', dag_id })),
  );
}

async function addRun(
  client: pg.Client,
  dag_id: string,
  run_id: string,
  state: string | null,
): Promise<void> {
  const execution_date = run_id === 'run' ? '2026-11-01T00:00:00Z' : '2026-11-02T00:00:00Z';
  await insertRows(client, 'dag_run', [
    { dag_id, run_id, execution_date, run_type: 'manual', state: state === null ? 'queued' : 'running' },
  ]);
  if (state === null) return;
  const task = { dag_id, run_id, map_index: -1, pool: 'default_pool', pool_slots: 1 };
  await insertRows(client, 'task_instance', [
    { ...task, task_id: 'task', state, start_date: execution_date },
    { ...task, task_id: 'later', state: null },
  ]);
}

/** State of the run, of its tasks, and the note on it. */
async function runsOf(client: pg.Client): Promise<Readonly<Record<string, readonly unknown[]>>> {
  const { rows } = await client.query<{
    dag_id: string;
    state: string;
    tasks: readonly string[];
    note: string;
  }>(
    `SELECT r.dag_id, r.state, n.content AS note,
            ARRAY(SELECT coalesce(t.state, 'none') FROM task_instance t WHERE t.dag_id = r.dag_id AND t.run_id = r.run_id ORDER BY t.task_id DESC) AS tasks
       FROM dag_run r LEFT JOIN dag_run_note n ON n.dag_run_id = r.id WHERE r.run_id = 'run' ORDER BY 1`,
  );
  const note = (text: string | null): string =>
    /backup or restore does not go on .* was \w+/.exec(text ?? '')?.[0].replace(/.* was /, '') ?? '';
  return Object.fromEntries(rows.map((row) => [row.dag_id, [row.state, row.tasks, note(row.note)]]));
}

describe.each([
  ['2.8.1', 'in-place'],
  ['2.11.0', 'in-place'],
  ['2.8.1', 'shadow'],
  ['2.11.0', 'shadow'],
] as const)('Airflow %s, %s: unfinished runs that carry a backup or restore', (version, via) => {
  useWay(via);
  let ctx: Engine;
  beforeAll(async () => {
    const source = await createDatabase({ version });
    const client = await source.client();
    await addDags(client, Object.keys(WORK), TAGGED);
    for (const [dag, state] of Object.entries(WORK)) await addRun(client, dag, 'run', state);
    ctx = engine();
    const { manifest } = await backUp(ctx, source, { carriedBy: MADE_IT });
    expect(databaseSource(manifest).carryingDags).toEqual([...TAGGED].sort());
  });

  async function restored(
    request: Partial<RestoreRequest> = {},
    prepare: (client: pg.Client, target: TestDatabase) => Promise<void> = () => Promise.resolve(),
  ): Promise<{ client: pg.Client; loaded: Loaded }> {
    const target = await createDatabase({ version, from: 'fresh' });
    const client = await target.client();
    await prepare(client, target);
    const { loaded } = await restoreInto(ctx, target, request);
    return { client, loaded };
  }

  test('end as failed with a note, and the one that made the backup is a success', async () => {
    const before = await restored({}, (client) => addDags(client, ['by_hand'], ['by_hand']));
    const failed = (state: string): readonly unknown[] => ['failed', ['failed', 'failed'], state];
    expect(await runsOf(before.client)).toEqual({
      backup_metadata: ['success', ['success', 'none'], ''],
      restore_metadata: failed('running'),
      cleanup_metadata: ['failed', [], 'queued'],
      prune_metadata: failed('running'),
      // Its tag is the target's.
      by_hand: failed('running'),
      billing: ['running', ['none', 'none'], ''],
    });
    expect(before.loaded.inFlight).toMatchObject({
      policy: 'resume',
      failedRuns: expect.any(Number) as number,
    });
    expect(before.loaded.inFlight?.failedRuns).toBeGreaterThanOrEqual(4);
    const { client } = before;
    const { rows } = await client.query<{ content: string }>(
      `SELECT content FROM task_instance_note WHERE dag_id = 'prune_metadata' AND task_id = 'task'`,
    );
    expect(rows[0]?.content).toMatch(/does not go on after one; .* was up_for_retry\.$/);
  });

  test('under exclude they are left out, under fail they are failed', async () => {
    const left = await restored({ inFlight: 'exclude' });
    expect(Object.keys(await runsOf(left.client))).toEqual(['backup_metadata']);
    const ended = await runsOf((await restored({ inFlight: 'fail' })).client);
    expect(Object.values(ended).map(([state]) => state)).not.toContain('running');
    expect(ended.restore_metadata?.[0]).toBe('failed');
  });

  test('a run that a person keeps does not make its DAG one of them', async () => {
    const { client } = await restored({ keepRuns: [{ dagId: 'billing', runId: 'kept' }] }, (target) =>
      addRun(target, 'billing', 'kept', 'running'),
    );
    const found = await runsOf(client);
    expect(found.billing?.[0]).toBe('running');
    expect(found.restore_metadata?.[0]).toBe('failed');
  });

  test.runIf(via === 'in-place')('also where only their runs are restored', async () => {
    const { client, loaded } = await restored({ tables: ['dag_run'] });
    const found = await runsOf(client);
    expect(loaded.inFlight).toBeNull();
    expect([found.restore_metadata?.[0], found.cleanup_metadata?.[0], found.billing?.[0]]).toEqual([
      'failed',
      'failed',
      'running',
    ]);
  });
});
