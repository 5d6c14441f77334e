import type { Storage } from '../../storage/storage.ts';

/** Asks for the one key: a bucket may hold millions of others beside it. */
export async function isThere(from: Storage, key: string, signal: AbortSignal): Promise<boolean> {
  for await (const object of from.list(key, signal)) {
    if (object.key === key) return true;
  }
  return false;
}
