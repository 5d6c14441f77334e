import { createHash } from 'node:crypto';
import type { Manifest } from './manifest.ts';

/** Stands in the place of the checksum while the checksum is computed. */
export const NO_CHECKSUM: string = '0'.repeat(64);

export type UnsealedManifest = Omit<Manifest, 'checksum'>;

/** The bytes to store: two-space JSON, with the checksum of these very bytes as its last member. */
export function encodeManifest(manifest: UnsealedManifest): Uint8Array {
  const text = JSON.stringify({ ...manifest, checksum: NO_CHECKSUM }, null, 2) + '\n';
  return Buffer.from(replaceChecksum(text, NO_CHECKSUM, checksumOf(text)));
}

export function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Only the last occurrence: the checksum is the last member, and a part may have any hash. */
export function replaceChecksum(text: string, from: string, to: string): string {
  const at = text.lastIndexOf(from);
  return at < 0 ? text : text.slice(0, at) + to + text.slice(at + from.length);
}
