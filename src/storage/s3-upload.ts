import type { CompletedPart, StorageClass } from '@aws-sdk/client-s3';
import { randomUUID } from 'node:crypto';
import { LifeboatError, toError } from '../errors.ts';
import type { S3Options } from './options.ts';
import type { S3Connection } from './s3-client.ts';
import type { S3ReadTarget } from './s3-read.ts';
import { sendComplete, sendCreate, sendPart, sendPut, takeBack, WRITE_ID } from './s3-write-requests.ts';
import type { Write } from './s3-write-requests.ts';
import type { WriteBody, WriteOptions } from './storage.ts';
import { abortable } from './streams.ts';

const MIB = 1024 * 1024;
/** S3 takes at most this many parts of one object, so that it can have at most MAX_PARTS * partSize bytes (48 GiB). */
const MAX_PARTS = 10_000;

export interface UploadTuning {
  /** Bytes, at least 5 MiB (S3's smallest part). */
  readonly partSize: number;
  /** Parts sent at once; with the one being filled, (queueSize + 1) * partSize is all the memory of an upload. */
  readonly queueSize: number;
}

export const UPLOAD_TUNING: UploadTuning = { partSize: 5 * MIB, queueSize: 2 };

export async function writeS3Object(
  connection: S3Connection,
  target: S3ReadTarget,
  body: WriteBody,
  { createOnly = false, signal }: WriteOptions,
  options: S3Options,
  tuning: UploadTuning,
): Promise<void> {
  const writeId = randomUUID();
  const params = {
    Bucket: target.bucket,
    Key: target.objectKey,
    Metadata: { [WRITE_ID]: writeId },
    ...(options.sse === undefined ? {} : { ServerSideEncryption: options.sse }),
    ...(options.kmsKeyId === undefined ? {} : { SSEKMSKeyId: options.kmsKeyId }),
    // S3 knows more classes than the SDK's list of this release; the server refuses what it does not know.
    ...(options.storageClass === undefined ? {} : { StorageClass: options.storageClass as StorageClass }),
  };
  const write: Write = { connection, target, params, writeId, createOnly, signal };
  if (body instanceof Uint8Array) {
    await sendPut(write, body);
  } else {
    await uploadStream(write, body, tuning);
  }
}

/** In one request what fits into one part; otherwise part after part while the next is filled. */
async function uploadStream(
  write: Write,
  body: AsyncIterable<Uint8Array>,
  tuning: UploadTuning,
): Promise<void> {
  const { partSize } = tuning;
  const pieces = gather(limited(write, body, partSize * MAX_PARTS), partSize);
  try {
    const first = await nextPiece(pieces);
    if (first.length < partSize) {
      await sendPut(write, first);
      release(first);
      return;
    }
    const uploadId = await sendCreate(write);
    try {
      if (write.signal?.aborted === true) throw toError(write.signal.reason);
      const parts = await sendPieces(write, uploadId, first, pieces, tuning);
      await sendComplete(write, uploadId, parts);
    } catch (error) {
      await takeBack(write, uploadId);
      throw error;
    }
  } finally {
    await pieces.return();
  }
}

/** All parts in their order. A part that fails ends it, when those beside it have ended. */
async function sendPieces(
  write: Write,
  uploadId: string,
  first: Buffer,
  pieces: AsyncGenerator<Buffer, void, undefined>,
  { partSize, queueSize }: UploadTuning,
): Promise<readonly CompletedPart[]> {
  const parts: CompletedPart[] = [];
  const underWay = new Set<Promise<void>>();
  let failure: Error | undefined;
  const start = (piece: Buffer, number: number): void => {
    const sending = sendPart(write, uploadId, number, piece)
      .then(
        (part) => {
          parts.push(part);
          release(piece);
        },
        (error: unknown) => {
          failure ??= toError(error);
        },
      )
      .finally(() => underWay.delete(sending));
    underWay.add(sending);
  };
  try {
    let piece = first;
    for (let number = 1; piece.length > 0; number++) {
      start(piece, number);
      if (underWay.size >= queueSize) await Promise.race(underWay);
      if (failure !== undefined || piece.length < partSize) break;
      piece = await nextPiece(pieces);
    }
  } finally {
    await Promise.all(underWay);
  }
  if (failure !== undefined) throw failure;
  return parts.sort((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
}

/** Nothing at the end. */
async function nextPiece(pieces: AsyncGenerator<Buffer, void, undefined>): Promise<Buffer> {
  const { done, value } = await pieces.next();
  return done === true ? Buffer.alloc(0) : value;
}

/** Memory of parts that were sent, by its size: new memory for each would be garbage that only full collections find. */
const spare = new Map<number, Buffer[]>();

/** To be called when nothing reads the piece any more. One whose sending failed is left to the collector. */
function release(piece: Buffer): void {
  const whole = Buffer.from(piece.buffer);
  if (whole.length === 0) return;
  const others = spare.get(whole.length);
  if (others) others.push(whole);
  else spare.set(whole.length, [whole]);
}

/** The body in pieces of one size, the last one smaller; each is the caller's until it releases it. */
async function* gather(
  body: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Buffer, void, undefined> {
  const take = (): Buffer => spare.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
  let piece = take();
  let filled = 0;
  for await (const chunk of body) {
    for (let from = 0; from < chunk.length;) {
      const until = Math.min(chunk.length, from + size - filled);
      piece.set(chunk.subarray(from, until), filled);
      filled += until - from;
      from = until;
      if (filled < size) continue;
      yield piece;
      piece = take();
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
  else release(piece);
}

/** Ends with an error before S3 would refuse part 10,001, hours into the upload. */
async function* limited(
  write: Write,
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of abortable(body, write.signal)) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new LifeboatError('failed', `The object ${write.target.key} is larger than ${maxBytes} bytes.`, {
        next: 'One stored object of this size cannot be written to S3; back up with more, smaller parts.',
      });
    }
    yield chunk;
  }
}
