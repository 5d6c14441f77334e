import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createPace } from '../../src/rest/pace.ts';

test('no more at once than are allowed, in the order in which they came', async () => {
  const pace = createPace({ concurrent: 3 });
  let running = 0;
  let most = 0;
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 12 }, (_, at) =>
      pace.run(async () => {
        order.push(at);
        running += 1;
        most = Math.max(most, running);
        await sleep(5);
        running -= 1;
      }),
    ),
  );
  expect({ most, order }).toEqual({ most: 3, order: Array.from({ length: 12 }, (_, at) => at) });
});

test('starts lie apart', async () => {
  const pace = createPace({ concurrent: 10, perSecond: 50 });
  const starts: number[] = [];
  await Promise.all(
    Array.from({ length: 6 }, () => pace.run(async () => void starts.push(performance.now()))),
  );
  expect((starts.at(-1) ?? 0) - (starts[0] ?? 0)).toBeGreaterThanOrEqual(90);
});

test('one that fails gives its place on, and one that is aborted while it waits takes none', async () => {
  const pace = createPace({ concurrent: 1 });
  await expect(pace.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  const controller = new AbortController();
  const first = pace.run(() => sleep(30));
  const waiting = pace.run(() => Promise.resolve('ran'), controller.signal);
  const after = pace.run(() => Promise.resolve('ran'));
  controller.abort(new Error('stop'));
  await expect(waiting).rejects.toMatchObject({ kind: 'interrupted' });
  await first;
  expect(await after).toBe('ran');
});
