import { setTimeout as sleep } from 'node:timers/promises';

export interface RetryPolicy {
  readonly attempts: number;
  /** Upper bound of the first pause in milliseconds; it doubles with every attempt up to maxDelay. */
  readonly baseDelay: number;
  readonly maxDelay: number;
  /** No attempt starts later than this many milliseconds after the first: a dead endpoint must become an error soon. */
  readonly window: number;
}

export interface RetryOptions {
  readonly policy: RetryPolicy;
  /** Undefined: not again. Otherwise the shortest pause in milliseconds that the other side asked for, or 0. */
  readonly again: (thrown: unknown) => number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What an abort means here. */
  readonly interruption: (signal: AbortSignal) => Error;
  /** Between 0 and 1; tests pass a constant. */
  readonly random?: (() => number) | undefined;
  /** Told before each pause. */
  readonly onRetry?: (thrown: unknown, pauseMs: number) => void;
}

/** Makes one try after the other until one succeeds, or fails with what is not to be tried again. */
export async function retrying<T>(
  attempt: (number: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const { policy, signal, random = Math.random } = options;
  const started = performance.now();
  for (let number = 1; ; number++) {
    if (signal?.aborted === true) throw options.interruption(signal);
    try {
      return await attempt(number);
    } catch (thrown) {
      const least = options.again(thrown);
      if (least === undefined) throw thrown;
      // Full jitter: clients that were refused together must not come back together.
      const own = random() * Math.min(policy.maxDelay, policy.baseDelay * 2 ** (number - 1));
      const pause = Math.max(own, least);
      const late = performance.now() - started + pause > policy.window;
      if (number >= policy.attempts || late) throw thrown;
      options.onRetry?.(thrown, pause);
      await pauseFor(pause, signal, options.interruption);
    }
  }
}

/** An abort ends it at once, with its meaning: node:timers would reject with an AbortError of its own. */
export async function pauseFor(
  milliseconds: number,
  signal: AbortSignal | undefined,
  interruption: (signal: AbortSignal) => Error,
): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (thrown) {
    throw signal?.aborted === true ? interruption(signal) : thrown;
  }
}
