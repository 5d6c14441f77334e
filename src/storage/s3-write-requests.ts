import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { CompletedPart, PutObjectCommandInput } from '@aws-sdk/client-s3';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError, ObjectExistsError } from '../errors.ts';
import { TransientStorageError } from './retry.ts';
import type { S3Connection, Sender } from './s3-client.ts';
import { hasName, isConflict } from './s3-errors.ts';
import type { S3ReadTarget } from './s3-read.ts';

const ABORT_ATTEMPTS = 5;
/** Milliseconds in which a part that was on its way should have arrived. */
const ABORT_PAUSE = 100;
/** Metadata that tells whose write an object is, see isOurs(). */
export const WRITE_ID = 'lifeboat-write';

/** What one write() sends with all of its requests. */
export interface Write {
  readonly connection: S3Connection;
  readonly target: S3ReadTarget;
  readonly params: PutObjectCommandInput & { readonly Bucket: string; readonly Key: string };
  readonly writeId: string;
  readonly createOnly: boolean;
  readonly signal: AbortSignal | undefined;
}

/** The whole object in one request. */
export async function sendPut(write: Write, body: Uint8Array): Promise<void> {
  const { connection, target, params, createOnly, signal } = write;
  const conflict = (thrown: unknown): boolean => createOnly && isConflict(thrown);
  const send: Sender<unknown> = (client, abortSignal) =>
    client.send(new PutObjectCommand({ ...params, ...onlyNew(write), Body: body }), { abortSignal });
  await settleConflict(write, conflict, () =>
    connection.request(retryingConflict(write, send), {
      doing: `write ${target.key}`,
      pace: 'body',
      signal,
      raw: conflict,
    }),
  );
}

function onlyNew({ createOnly }: Write): { readonly IfNoneMatch?: '*' } {
  return createOnly ? { IfNoneMatch: '*' } : {};
}

/** Begins an upload in parts, and returns its id. */
export async function sendCreate({ connection, target, params }: Write): Promise<string> {
  // Without the signal: broken off, it may have been carried out all the same, and nobody would know the upload's id.
  const { UploadId } = await connection.request(
    (client, abortSignal) =>
      client.send(new CreateMultipartUploadCommand({ ...params, ChecksumAlgorithm: 'CRC32' }), {
        abortSignal,
      }),
    { doing: `write ${target.key}` },
  );
  if (UploadId === undefined) throw strange(target, 'an upload without an id');
  return UploadId;
}

/** @param number - from 1 */
export async function sendPart(
  { connection, target, params, signal }: Write,
  uploadId: string,
  number: number,
  body: Uint8Array,
): Promise<CompletedPart> {
  const part = { Bucket: params.Bucket, Key: params.Key, UploadId: uploadId, PartNumber: number };
  const { ETag, ChecksumCRC32 } = await connection.request(
    (client, abortSignal) => client.send(new UploadPartCommand({ ...part, Body: body }), { abortSignal }),
    { doing: `write ${target.key}`, pace: 'body', signal },
  );
  if (ETag === undefined) throw strange(target, 'a part without an ETag');
  return { PartNumber: number, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) };
}

/** Makes the object out of its parts, in their order. */
export async function sendComplete(
  write: Write,
  uploadId: string,
  parts: readonly CompletedPart[],
): Promise<void> {
  const { connection, target, params, createOnly, signal } = write;
  // NoSuchUpload: an earlier attempt has completed it, and only its answer was lost.
  const conflict = (thrown: unknown): boolean =>
    (createOnly && isConflict(thrown)) || hasName(thrown, 'NoSuchUpload');
  const command = {
    Bucket: params.Bucket,
    Key: params.Key,
    UploadId: uploadId,
    MultipartUpload: { Parts: [...parts] },
    ...onlyNew(write),
  };
  await settleConflict(write, conflict, () =>
    connection.request(
      (client, abortSignal) => client.send(new CompleteMultipartUploadCommand(command), { abortSignal }),
      { doing: `write ${target.key}`, pace: 'slow', signal, raw: conflict },
    ),
  );
}

/**
 * Aborts the upload until the server knows it no more: a part that was on its way when its request was broken off may
 * arrive after the abort and be stored, which S3's documentation warns of. Not cut short by the abort that caused it,
 * and without an error that would hide the one that did: what stays all the same, sweep() removes.
 */
export async function takeBack({ connection, target, params }: Write, uploadId: string): Promise<void> {
  const upload = { Bucket: params.Bucket, Key: params.Key, UploadId: uploadId };
  const gone = (thrown: unknown): boolean => hasName(thrown, 'NoSuchUpload');
  try {
    for (let attempt = 0; attempt < ABORT_ATTEMPTS; attempt++) {
      await connection.request(
        (client, abortSignal) => client.send(new AbortMultipartUploadCommand(upload), { abortSignal }),
        { doing: `write ${target.key}`, raw: gone },
      );
      await sleep(ABORT_PAUSE);
    }
  } catch {
    // Gone, which was the aim; or not to be reached, when there is nothing more to do.
  }
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
): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    if (!conflict(thrown)) throw thrown;
    if (await isOurs(write)) return;
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

function strange({ key }: S3ReadTarget, what: string): LifeboatError {
  return new LifeboatError('failed', `The server answered the write of ${key} with ${what}.`, {
    next: 'Check that the endpoint speaks the S3 protocol with uploads in parts.',
  });
}
