import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError, type LifeboatErrorOptions, toError } from '../errors.ts';

/** A failure that the same request may not meet again: 5xx, throttling, a lost connection, a timeout. */
export class TransientStorageError extends LifeboatError {
  constructor(message: string, options: LifeboatErrorOptions = {}) {
    super('failed', message, options);
    this.name = 'TransientStorageError';
  }
}

export interface RetryPolicy {
  readonly attempts: number;
  /** Upper bound of the first pause in milliseconds; it doubles with every attempt up to maxDelay. */
  readonly baseDelay: number;
  readonly maxDelay: number;
  /** No attempt starts later than this many milliseconds after the first: a dead endpoint must become an error soon. */
  readonly window: number;
}

export interface RetryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Between 0 and 1; tests pass a constant. */
  readonly random?: () => number;
}

/**
 * Runs the attempt again after a TransientStorageError. Only for what can be sent again: a request without a body or
 * with one held in memory, the start of a read, a page of a listing. Never for a body that is consumed as it is sent.
 */
export async function retrying<T>(
  attempt: (number: number) => Promise<T>,
  policy: RetryPolicy,
  { signal, random = Math.random }: RetryOptions = {},
): Promise<T> {
  const started = performance.now();
  for (let number = 1; ; number++) {
    signal?.throwIfAborted();
    try {
      return await attempt(number);
    } catch (thrown) {
      // Full jitter: clients that were throttled together must not come back together.
      const pause = random() * Math.min(policy.maxDelay, policy.baseDelay * 2 ** (number - 1));
      const late = performance.now() - started + pause > policy.window;
      if (!(thrown instanceof TransientStorageError) || number >= policy.attempts || late) throw thrown;
      await pauseFor(pause, signal);
    }
  }
}

async function pauseFor(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (thrown) {
    // node:timers rejects with an AbortError of its own; the caller gave a reason.
    throw signal?.aborted === true ? toError(signal.reason) : thrown;
  }
}
