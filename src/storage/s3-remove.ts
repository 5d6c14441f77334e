import {
  AbortMultipartUploadCommand,
  DeleteObjectsCommand,
  type DeleteObjectsCommandOutput,
  ListMultipartUploadsCommand,
  type MultipartUpload,
} from '@aws-sdk/client-s3';
import { LifeboatError } from '../errors.ts';
import { TransientStorageError } from './retry.ts';
import type { S3Connection } from './s3-client.ts';
import { hasName } from './s3-errors.ts';
import { assertNewToken } from './s3-list.ts';
import type { Leftover, SweepOptions } from './storage.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html */
const MAX_DELETED_AT_ONCE = 1000;
const TEMPORARY = new Set(['InternalError', 'SlowDown', 'ServiceUnavailable', 'OperationAborted']);

export async function removeS3Objects(
  connection: S3Connection,
  objectKeys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let from = 0; from < objectKeys.length; from += MAX_DELETED_AT_ONCE) {
    const batch = objectKeys.slice(from, from + MAX_DELETED_AT_ONCE);
    const input = {
      Bucket: connection.place.bucket,
      Delete: { Objects: batch.map((Key) => ({ Key })), Quiet: true },
    };
    await connection.request(
      async (client, abortSignal) => {
        // The request succeeds even when none of its keys does: the failures are in the answer.
        assertAllRemoved(connection, await client.send(new DeleteObjectsCommand(input), { abortSignal }));
      },
      { doing: `remove ${batch.length} object(s)`, pace: 'body', signal },
    );
  }
}

function assertAllRemoved(
  { place }: S3Connection,
  { Errors: errors = [] }: DeleteObjectsCommandOutput,
): void {
  const failed = errors.filter(({ Code }) => Code !== 'NoSuchKey');
  const first = failed[0];
  if (first === undefined) return;
  const message = `${failed.length} object(s) in ${place.location} could not be removed, first ${first.Key ?? 'unnamed'}: ${first.Code ?? 'unknown error'}.`;
  const details = { failed: failed.slice(0, 20).map(({ Key, Code }) => ({ key: Key, code: Code })) };
  if (failed.every(({ Code }) => TEMPORARY.has(Code ?? ''))) {
    throw new TransientStorageError(message, { next: 'Wait a little, then run it again.', details });
  }
  throw new LifeboatError('failed', message, {
    next: 'Allow s3:DeleteObject on the objects, and look for a retention (object lock) on them.',
    details,
  });
}

/** Multipart uploads that began before the given time and were never completed: a killed process leaves them. */
export async function sweepUploads(
  connection: S3Connection,
  prefix: string,
  before: Date,
  { dryRun = false, signal }: SweepOptions,
): Promise<Leftover[]> {
  const found: Leftover[] = [];
  for await (const { Key: key, UploadId: id, Initiated: started } of listUploads(
    connection,
    prefix,
    signal,
  )) {
    if (key === undefined || id === undefined || started === undefined || started >= before) continue;
    found.push({ name: key.slice(prefix.length), started });
    if (!dryRun) await abortUpload(connection, key, id, signal);
  }
  return found;
}

async function abortUpload(
  connection: S3Connection,
  key: string,
  id: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const input = { Bucket: connection.place.bucket, Key: key, UploadId: id };
  const gone = (thrown: unknown): boolean => hasName(thrown, 'NoSuchUpload');
  try {
    await connection.request(
      (client, abortSignal) => client.send(new AbortMultipartUploadCommand(input), { abortSignal }),
      { doing: `abort the upload of ${key}`, signal, raw: gone },
    );
  } catch (thrown) {
    if (!gone(thrown)) throw thrown;
  }
}

async function* listUploads(
  connection: S3Connection,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<MultipartUpload, void, undefined> {
  const seen = new Set<string>();
  let marker: { KeyMarker?: string; UploadIdMarker?: string } = {};
  for (;;) {
    const input = { Bucket: connection.place.bucket, Prefix: prefix, ...marker };
    const page = await connection.request(
      (client, abortSignal) => client.send(new ListMultipartUploadsCommand(input), { abortSignal }),
      { doing: 'list unfinished uploads', signal },
    );
    yield* page.Uploads ?? [];
    if (page.IsTruncated !== true) return;
    const { NextKeyMarker: key = '', NextUploadIdMarker: id = '' } = page;
    assertNewToken(connection, key === '' ? undefined : `${key}\n${id}`, seen);
    marker = { KeyMarker: key, UploadIdMarker: id };
  }
}
