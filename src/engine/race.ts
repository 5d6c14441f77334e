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

/**
 * Does the items one after another. A task that calls `free` lets the next one begin while it ends; two are under way at
 * most. The first failure is thrown, after what was under way has ended.
 */
export async function inStep<T>(
  items: Iterable<T>,
  task: (item: T, free: () => void) => Promise<void>,
): Promise<void> {
  let ending: Promise<void> = Promise.resolve();
  let current = ending;
  try {
    for (const item of items) {
      let free = (): void => undefined;
      const freed = new Promise<void>((resolve) => {
        free = resolve;
      });
      current = task(item, free);
      // A failure while nobody waits for it is heard below; unheard until then, it would end the process.
      current.catch(() => undefined);
      await Promise.race([freed, current]);
      await ending;
      ending = current;
    }
    await ending;
  } finally {
    await Promise.allSettled([ending, current]);
  }
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
