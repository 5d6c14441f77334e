/** Unused allowance of so long may be caught up with: else every pause of a consumer would be lost for good. */
const BURST_MS = 100;

/** A rate that any number of readers share. */
export interface Throttle {
  /** Counts bytes that were read; milliseconds to wait before more are. */
  spend(bytes: number): number;
  /** Waits until everything that was read so far is paid for. Rejects with the signal's reason. */
  settle(signal: AbortSignal): Promise<void>;
  /** Calls back after that time; returns how to call it off. */
  after(ms: number, then: () => void): () => void;
}

export interface ThrottleOptions {
  readonly bytesPerSecond: number;
  readonly now: () => Date;
  readonly after?: Throttle['after'];
}

/**
 * A token bucket that begins empty, kept as the moment at which all that was read is paid for: whatever readers do, n
 * bytes take at least n / rate. A reader may overdraw it by what it has just read, and then waits.
 */
export function createThrottle({ bytesPerSecond, now, after = afterTime }: ThrottleOptions): Throttle {
  let last = now().getTime();
  let paid = last;
  const look = (): number => {
    const at = now().getTime();
    // A clock that was set back must not make anybody wait for it to catch up.
    if (at < last) paid -= last - at;
    last = at;
    return at;
  };
  const wait = (at: number): number => Math.max(0, paid - at);
  return {
    spend: (bytes) => {
      const at = look();
      paid = Math.max(paid, at - BURST_MS) + (bytes / bytesPerSecond) * 1000;
      return wait(at);
    },
    settle: async (signal) => {
      for (let ms = wait(look()); ms > 0; ms = wait(look())) {
        signal.throwIfAborted();
        await new Promise<void>((resolve) => {
          const callOff = after(Math.ceil(ms), done);
          signal.addEventListener('abort', done, { once: true });
          function done(): void {
            callOff();
            signal.removeEventListener('abort', done);
            resolve();
          }
        });
      }
      signal.throwIfAborted();
    },
    after,
  };
}

function afterTime(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms);
  return () => {
    clearTimeout(timer);
  };
}
