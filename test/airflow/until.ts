import { setTimeout as sleep } from 'node:timers/promises';
import { step } from './step.ts';

const LIMIT_MS = 8 * 60_000;

/**
 * Waits until nothing is missing, and fails with what is. Asks every second: how long Airflow takes depends on the load
 * of the machine, so nothing here waits for a fixed time.
 */
export async function until(
  what: string,
  missing: () => Promise<readonly string[]>,
  limitMs = LIMIT_MS,
): Promise<void> {
  await step(`until ${what}`, async () => {
    const started = performance.now();
    for (;;) {
      const left = await missing();
      if (left.length === 0) return;
      if (performance.now() - started > limitMs) {
        throw new Error(`Still missing after ${limitMs / 1000} s until ${what}:\n${left.join('\n')}`);
      }
      await sleep(1000);
    }
  });
}
