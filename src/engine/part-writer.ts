import { createHash } from 'node:crypto';
import type { Transform } from 'node:stream';
import type { Client } from 'pg';
import { collectAfter } from '../db/collector.ts';
import { copyOut } from '../db/copy-out.ts';
import type { CopyOut } from '../db/copy-out.ts';
import type { Throttle } from '../db/throttle.ts';
import type { Storage } from '../storage/storage.ts';
import { toError } from '../errors.ts';
import type { Compression } from './api.ts';
import { compressor } from './codec.ts';
import type { Seal } from '../secrets/seal.ts';
import type { ManifestPart } from './manifest.ts';

export interface PartJob {
  readonly key: string;
  /** COPY … TO STDOUT (FORMAT csv). */
  readonly sql: string;
  readonly compression: Compression;
  /** Shared by all connections of a backup. */
  readonly throttle?: Throttle;
  /** The server has sent all rows: the connection may be used again while the part is stored. */
  readonly onCopied?: () => void;
}

/** One COPY as one stored object. */
export async function writePart(
  client: Client,
  storage: Storage,
  job: PartJob,
  onBytes: (rawBytes: number) => void,
  signal: AbortSignal,
): Promise<ManifestPart & { readonly rawBytes: number }> {
  const source = copyPart(client, job, signal);
  const stored = await storeBlocks(storage, job, source.blocks, onBytes, signal);
  return { key: job.key, rows: source.rows(), ...stored };
}

/** The COPY of a part. */
export function copyPart(client: Client, { sql, throttle, onCopied }: PartJob, signal: AbortSignal): CopyOut {
  const source = copyOut(client, sql, signal, throttle);
  return { blocks: thenTell(source.blocks, onCopied), rows: source.rows };
}

async function* thenTell(
  blocks: AsyncIterable<Uint8Array>,
  onEnd: (() => void) | undefined,
): AsyncGenerator<Uint8Array> {
  yield* blocks;
  onEnd?.();
}

/**
 * Streams blocks into one stored object: source → compression (on libuv's threads) → seal, where there is one → hash of
 * what is stored → storage.
 * Each stage waits for the next, so memory is a few blocks whatever the size of the part.
 */
export async function storeBlocks(
  storage: Storage,
  job: Pick<PartJob, 'key' | 'compression'> & { readonly seal?: Seal },
  blocks: AsyncIterable<Uint8Array>,
  onBytes: (rawBytes: number) => void,
  signal: AbortSignal,
): Promise<{ readonly bytes: number; readonly sha256: string; readonly rawBytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  let rawBytes = 0;
  const packer = compressor(job.compression);
  // Either side tells its own failure. A storage that fails before it reads leaves nobody to hear the packer's, which
  // would then end the process.
  packer.on('error', () => undefined);

  const feed = async (): Promise<void> => {
    try {
      for await (const block of blocks) {
        signal.throwIfAborted();
        rawBytes += block.length;
        onBytes(block.length);
        await writeBlock(packer, block);
      }
      packer.end();
    } catch (error) {
      packer.destroy(toError(error));
      throw error;
    }
  };
  async function* stored(): AsyncGenerator<Uint8Array> {
    const packed = packer as AsyncIterable<Buffer>;
    for await (const chunk of job.seal ? await job.seal.seal(packed) : packed) {
      hash.update(chunk);
      collectAfter(chunk.length);
      bytes += chunk.length;
      yield chunk;
    }
  }

  const writing = storage.write(job.key, stored(), { signal }).catch((error: unknown) => {
    // Without this the feeder would wait for a reader that is gone.
    packer.destroy(toError(error));
    throw error;
  });
  const [fed, written] = await Promise.allSettled([feed(), writing]);
  // The storage's own error first: the feeder's is then only its echo, unless it is the database that failed.
  if (fed.status === 'rejected' && written.status === 'rejected') {
    throw firstCause(fed.reason, written.reason);
  }
  if (written.status === 'rejected') throw written.reason;
  if (fed.status === 'rejected') throw fed.reason;
  return { bytes, sha256: hash.digest('hex'), rawBytes };
}

/** Resolves when the block has been compressed: from then on its memory may be used again. */
function writeBlock(packer: Transform, block: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    // A packer that is destroyed while its output is full never answers the write.
    const onClose = (): void => {
      reject(toError(packer.errored ?? 'The compression was stopped.'));
    };
    packer.once('close', onClose);
    packer.write(block, (error) => {
      packer.off('close', onClose);
      if (error) {
        reject(error);
      } else {
        resolve();
      }
    });
  });
}

/** Both sides failed; one error made the other. An error that is the other's cause or the very same is the echo. */
function firstCause(fed: unknown, written: unknown): unknown {
  return fed === written || (written instanceof Error && written.cause === fed) ? fed : (written ?? fed);
}
