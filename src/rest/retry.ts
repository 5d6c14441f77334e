import { retrying as retryingWith, type RetryPolicy } from '../retry.ts';
import { interruption, RestError } from './errors.ts';

/** Before the server has answered once: a wrong host must be an error within 30 s. */
export const RETRY_FIRST: RetryPolicy = { attempts: 3, baseDelay: 300, maxDelay: 2_000, window: 15_000 };
/** It exists: an API server that restarts takes a minute, and a backup of an hour should outlast it. */
export const RETRY: RetryPolicy = { attempts: 10, baseDelay: 300, maxDelay: 15_000, window: 120_000 };

export interface RetryOptions {
  readonly policy: RetryPolicy;
  /** Sending twice does no harm. */
  readonly repeatable: boolean;
  /** Errors that are told at once, whatever they are. */
  readonly final?: (error: RestError) => boolean;
  readonly signal?: AbortSignal | undefined;
  /** Between 0 and 1; tests pass a constant. */
  readonly random?: () => number;
  /** Told before each pause. */
  readonly onRetry?: (error: RestError, pauseMs: number) => void;
}

/** Makes one try after the other until one ends in something else than a transient error. */
export function retrying<T>(
  attempt: (number: number) => Promise<T>,
  { repeatable, final = () => false, onRetry, ...options }: RetryOptions,
): Promise<T> {
  return retryingWith(attempt, {
    ...options,
    again: (thrown) =>
      thrown instanceof RestError && !final(thrown) && mayRepeat(thrown, repeatable)
        ? (thrown.retryAfterMs ?? 0)
        : undefined,
    interruption,
    onRetry: (thrown, pauseMs) => {
      if (thrown instanceof RestError) onRetry?.(thrown, pauseMs);
    },
  });
}

/**
 * What Airflow may have done already is not asked for again: a second POST to dagRuns is a second run. Of a busy server
 * only 429 says that nothing was done; a gateway's 503 can come after the request went through.
 */
function mayRepeat(error: RestError, repeatable: boolean): boolean {
  if (!error.transient) return false;
  return repeatable || error.code === 'unreachable' || error.code === 'throttled';
}

/**
 * For `final`: a server that answers 500 so often fails at this very thing, whatever else goes wrong between two of these
 * answers, and waiting for it uses up the tries.
 */
export function failing(times: number): (error: RestError) => boolean {
  let seen = 0;
  return ({ status }) => {
    if (status === 500) seen += 1;
    return seen >= times;
  };
}
