import { expect, test } from 'vitest';
import { createThrottle } from '../../src/db/throttle.ts';
import type { Throttle } from '../../src/db/throttle.ts';

/** A throttle of 1 byte a millisecond on a clock that waits for nobody. */
function fake(): { readonly throttle: Throttle; readonly clock: { ms: number } } {
  const clock = { ms: 1_000_000 };
  const throttle = createThrottle({
    bytesPerSecond: 1000,
    now: () => new Date(clock.ms),
    after: (ms, then) => {
      let off = false;
      queueMicrotask(() => {
        clock.ms += ms;
        if (!off) then();
      });
      return () => {
        off = true;
      };
    },
  });
  return { throttle, clock };
}

test('it begins empty: the first bytes are paid for too', () => {
  expect(fake().throttle.spend(500)).toBe(500);
});

test('readers share it: what one reads the other waits for', () => {
  const { throttle } = fake();
  throttle.spend(500);
  expect(throttle.spend(200)).toBe(700);
});

test('a pause is caught up with for a moment and no longer', () => {
  const { throttle, clock } = fake();
  clock.ms += 60_000;
  expect(throttle.spend(100)).toBe(0);
  expect(throttle.spend(100)).toBe(100);
});

test('however it is read, n bytes take n / rate', async () => {
  const { throttle, clock } = fake();
  const began = clock.ms;
  for (const bytes of [1, 1000, 3, 70, 926]) clock.ms += throttle.spend(bytes) / 3;
  await throttle.settle(new AbortController().signal);
  expect(clock.ms - began).toBeGreaterThanOrEqual(2000);
  expect(clock.ms - began).toBeLessThan(2010);
});

test('a clock that is set back makes nobody wait for it', () => {
  const { throttle, clock } = fake();
  throttle.spend(500);
  clock.ms -= 3_600_000;
  expect(throttle.spend(100)).toBe(600);
});

test('whoever waits for the end can be stopped', async () => {
  const throttle = createThrottle({ bytesPerSecond: 1, now: () => new Date() });
  throttle.spend(1000);
  const stop = new AbortController();
  setTimeout(() => {
    stop.abort(new Error('enough'));
  }, 20);
  await expect(throttle.settle(stop.signal)).rejects.toThrow('enough');
});
