/* eslint-disable @typescript-eslint/require-await -- async turns what is thrown before any waiting into a rejection */
import { ObjectExistsError, ObjectNotFoundError } from '../errors.ts';
import { assertKey, assertPrefix, compareKeys } from './keys.ts';
import { resolveRange } from './range.ts';
import type { Storage } from './storage.ts';
import { abortable, collect, readableFrom } from './streams.ts';

const LOCATION = 'memory:';
const READ_CHUNK = 64 * 1024;

/** For tests: keeps the contract except that objects live in memory (8) and end with the process (2). */
export function createMemoryStorage(): Storage {
  const objects = new Map<string, { readonly bytes: Buffer; readonly modified: Date }>();

  return {
    location: LOCATION,

    async write(key, body, { createOnly = false, signal } = {}) {
      assertKey(key);
      signal?.throwIfAborted();
      const bytes = body instanceof Uint8Array ? Buffer.from(body) : await collect(abortable(body, signal));
      signal?.throwIfAborted();
      if (createOnly && objects.has(key)) throw new ObjectExistsError(key, LOCATION);
      // eslint-disable-next-line no-restricted-syntax -- a storage has its own clock, as S3 and filesystems do
      objects.set(key, { bytes, modified: new Date() });
    },

    async read(key, { range, signal } = {}) {
      assertKey(key);
      signal?.throwIfAborted();
      const object = objects.get(key);
      if (object === undefined) throw new ObjectNotFoundError(key, LOCATION);
      let { start, length } = resolveRange(key, object.bytes.length, range);
      return readableFrom(
        {
          async next() {
            if (length === 0) return null;
            const chunk = object.bytes.subarray(start, start + Math.min(length, READ_CHUNK));
            start += chunk.length;
            length -= chunk.length;
            return chunk;
          },
          close: () => Promise.resolve(),
        },
        signal,
      );
    },

    async *list(prefix, signal) {
      assertPrefix(prefix);
      for (const key of [...objects.keys()].filter((name) => name.startsWith(prefix)).sort(compareKeys)) {
        signal?.throwIfAborted();
        const object = objects.get(key);
        if (object !== undefined) yield { key, bytes: object.bytes.length, modified: object.modified };
      }
    },

    async remove(keys, signal) {
      keys.forEach(assertKey);
      signal?.throwIfAborted();
      for (const key of keys) objects.delete(key);
    },
  };
}
