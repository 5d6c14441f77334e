import { createHash } from 'node:crypto';
import type { ManifestPart } from './manifest.ts';

/**
 * Passes the stored bytes of a part through, and fails at their end when they are not those of the manifest: whoever
 * reads a part for its content reads it to the end, and so uses nothing that was not proven.
 */
export async function* provenBytes(
  source: AsyncIterable<Uint8Array>,
  part: Pick<ManifestPart, 'bytes' | 'sha256'>,
  onBytes: (storedBytes: number) => void,
  differs: () => Error,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of source) {
    hash.update(chunk);
    bytes += chunk.length;
    onBytes(chunk.length);
    yield chunk;
  }
  if (bytes !== part.bytes || hash.digest('hex') !== part.sha256) throw differs();
}
