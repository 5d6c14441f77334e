import { toError } from '../errors.ts';

/**
 * Runs all tasks side by side. The first failure aborts the others through their signal, and is the one that is thrown,
 * after all of them have ended: nothing goes on behind the caller's back.
 */
export async function raceAll(
  signal: AbortSignal,
  tasks: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const failures: unknown[] = [];
  await Promise.all(
    tasks.map(async (task) => {
      try {
        await task(both);
      } catch (error) {
        failures.push(error);
        stop.abort(error);
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
}

/** Resolves when `count` parties have arrived; rejects with the signal's reason when that will not happen any more. */
export function createMeeting(count: number): {
  arrive(): void;
  complete(signal: AbortSignal): Promise<void>;
} {
  let missing = count;
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
    if (count === 0) resolve();
  });
  return {
    arrive: () => {
      missing -= 1;
      if (missing === 0) open();
    },
    complete: async (signal) => {
      signal.throwIfAborted();
      let onAbort = (): void => undefined;
      const aborted = new Promise<never>((_resolve, reject) => {
        onAbort = () => {
          reject(toError(signal.reason));
        };
        signal.addEventListener('abort', onAbort, { once: true });
      });
      try {
        await Promise.race([opened, aborted]);
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    },
  };
}
