import { inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    airflowRelease: string;
  }
}

/** The Airflow release of this vitest project. */
export const release: string = inject('airflowRelease');

/** Does one step and prints how long it took. */
export async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  try {
    return await work();
  } finally {
    console.log(`${release.padEnd(6)} ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
}
