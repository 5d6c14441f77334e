import { describe, expect, test } from 'vitest';
import type { RetryPolicy } from '../../src/retry.ts';
import { retrying, TransientStorageError } from '../../src/storage/retry.ts';

const POLICY: RetryPolicy = { attempts: 4, baseDelay: 10, maxDelay: 25, window: 10_000 };
const random = (): number => 0;

describe('retrying', () => {
  test('repeats transient failures until one attempt succeeds', async () => {
    const seen: number[] = [];
    const result = await retrying(
      async (number) => {
        seen.push(number);
        if (number < 3) throw new TransientStorageError('busy');
        return 'done';
      },
      POLICY,
      { random },
    );
    expect(result).toBe('done');
    expect(seen).toEqual([1, 2, 3]);
  });

  test.each([
    ['the attempts are used up', POLICY, 4],
    ['the window is over', { ...POLICY, window: 0 }, 1],
  ])('gives up with the last error when %s', async (_when, policy, expected) => {
    let calls = 0;
    const work = retrying(
      async (number) => {
        calls = number;
        throw new TransientStorageError(`busy ${number}`);
      },
      policy,
      { random: () => 0.5 },
    );
    await expect(work).rejects.toThrow(`busy ${expected}`);
    expect(calls).toBe(expected);
  });

  test('does not repeat another error', async () => {
    let calls = 0;
    const work = retrying(async () => {
      calls += 1;
      throw new Error('wrong');
    }, POLICY);
    await expect(work).rejects.toThrow('wrong');
    expect(calls).toBe(1);
  });

  test('an abort ends the pause with its reason', async () => {
    const controller = new AbortController();
    const slow = { ...POLICY, baseDelay: 60_000, maxDelay: 60_000, window: 120_000 };
    const work = retrying(
      async () => {
        setTimeout(() => {
          controller.abort(new Error('the reason'));
        }, 10);
        throw new TransientStorageError('busy');
      },
      slow,
      { signal: controller.signal, random: () => 1 },
    );
    await expect(work).rejects.toThrow('the reason');
  });
});
