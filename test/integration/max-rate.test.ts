import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { expect, test } from 'vitest';
import { openClient } from '../../src/db/connect.ts';
import { copyOut } from '../../src/db/copy-out.ts';
import { createThrottle } from '../../src/db/throttle.ts';
import { readBackend, watchStall } from '../../src/db/watchdog.ts';
import type { LifeboatError } from '../../src/errors.ts';
import type { Manifest } from '../../src/engine/manifest.ts';
import { createDatabase } from '../helpers/databases.ts';
import { growLog } from '../fault/world.ts';
import { backUp, engine, failureOf, storageContent, targetOf } from './engine.ts';

const SECONDS = 1.5;

function contentOf(manifest: Manifest): unknown {
  return manifest.tables.map(({ name, rows, parts }) => {
    return { name, rows, parts: parts.map((part) => ({ rows: part.rows, sha256: part.sha256 })) };
  });
}

test('a backup with a rate takes its time over all connections together, and is the same backup', async () => {
  const source = await createDatabase();
  await growLog(await source.client(), 10_000);
  const ctx = engine();
  const { manifest } = await backUp(ctx, source);
  const raw = ctx.events.reduce((sum, one) => sum + (one.event === 'table' ? one.bytes : 0), 0);
  expect(raw).toBeGreaterThan(2_000_000);

  const maxRate = Math.floor(raw / SECONDS);
  // The watchdog looks thirty times in that time.
  const slow = { ...engine(), stallMs: 50 };
  const started = performance.now();
  const result = await backUp(slow, source, { maxRate, jobs: 2 });
  const seconds = (performance.now() - started) / 1000;
  expect(seconds).toBeGreaterThanOrEqual(SECONDS);
  expect(seconds).toBeLessThan(SECONDS * 6);
  expect(contentOf(result.manifest)).toEqual(contentOf(manifest));
  expect(result.maxRate).toBe(maxRate);
  expect(slow.events).toContainEqual(
    expect.objectContaining({ event: 'plan', plan: expect.objectContaining({ maxRate }) as unknown }),
  );
});

test('what arrives in one piece takes its time too', async () => {
  const source = await createDatabase();
  const ctx = engine();
  await backUp(ctx, source, { tables: ['variable'] });
  const raw = ctx.events.reduce((sum, one) => sum + (one.event === 'table' ? one.bytes : 0), 0);
  expect(raw).toBeLessThan(30_000);
  const started = performance.now();
  await backUp(ctx, source, { tables: ['variable'], maxRate: raw / 3, jobs: 1 });
  expect(performance.now() - started).toBeGreaterThanOrEqual(3000);
});

test('it can be stopped while it waits', async () => {
  const source = await createDatabase();
  const stop = new AbortController();
  const ctx = { ...engine(), signal: stop.signal };
  const working = failureOf(backUp(ctx, source, { maxRate: 1000 }));
  await sleep(700);
  const stopped = performance.now();
  stop.abort();
  expect((await working).kind).toBe('interrupted');
  expect(performance.now() - stopped).toBeLessThan(3000);
  expect((await storageContent(ctx.storage)).size).toBe(0);
});

test('the server itself waits, and nobody takes that for a dead connection', async () => {
  const source = await createDatabase({ from: 'empty' });
  const target = targetOf(source);
  const open = await openClient(target, { applicationName: 'slow' });
  try {
    await open.client.query('BEGIN');
    const backend = await readBackend(open.client);
    const told: LifeboatError[] = [];
    const watch = watchStall(open.client, target, {
      backend,
      stallMs: 100,
      onStalled: (error) => told.push(error),
    });
    const read = await readFor(open.client, 1500, async () => {
      const { rows } = await (
        await source.client()
      ).query<{ wait: string }>('SELECT wait_event AS wait FROM pg_stat_activity WHERE pid = $1', [
        backend.pid,
      ]);
      expect(rows[0]?.wait).toBe('ClientWrite');
    });
    watch.stop();
    expect(told).toEqual([]);
    // What is read beyond the rate is one read of the socket.
    expect(read).toBeLessThan(150_000 + 2 * 65_536);
  } finally {
    await open.close();
  }
});

/** Reads hundreds of megabytes at 100 kB/s for a while; @returns bytes that came off the socket */
async function readFor(client: Client, ms: number, look: () => Promise<void>): Promise<number> {
  const throttle = createThrottle({ bytesPerSecond: 100_000, now: () => new Date() });
  const stop = new AbortController();
  const socket = client.connection.stream as unknown as { readonly bytesRead: number };
  const before = socket.bytesRead;
  const sql = `COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000)) TO STDOUT`;
  const reading = (async () => {
    for await (const block of copyOut(client, sql, stop.signal, throttle).blocks) expect(block).toBeDefined();
  })().catch(() => undefined);
  await sleep(ms);
  await look();
  const read = socket.bytesRead - before;
  stop.abort();
  await reading;
  return read;
}
