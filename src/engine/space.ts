import type { Manifest } from './manifest.ts';
import { storedBytes } from './sealed/fields.ts';

/**
 * Bytes of tables and indexes for each stored byte. A million task instances of gen_scale.sql are 1.38 GB restored, from
 * 240 MB of gzip and 200 MB of zstd.
 */
const BYTES_FOR_STORED: Readonly<Record<string, number>> = { gzip: 6, zstd: 7 };
/** As much again for the server's log, and because text compresses in many ways. */
const MARGIN = 2;

/** Pure. What the disk of the target's server should have free: nobody can ask it how much that is (not on RDS). */
export function spaceNeeded(manifest: Manifest, tables: readonly string[]): number {
  const stored = storedBytes(manifest.tables.filter(({ name }) => tables.includes(name)));
  const ratio = BYTES_FOR_STORED[manifest.compression.split(':')[0] ?? ''] ?? 7;
  return Math.ceil(stored * ratio * MARGIN);
}
