import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  type StorageClass,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError, ObjectExistsError } from '../errors.ts';
import type { S3Options } from './options.ts';
import { TransientStorageError } from './retry.ts';
import type { S3Connection, Sender } from './s3-client.ts';
import { hasName, isConflict } from './s3-errors.ts';
import type { S3ReadTarget } from './s3-read.ts';
import type { WriteBody, WriteOptions } from './storage.ts';
import { abortable } from './streams.ts';

const MIB = 1024 * 1024;
/** S3 takes at most this many parts of one object, so that it can have at most MAX_PARTS * partSize bytes (48 GiB). */
const MAX_PARTS = 10_000;
const ABORT_ATTEMPTS = 5;
/** Milliseconds in which a part that was on its way should have arrived. */
const ABORT_PAUSE = 100;
/** Metadata that tells whose write an object is, see isOurs(). */
const WRITE_ID = 'lifeboat-write';

export interface UploadTuning {
  /** Bytes, at least 5 MiB (S3's smallest part). */
  readonly partSize: number;
  /** Parts sent at once; with the one being filled, (queueSize + 2) * partSize is all the memory of an upload. */
  readonly queueSize: number;
}

export const UPLOAD_TUNING: UploadTuning = { partSize: 5 * MIB, queueSize: 2 };

/** What one write() sends with all of its requests. */
interface Write {
  readonly connection: S3Connection;
  readonly target: S3ReadTarget;
  readonly params: PutObjectCommandInput & { readonly Bucket: string; readonly Key: string };
  readonly writeId: string;
  readonly createOnly: boolean;
  readonly signal: AbortSignal | undefined;
}

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
    ...(createOnly ? { IfNoneMatch: '*' } : {}),
    ...(options.sse === undefined ? {} : { ServerSideEncryption: options.sse }),
    ...(options.kmsKeyId === undefined ? {} : { SSEKMSKeyId: options.kmsKeyId }),
    // S3 knows more classes than the SDK's list of this release; the server refuses what it does not know.
    ...(options.storageClass === undefined ? {} : { StorageClass: options.storageClass as StorageClass }),
  };
  const write: Write = { connection, target, params, writeId, createOnly, signal };
  if (body instanceof Uint8Array) {
    await sendPut(write, (client, abortSignal) =>
      client.send(new PutObjectCommand({ ...params, Body: body }), { abortSignal }),
    );
  } else {
    await uploadStream(write, body, tuning);
  }
}

async function uploadStream(
  write: Write,
  body: AsyncIterable<Uint8Array>,
  tuning: UploadTuning,
): Promise<void> {
  const upload = new Upload({
    client: uploadClient(write),
    params: { ...write.params, Body: Readable.from(limited(write, body, tuning.partSize * MAX_PARTS)) },
    ...tuning,
  });
  // Not upload.abort(): its done() would reject before the parts are cleaned up. An aborted signal breaks the body
  // and the requests off instead, and done() rejects when the multipart upload is gone.
  await upload.done();
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

/**
 * The client that Upload gets: each of its requests carries a body in memory or none, so each goes through the
 * retries and error messages of this driver and through the caller's abort signal, which Upload does not pass on.
 */
function uploadClient(write: Write): S3Client {
  const { connection, target, signal } = write;
  const doing = `write ${target.key}`;
  const send = (command: Parameters<S3Client['send']>[0]): Promise<unknown> => {
    const sender: Sender<unknown> = (client, abortSignal) => client.send(command, { abortSignal });
    if (command instanceof AbortMultipartUploadCommand) return takeBack(write, sender);
    if (command instanceof PutObjectCommand) return sendPut(write, sender);
    if (command instanceof CompleteMultipartUploadCommand) return sendComplete(write, sender);
    // Broken off by the signal, it may have been carried out all the same, and nobody would know the upload's id.
    if (command instanceof CreateMultipartUploadCommand) return connection.request(sender, { doing });
    return connection.request(sender, { doing, pace: 'body', signal });
  };
  return Object.create(connection.client, { send: { value: send } }) as S3Client;
}

/**
 * Aborts the upload until the server knows it no more: a part that was on its way when its request was broken off may
 * arrive after the abort and be stored, which S3's documentation warns of. Not cut short by the abort that caused it,
 * and without an error that would hide the one that did: what stays all the same, sweep() removes.
 */
async function takeBack({ connection, target }: Write, sender: Sender<unknown>): Promise<void> {
  const gone = (thrown: unknown): boolean => hasName(thrown, 'NoSuchUpload');
  try {
    for (let attempt = 0; attempt < ABORT_ATTEMPTS; attempt++) {
      await connection.request(sender, { doing: `write ${target.key}`, raw: gone });
      await sleep(ABORT_PAUSE);
    }
  } catch {
    // Gone, which was the aim; or not to be reached, when there is nothing more to do.
  }
}

function sendPut(write: Write, sender: Sender<unknown>): Promise<unknown> {
  const conflict = (thrown: unknown): boolean => write.createOnly && isConflict(thrown);
  return settleConflict(write, conflict, async () =>
    write.connection.request(retryingConflict(write, sender), {
      doing: `write ${write.target.key}`,
      pace: 'body',
      signal: write.signal,
      raw: conflict,
    }),
  );
}

function sendComplete(write: Write, sender: Sender<unknown>): Promise<unknown> {
  // NoSuchUpload: an earlier attempt has completed it, and only its answer was lost.
  const conflict = (thrown: unknown): boolean =>
    (write.createOnly && isConflict(thrown)) || hasName(thrown, 'NoSuchUpload');
  return settleConflict(write, conflict, () =>
    write.connection.request(sender, {
      doing: `write ${write.target.key}`,
      pace: 'slow',
      signal: write.signal,
      raw: conflict,
    }),
  );
}

/** S3 answers 409 while it cannot tell yet whether the key exists; its documentation asks to send the request again. */
function retryingConflict({ target }: Write, sender: Sender<unknown>): Sender<unknown> {
  return async (client, signal) => {
    try {
      return await sender(client, signal);
    } catch (thrown) {
      if (!hasName(thrown, 'ConditionalRequestConflict')) throw thrown;
      throw new TransientStorageError(`Another writer of ${target.key} is in the way.`, {
        next: 'Run it again.',
      });
    }
  };
}

/** A conflict may be with ourselves: the first attempt stored the object, its answer was lost, the second is refused. */
async function settleConflict(
  write: Write,
  conflict: (thrown: unknown) => boolean,
  work: () => Promise<unknown>,
): Promise<unknown> {
  try {
    return await work();
  } catch (thrown) {
    if (!conflict(thrown)) throw thrown;
    if (await isOurs(write)) return {};
    if (isConflict(thrown)) throw new ObjectExistsError(write.target.key, write.connection.place.location);
    throw new LifeboatError(
      'failed',
      `The upload of ${write.target.key} was removed before it was complete.`,
      {
        next: 'Check the lifecycle rules of the bucket and other cleaners, then run it again.',
      },
    );
  }
}

async function isOurs({ connection, target, params, writeId, signal }: Write): Promise<boolean> {
  const head = await connection.request(
    (client, abortSignal) =>
      client.send(new HeadObjectCommand({ Bucket: params.Bucket, Key: params.Key }), { abortSignal }),
    { doing: `write ${target.key}`, signal },
  );
  return head.Metadata?.[WRITE_ID] === writeId;
}
