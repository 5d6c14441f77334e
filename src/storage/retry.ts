import { LifeboatError, type LifeboatErrorOptions, toError } from '../errors.ts';
import { retrying as retryingWith, type RetryPolicy } from '../retry.ts';

/** A failure that the same request may not meet again: 5xx, throttling, a lost connection, a timeout. */
export class TransientStorageError extends LifeboatError {
  constructor(message: string, options: LifeboatErrorOptions = {}) {
    super('failed', message, options);
    this.name = 'TransientStorageError';
  }
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
export function retrying<T>(
  attempt: (number: number) => Promise<T>,
  policy: RetryPolicy,
  options: RetryOptions = {},
): Promise<T> {
  return retryingWith(attempt, {
    ...options,
    policy,
    again: (thrown) => (thrown instanceof TransientStorageError ? 0 : undefined),
    interruption: (signal) => toError(signal.reason),
  });
}
