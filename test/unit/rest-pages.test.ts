import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openClient, type RestClient } from '../../src/rest/client.ts';
import { createHttpTransport } from '../../src/rest/http.ts';
import { allRows, type Listing, pages, type Row } from '../../src/rest/pages.ts';
import type { Transport } from '../../src/rest/transport.ts';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';

const LISTING: Listing = { path: '/variables', rows: 'variables', key: ['key'], orderBy: 'id' };

const variables = (count: number, from = 1): Record<string, unknown>[] =>
  Array.from({ length: count }, (_, at) => ({ id: from + at, key: `v${from + at}`, value: 'x' }));

let fake: FakeAirflowApi;
let client: RestClient;

async function start(pageCap = 100, limits: Partial<Transport['limits']> = {}): Promise<void> {
  fake = await startFakeAirflowApi({ version: '3.0.6', pageCap });
  const transport = await createHttpTransport({
    url: new URL(fake.url),
    credentials: { kind: 'password', ...FAKE_USER },
  });
  client = await openClient({
    transport: { ...transport, limits: { ...transport.limits, ...limits } },
    retry: { attempts: 3, baseDelay: 1, maxDelay: 2, window: 10_000 },
  });
}

afterEach(async () => {
  client.close();
  await fake.close();
});

const keys = (rows: readonly Row[]): unknown[] => rows.map(({ key }) => key);
const pageCalls = (): FakeAirflowApi['calls'] => fake.calls.filter(({ path }) => path.endsWith('/variables'));

describe('a list that stays as it is', () => {
  test.each([0, 1, 99, 100, 101, 199, 250, 1000])('of %d rows comes whole, each once', async (count) => {
    await start();
    fake.rows.variables.push(...variables(count));
    expect(keys(await allRows(client, LISTING))).toEqual(keys(variables(count)));
  });

  test('where the server gives less than is asked for', async () => {
    await start(7);
    fake.rows.variables.push(...variables(50));
    expect(keys(await allRows(client, LISTING))).toEqual(keys(variables(50)));
  });

  test('is asked for in its order, in pages of 100', async () => {
    await start();
    fake.rows.variables.push(...variables(250));
    await allRows(client, LISTING);
    expect(
      pageCalls().map(({ query }) => [query.get('order_by'), query.get('limit'), query.get('offset')]),
    ).toEqual([
      ['id', '100', '0'],
      ['id', '100', '99'],
      ['id', '100', '198'],
    ]);
  });
});

describe('a list that changes meanwhile', () => {
  beforeEach(() => start(10));
  /** Does something before the page that begins at this offset. */
  const before = (offset: number, change: () => void): void => {
    let done = false;
    fake.onCall = ({ path, query }) => {
      if (done || !path.endsWith('/variables') || Number(query.get('offset')) < offset) return;
      done = true;
      change();
    };
  };

  test('rows that come in are at its end', async () => {
    fake.rows.variables.push(...variables(35));
    before(18, () => fake.rows.variables.push(...variables(8, 36)));
    expect(keys(await allRows(client, LISTING))).toEqual(keys(variables(43)));
  });

  test.each([1, 5, 9, 15])('%d rows that are deleted before the page take none along', async (count) => {
    fake.rows.variables.push(...variables(60));
    before(27, () => fake.rows.variables.splice(0, count));
    expect(keys(await allRows(client, LISTING))).toEqual(keys(variables(60)));
  });

  test('the last row of a page is deleted', async () => {
    fake.rows.variables.push(...variables(40));
    before(9, () => fake.rows.variables.splice(9, 1));
    expect(keys(await allRows(client, LISTING))).toEqual(keys(variables(40)));
  });

  test('everything is deleted', async () => {
    fake.rows.variables.push(...variables(40));
    before(18, () => fake.rows.variables.splice(0));
    expect(await allRows(client, LISTING)).toHaveLength(19);
  });

  test('a server that gives no more rows than it counts is not believed', async () => {
    fake.rows.variables.push(...variables(20));
    const whole = fake.rows.variables.slice.bind(fake.rows.variables);
    // As when the rows of a page are filtered by rights, and the total is not.
    fake.rows.variables.slice = (from, to) => whole(from, Math.min(to ?? 0, 15));
    await expect(allRows(client, LISTING)).rejects.toMatchObject({ code: 'list-changed' });
  });
});

