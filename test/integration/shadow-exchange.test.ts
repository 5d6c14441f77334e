import pg from 'pg';
import { afterEach, expect, test, vi } from 'vitest';
import { createDatabase } from '../helpers/databases.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import { backUp, engine, restoreInto, WAYS } from './engine.ts';
import { liveLife, RUN } from './live-life.ts';

/** What happens while the tables are locked, and just before. */

afterEach(() => {
  vi.restoreAllMocks();
});

const DATASETS = `SELECT e.source_run_id AS run, d.uri FROM dataset_event e JOIN dataset d ON d.id = e.dataset_id ORDER BY e.id`;

test('what the target registers in the last moment before the exchange is merged as if it had always been there', async () => {
  const source = await createDatabase();
  const from = await source.client();
  await from.query("DELETE FROM variable; INSERT INTO variable (key, val) VALUES ('one', 'b'), ('two', 'b')");
  const expected = (await from.query(DATASETS)).rows;
  expect(expected.length).toBeGreaterThan(0);
  const ctx = engine();
  await backUp(ctx, source);
  const uris = (await from.query<{ uri: string }>('SELECT uri FROM dataset ORDER BY id DESC')).rows;

  const results = [];
  for (const via of WAYS) {
    const target = await createDatabase({ from: 'fresh' });
    const [client, holder] = [await target.client(), await target.client()];
    // The same URIs under other ids, one of which the backup has for another dataset.
    const register = async (): Promise<void> => {
      await insertRows(
        client,
        'dataset',
        uris.map(({ uri }, at) => ({
          id: at + 1,
          uri,
          extra: '{}',
          created_at: '2026-01-01',
          updated_at: '2026-01-01',
          is_orphaned: false,
        })),
      );
      await client.query(
        "SELECT setval('dataset_id_seq', 100); INSERT INTO variable (key, val) VALUES ('one', 't')",
      );
    };
    let late: Promise<unknown> | undefined;
    if (via === 'shadow') {
      // A reader keeps the exchange waiting until all of this is there.
      await holder.query('BEGIN; SELECT FROM xcom LIMIT 1');
      const report: typeof ctx.report = (event) => {
        if (event.event === 'phase' && event.phase === 'finish') {
          late = register().then(() => holder.query('COMMIT'));
        }
      };
      results.push((await restoreInto({ ...ctx, report }, target, { via })).loaded);
    } else {
      await register();
      results.push((await restoreInto(ctx, target, { via })).loaded);
    }
    await late;
    expect(late !== undefined).toBe(via === 'shadow');
    expect((await client.query(DATASETS)).rows, via).toEqual(expected);
    expect((await client.query('SELECT key, val FROM variable ORDER BY 1')).rows).toEqual([
      { key: 'one', val: 't' },
      { key: 'two', val: 'b' },
    ]);
  }
  expect(results[1]?.variables).toEqual({ added: 1, replaced: 0, kept: 1, keptDifferent: ['one'] });
  expect(results[1]?.variables).toEqual(results[0]?.variables);
});

test('few messages go to the server while the tables are locked', async () => {
  const source = await createDatabase();
  const ctx = engine();
  await backUp(ctx, source);
  const target = await createDatabase({ from: 'fresh' });
  await liveLife(await target.client(), 0);
  const sent: string[] = [];
  const original = Reflect.get(pg.Client.prototype, 'query') as (...given: unknown[]) => unknown;
  vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function query(
    this: pg.Client,
    ...given: readonly unknown[]
  ) {
    const [first] = given;
    if (typeof first === 'string') sent.push(first);
    return Reflect.apply(original, this, given);
  });
  await restoreInto(ctx, target, { clean: true, via: 'shadow', keepRuns: [RUN] });
  const locked = sent.findLastIndex((sql) => sql.includes('IN ACCESS EXCLUSIVE MODE'));
  const committed = sent.indexOf('COMMIT', locked);
  expect(locked).toBeGreaterThan(0);
  // Each of them is a round trip that everybody waits for: 1 ms in a cloud.
  expect(sent.slice(locked, committed).length).toBeLessThan(35);
});
