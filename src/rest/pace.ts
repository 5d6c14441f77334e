import { pauseFor } from '../retry.ts';
import { interruption } from './errors.ts';
import type { TransportLimits } from './transport.ts';

/** Lets requests begin only as many at once, and as many a second, as the way to Airflow allows. */
export interface Pace {
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

/** `monotonic` in milliseconds. */
export function createPace(
  { concurrent, perSecond }: Pick<TransportLimits, 'concurrent' | 'perSecond'>,
  monotonic: () => number = () => performance.now(),
): Pace {
  const apart = perSecond === undefined ? 0 : 1000 / perSecond;
  let running = 0;
  let nextStart = 0;
  const waiting: (() => void)[] = [];

  const enter = async (signal: AbortSignal | undefined): Promise<void> => {
    if (running < concurrent) {
      running += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        waiting.splice(waiting.indexOf(turn), 1);
        if (signal !== undefined) reject(interruption(signal));
      };
      const turn = (): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      waiting.push(turn);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  };
  const leave = (): void => {
    const next = waiting.shift();
    // The place is handed on, so nobody can slip in between.
    if (next === undefined) running -= 1;
    else next();
  };
  /** Starts lie apart evenly: ten at once and then a second of nothing is what a limit per second refuses. */
  const startTurn = async (signal: AbortSignal | undefined): Promise<void> => {
    const now = monotonic();
    const start = Math.max(now, nextStart);
    nextStart = start + apart;
    if (start <= now) return;
    await pauseFor(start - now, signal, interruption);
  };

  return {
    async run(work, signal) {
      if (signal?.aborted === true) throw interruption(signal);
      await enter(signal);
      try {
        if (apart > 0) await startTurn(signal);
        return await work();
      } finally {
        leave();
      }
    },
  };
}
