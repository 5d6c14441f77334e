import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes in buffers that were used once, after which the young generation is collected. */
const COLLECT_EVERY = 4 * 1024 * 1024;

type Collect = (options: { readonly type: 'minor' }) => void;

/** For the whole process: there is one heap, however many connections fill it. */
let since = 0;
let collect: Collect | undefined;

/**
 * Counts bytes in buffers that are garbage after one use (encrypted reads, compressed output) and collects the young
 * generation from time to time. V8 sees each of them as an object of a few bytes and lets tens of megabytes pile up, until
 * they are old and only a full collection finds them. A minor one is about half a millisecond; of a backup's 112 MB it takes
 * 22 MB, and a dozen full collections. Heap-size flags do not help: the memory is not on the heap.
 */
export function collectAfter(bytes: number): void {
  since += bytes;
  if (since < COLLECT_EVERY) return;
  since = 0;
  collect ??= exposeCollector();
  collect?.({ type: 'minor' });
}

function exposeCollector(): Collect | undefined {
  setFlagsFromString('--expose-gc');
  const found: unknown = runInNewContext('typeof gc === "function" ? gc : undefined');
  return found as Collect | undefined;
}