describe('answers that are too long', () => {
  test('are asked for in smaller pages', async () => {
    await start(100, { answerBytes: 20_000 });
    const wide = variables(60).map((row) => ({ ...row, value: 'w'.repeat(2_000) }));
    fake.rows.variables.push(
      ...variables(50),
      ...wide.map((row, at) => ({ ...row, id: 51 + at, key: `v${51 + at}` })),
    );
    // What a way with a limit does: more than it lets through is an error without a word.
    const refused: number[] = [];
    fake.onCall = ({ path, query }) => {
      if (!path.endsWith('/variables')) return;
      const [from, limit] = [Number(query.get('offset')), Number(query.get('limit'))];
      const size = JSON.stringify(fake.rows.variables.slice(from, from + limit)).length;
      if (size <= 20_000) return;
      refused.push(limit);
      fake.faults.push({ path: '/variables', kind: { status: 500 } });
    };
    expect(keys(await allRows(client, LISTING))).toEqual(keys(variables(110)));
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(20);
  });

  test('one row that never comes is an error', async () => {
    await start(100, { answerBytes: 20_000 });
    fake.rows.variables.push(...variables(3));
    fake.faults.push({ path: '/variables', times: 999, kind: { status: 500 } });
    await expect(allRows(client, LISTING)).rejects.toMatchObject({ status: 500 });
    expect(pageCalls().map(({ query }) => query.get('limit'))).toContain('1');
  });
});

describe('a row that the server fails at', () => {
  beforeEach(() => start());

  test.each([[[0]], [[49]], [[149]], [[70, 71, 72]], [[0, 149]], [[98, 99, 100, 101]]])(
    'at %j is told and passed over, and all others come',
    async (broken) => {
      const rows = variables(150);
      fake.rows.variables.push(...rows.map((row, at) => ({ ...row, broken: broken.includes(at) })));
      const after: unknown[] = [];
      const onUnreadable = (row: Row | undefined, nth: number): void => void after.push([row?.key, nth]);
      expect(keys(await allRows(client, { ...LISTING, onUnreadable }))).toEqual(
        keys(rows.filter((_row, at) => !broken.includes(at))),
      );
      const before = (at: number): number => (broken.includes(at - 1) ? before(at - 1) : at - 1);
      expect(after).toEqual(broken.map((at) => [rows[before(at)]?.key, at - before(at)]));
      expect(pageCalls().length).toBeLessThan(40 + 12 * broken.length);
    },
  );

  test('is found while the network fails too', async () => {
    fake.rows.variables.push(...variables(20), { id: 21, key: 'v21', broken: true });
    // Between the answers that the row spoils come a gateway's, and the last try but for this one is a throttled one.
    fake.onCall = () => {
      const status = { 2: 503, 5: 429 }[pageCalls().length];
      if (status !== undefined) fake.faults.push({ path: '/variables', kind: { status } });
    };
    const told: unknown[] = [];
    const onUnreadable = (row: Row | undefined): void => void told.push(row?.key);
    expect(await allRows(client, { ...LISTING, onUnreadable })).toHaveLength(20);
    expect(told).toEqual(['v20']);
  });

  test('is an error where nobody wants to know of it', async () => {
    fake.rows.variables.push(...variables(5), { id: 6, key: 'v6', broken: true });
    await expect(allRows(client, LISTING)).rejects.toThrow(/fails at one row of \/variables/);
  });

  test('is not what a server is taken for that fails at everything for a while', async () => {
    fake.rows.variables.push(...variables(150));
    fake.faults.push({ path: '/variables', times: 16, kind: { status: 500 } });
    const told: unknown[] = [];
    const listing = { ...LISTING, onUnreadable: (row: Row | undefined) => void told.push(row) };
    expect(keys(await allRows(client, listing))).toEqual(keys(variables(150)));
    expect(told).toEqual([]);
  });

  test('nor one that fails at everything for good', async () => {
    fake.rows.variables.push(...variables(150));
    fake.faults.push({ path: '/variables', times: 9999, kind: { status: 500 } });
    const listing = { ...LISTING, onUnreadable: () => undefined };
    await expect(allRows(client, listing)).rejects.toMatchObject({ status: 500 });
  });
});

test('a list is read as it is used: a caller who stops asks for no more', async () => {
  await start();
  fake.rows.variables.push(...variables(500));
  for await (const { rows, total } of pages(client, LISTING)) {
    expect([rows.length, total]).toEqual([100, 500]);
    break;
  }
  expect(pageCalls()).toHaveLength(1);
});

test('an answer that is no list is told as such', async () => {
  await start();
  fake.faults.push({ path: '/variables', kind: { status: 200, body: { items: [] } } });
  await expect(allRows(client, LISTING)).rejects.toMatchObject({ code: 'not-airflow' });
});
