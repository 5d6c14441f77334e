import { randomBytes } from 'node:crypto';

const CHUNK = 64 * 1024;
const NOISE = randomBytes(CHUNK + 4096);

/** A stream of the given length without memory: noise that is another in every chunk, and the same in every call. */
export async function* chunksOf(bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let from = 0, index = 0; from < bytes; from += CHUNK, index++) {
    const offset = (index * 61) % 4096;
    const chunk = Buffer.from(NOISE.subarray(offset, offset + Math.min(CHUNK, bytes - from)));
    chunk.writeUIntLE(index % 2 ** 40, 0, Math.min(5, chunk.length));
    yield chunk;
    // Generators that never wait would keep timers, and with them every abort, from running.
    if (index % 16 === 15) await new Promise(setImmediate);
  }
}

/** Runs the work and tells how long it took and by how many bytes the resident set was larger at its peak. */
export async function peakMemory<T>(
  work: () => Promise<T>,
): Promise<{ result: T; grown: number; seconds: number }> {
  globalThis.gc?.();
  const before = process.memoryUsage.rss();
  const started = performance.now();
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
  try {
    const result = await work();
    return {
      result,
      grown: Math.max(peak, process.memoryUsage.rss()) - before,
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    clearInterval(timer);
  }
}
