import { setTimeout as sleep } from 'node:timers/promises';
import { interruption, RestError } from './errors.ts';

export interface RestRetryPolicy {
  readonly attempts: number;
  /** Upper bound of the first pause in milliseconds; it doubles with every attempt up to maxDelay. */
  readonly baseDelay: number;
  readonly maxDelay: number;
  /** No attempt starts later than this many milliseconds after the first. */
  readonly window: number;
}

/** Before the server has answered once: a wrong host must be an error within 30 s. */
export const RETRY_FIRST: RestRetryPolicy = { attempts: 3, baseDelay: 300, maxDelay: 2_000, window: 15_000 };
/** It exists: an API server that restarts takes a minute, and a backup of an hour should outlast it. */
export const RETRY: RestRetryPolicy = { attempts: 10, baseDelay: 300, maxDelay: 15_000, window: 120_000 };

export interface RetryOptions {
  readonly policy: RestRetryPolicy;
  /** Sending twice does no harm. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Between 0 and 1; tests pass a constant. */
  readonly random?: () => number;
  /** Told before each pause. */
  readonly onRetry?: (error: RestError, pauseMs: number) => void;
}

/** Makes one try after the other until one ends in something else than a transient error. */
export async function retrying<T>(
  attempt: (number: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const { policy, signal, random = Math.random } = options;
  const started = performance.now();
  for (let number = 1; ; number++) {
    if (signal?.aborted === true) throw interruption(signal);
    try {
      return await attempt(number);
    } catch (thrown) {
      if (!(thrown instanceof RestError) || !mayRepeat(thrown, options.repeatable)) throw thrown;
      const pause = pauseOf(thrown, policy.baseDelay * 2 ** (number - 1), policy.maxDelay, random);
      const late = performance.now() - started + pause > policy.window;
      if (number >= policy.attempts || late) throw thrown;
      options.onRetry?.(thrown, pause);
      await pauseFor(pause, signal);
    }
  }
}

/**
 * What Airflow may have done already is not asked for again: a second POST to dagRuns is a second run. Of a busy server
 * only 429 says that nothing was done; a gateway's 503 can come after the request went through.
 */
function mayRepeat(error: RestError, repeatable: boolean): boolean {
  if (!error.transient) return false;
  return repeatable || error.code === 'unreachable' || error.code === 'throttled';
}

/** Full jitter, so that clients that were refused together do not come back together; never before the server's wish. */
function pauseOf(error: RestError, bound: number, maxDelay: number, random: () => number): number {
  const own = random() * Math.min(maxDelay, bound);
  return error.retryAfterMs === undefined ? own : Math.max(own, error.retryAfterMs);
}

async function pauseFor(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (thrown) {
    throw signal?.aborted === true ? interruption(signal) : thrown;
  }
}
