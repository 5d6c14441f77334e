import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import type { ZlibOptions } from 'node:zlib';
import { LifeboatError } from '../errors.ts';
import type { Compression } from './api.ts';

/** The default of 16 KiB costs a hop to libuv's thread pool per 16 KiB. */
const CHUNK_BYTES = 256 * 1024;
/**
 * log2 of how far back deflate looks: 16 KiB instead of 32. What it looks through stays in the processor's nearest cache:
 * a sixth less time at level 1, and no more bytes for Airflow's tables (docs/performance.md). Rows of 16 to 32 KiB each
 * that are all alike are stored larger; zstd sees those. Every reader of gzip reads it.
 */
const GZIP_WINDOW_BITS = 14;

/** zstd came to node:zlib with Node 22.15; the types of Node 20 do not know it. */
interface ZstdZlib {
  readonly createZstdCompress?: (options: object) => Transform;
  readonly createZstdDecompress?: (options: object) => Transform;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}
const zstd = zlib as unknown as ZstdZlib;

/** One gzip member or one zstd frame per part: Node's zstd reader stops silently after the first frame. */
export function compressor(compression: Compression): Transform {
  if (compression.codec === 'gzip') {
    return zlib.createGzip({
      level: compression.level,
      windowBits: GZIP_WINDOW_BITS,
      chunkSize: CHUNK_BYTES,
    } satisfies ZlibOptions);
  }
  if (!zstd.createZstdCompress) throw zstdMissing('write');
  const level = zstd.constants.ZSTD_c_compressionLevel ?? 100;
  return zstd.createZstdCompress({ params: { [level]: compression.level }, chunkSize: CHUNK_BYTES });
}

/** By the form of the key: `.csv.gz` or `.csv.zst`. */
export function decompressor(key: string): Transform {
  if (key.endsWith('.gz')) return zlib.createGunzip({ chunkSize: CHUNK_BYTES });
  if (!key.endsWith('.zst')) throw new LifeboatError('integrity', `The part ${key} has an unknown form.`);
  if (!zstd.createZstdDecompress) throw zstdMissing('read');
  return zstd.createZstdDecompress({ chunkSize: CHUNK_BYTES });
}

function zstdMissing(verb: 'read' | 'write'): LifeboatError {
  return new LifeboatError('usage', `This Node cannot ${verb} zstd: its node:zlib has none.`, {
    next: `Run Lifeboat with Node 22.15 or newer${verb === 'write' ? ', or use --compression gzip:1' : ''}.`,
  });
}
