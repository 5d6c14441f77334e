import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { EngineContext } from '../../src/engine/api.ts';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import { LOCKS } from '../../src/engine/layout.ts';
import { prune } from '../../src/engine/prune.ts';
import { whileLocked } from '../../src/engine/rest-restore/lock.ts';
import { LifeboatError } from '../../src/errors.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';

const TARGET = 'airflow.example.com/prod';
const events: LifeboatEvent[] = [];

beforeEach(() => {
  events.length = 0;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
});
afterEach(() => vi.useRealTimers());

function context(storage: Storage, more: Partial<EngineContext> = {}): EngineContext {
  return {
    storage,
    report: (event) => events.push(event),
    signal: new AbortController().signal,
    now: () => new Date(),
    ...more,
  };
}

async function locksOf(storage: Storage): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list(LOCKS)) keys.push(key);
  return keys;
}

/** Work that lasts so long. */
const seconds = (count: number) => (): Promise<string> =>
  new Promise((resolve) => {
    setTimeout(resolve, count * 1000, 'done');
  });

/** The result or the error, once the clock has gone on for long enough. */
async function outcomes(...working: Promise<unknown>[]): Promise<unknown[]> {
  const settled = Promise.allSettled(working);
  await vi.advanceTimersByTimeAsync(200_000);
  return (await settled).map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as unknown)));
}

/** A lock that a killed process left. */
async function leaveOne(storage: Storage, holder = 'pid 1 on gone'): Promise<string> {
  const ended = whileLocked(context(storage, { origin: holder }), TARGET, () => new Promise(() => undefined));
  ended.catch(() => undefined);
  await vi.advanceTimersByTimeAsync(0);
  const [key = ''] = await locksOf(storage);
  // Its process is killed: what it wrote stays, and is written no more.
  vi.clearAllTimers();
  return key;
}

describe('one command at a time in an Airflow without a database', () => {
  test('the second gives way and does nothing, while the first goes on', async () => {
    const storage = createMemoryStorage();
    const first = whileLocked(context(storage, { origin: 'pid 7 on a' }), TARGET, seconds(60));
    await vi.advanceTimersByTimeAsync(12_000);
    const work = vi.fn(seconds(0));
    const [second, ended] = await outcomes(whileLocked(context(storage), TARGET, work), first);
    expect(second).toMatchObject({
      kind: 'locked',
      message: expect.stringContaining('pid 7 on a') as string,
    });
    expect(work).not.toHaveBeenCalled();
    expect(ended).toBe('done');
    expect(await locksOf(storage)).toEqual([]);
  });

  test('at most one of two that begin at once works', async () => {
    const storage = createMemoryStorage();
    const work = vi.fn(seconds(60));
    const all = await outcomes(...[1, 2].map(() => whileLocked(context(storage), TARGET, work)));
    expect(work.mock.calls.length).toBeLessThanOrEqual(1);
    expect(all.filter((one) => one instanceof LifeboatError && one.kind === 'locked').length).toBe(
      2 - work.mock.calls.length,
    );
    expect(await locksOf(storage)).toEqual([]);
  });

  test('another Airflow is no matter', async () => {
    const storage = createMemoryStorage();
    const names = [TARGET, `${TARGET}2`];
    const all = await outcomes(...names.map((name) => whileLocked(context(storage), name, seconds(60))));
    expect(all).toEqual(['done', 'done']);
  });

  test('a lock that nobody holds is watched, removed and told', async () => {
    const storage = createMemoryStorage();
    await leaveOne(storage);
    const begun = Date.now();
    let after = 0;
    const [end] = await outcomes(
      whileLocked(context(storage), TARGET, () => {
        after = Date.now() - begun;
        return Promise.resolve('done');
      }),
    );
    expect(end).toBe('done');
    expect(after).toBeGreaterThanOrEqual(20_000);
    expect(after).toBeLessThan(30_000);
    expect(JSON.stringify(events)).toContain('nobody holds any more: pid 1 on gone, since');
    expect(await locksOf(storage)).toEqual([]);
  });

  test('one that comes while a left lock is watched gives way', async () => {
    const storage = createMemoryStorage();
    await leaveOne(storage);
    const first = whileLocked(context(storage), TARGET, seconds(60));
    await vi.advanceTimersByTimeAsync(10_000);
    const [second, ended] = await outcomes(whileLocked(context(storage), TARGET, seconds(1)), first);
    expect(second).toMatchObject({ kind: 'locked' });
    expect(ended).toBe('done');
  });

  test.each(['fails', 'is interrupted'])('a command that %s leaves no lock', async (how) => {
    const storage = createMemoryStorage();
    const controller = new AbortController();
    const reason = new LifeboatError('interrupted', 'Interrupted by SIGINT.');
    const work = async ({ signal }: EngineContext): Promise<void> => {
      await seconds(1)();
      if (how === 'fails') throw reason;
      controller.abort(reason);
      signal.throwIfAborted();
    };
    const working = whileLocked(context(storage, { signal: controller.signal }), TARGET, work);
    expect(await outcomes(working)).toEqual([reason]);
    expect(await locksOf(storage)).toEqual([]);
  });

  test('a holder whose lock was removed, as after its machine slept, does not go on', async () => {
    const storage = createMemoryStorage();
    const steps: number[] = [];
    const working = whileLocked(context(storage), TARGET, async ({ signal }) => {
      for (let step = 0; step < 60; step++) {
        signal.throwIfAborted();
        steps.push(step);
        await seconds(1)();
      }
    });
    await vi.advanceTimersByTimeAsync(7000);
    await storage.remove(await locksOf(storage));
    expect(await outcomes(working)).toMatchObject([{ kind: 'locked' }]);
    expect(steps.length).toBeLessThan(15);
    expect(await locksOf(storage)).toEqual([]);
  });

  test('a storage that fails for a while does not end the work', async () => {
    const storage = createMemoryStorage();
    let broken = false;
    const fails = (): Promise<never> => Promise.reject(new Error('away'));
    const shaky: Storage = {
      ...storage,
      read: (...args) => (broken ? fails() : storage.read(...args)),
      write: (...args) => (broken ? fails() : storage.write(...args)),
    };
    const working = whileLocked(context(shaky), TARGET, seconds(40));
    await vi.advanceTimersByTimeAsync(1000);
    broken = true;
    await vi.advanceTimersByTimeAsync(14_000);
    broken = false;
    expect(await outcomes(working)).toEqual(['done']);
  });

  test('prune removes locks a day after they were left, and no others', async () => {
    const storage = createMemoryStorage();
    const key = await leaveOne(storage);
    const request = { minBackups: 1, dryRun: false, confirm: () => Promise.resolve(true) };
    const young = await prune(context(storage), request);
    expect(young.plan.leftovers).toEqual([]);
    expect(await locksOf(storage)).toEqual([key]);
    vi.setSystemTime(Date.now() + 25 * 60 * 60 * 1000);
    const old = await prune(context(storage), request);
    expect(old).toMatchObject({ plan: { leftovers: [key] }, removed: { leftovers: 1 } });
    expect(await locksOf(storage)).toEqual([]);
  });
});
