import { expect, test } from 'vitest';
import { diff } from '../../src/engine/diff/diff.ts';
import { createDatabase } from '../helpers/databases.ts';
import { backUp, engine, targetOf } from './engine.ts';

const ROWS = 300_000;
/** Of the process, above what it had before: the two spills of a table, a partition of each, and what waits for the collector. */
const MOST_BYTES = 120_000_000;

test('the size of a table does not show in the memory', { timeout: 300_000 }, async () => {
  const source = await createDatabase({ from: 'fresh' });
  const client = await source.client();
  await client.query(
    `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, state, clear_number)
       SELECT 'dag ' || n % 50, 'run ' || n, timestamptz '2020-01-01' + n * interval '1 s', 'manual', 'success', 0 FROM generate_series(1, 3000) n;
     INSERT INTO task_instance (dag_id, run_id, task_id, map_index, pool, pool_slots, hostname)
       SELECT 'dag ' || n % 50, 'run ' || n, 'task', m, 'default_pool', 1, repeat('h', 400) FROM generate_series(1, 3000) n, generate_series(1, ${String(ROWS / 3000)}) m`,
  );
  const ctx = engine();
  await backUp(ctx, source);
  await client.query(
    `DELETE FROM task_instance WHERE map_index = 1 AND run_id LIKE 'run 1%';
     UPDATE task_instance SET state = 'failed' WHERE map_index = 2;
     INSERT INTO task_instance (dag_id, run_id, task_id, map_index, pool, pool_slots) SELECT 'dag ' || n % 50, 'run ' || n, 'new', -1, 'default_pool', 1 FROM generate_series(1, 3000) n`,
  );
  global.gc?.();
  const before = process.memoryUsage().rss;
  let most = before;
  const report = (): void => {
    most = Math.max(most, process.memoryUsage().rss);
  };
  const timer = setInterval(report, 20);
  const result = await diff(
    { ...ctx, report },
    { backup: 'latest', other: { environment: targetOf(source) }, fernetKeys: [] },
  );
  clearInterval(timer);
  expect(result.tables.find((one) => one.table === 'task_instance')).toMatchObject({
    rows: ROWS,
    otherRows: ROWS - 1111 + 3000,
    missing: 1111,
    added: 3000,
    changed: 3000,
    notComparable: 0,
  });
  console.info(
    `diff of ${String(ROWS)} rows: ${result.seconds.toFixed(1)} s, ${String(Math.round((most - before) / 1e6))} MB more`,
  );
  expect(most - before).toBeLessThan(MOST_BYTES);
});
