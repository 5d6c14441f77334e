import type { LifeboatError } from '../errors.ts';
import type { Storage } from '../storage/storage.ts';

/**
 * An object as a whole, which is to be parsed.
 *
 * @throws what `tooLarge` gives, before more than `maxBytes` are in memory: it is not what its name says
 */
export async function readSmall(
  storage: Storage,
  key: string,
  signal: AbortSignal,
  { maxBytes, tooLarge }: { readonly maxBytes: number; readonly tooLarge: () => LifeboatError },
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (await storage.read(key, { signal })) as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge();
  }
  return Buffer.concat(chunks);
}
