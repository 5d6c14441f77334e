import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import { LifeboatError } from '../errors.ts';
import { assertRange } from './range.ts';
import type { S3Connection } from './s3-client.ts';
import type { ReadOptions } from './storage.ts';
import { type ByteSource, readableFrom } from './streams.ts';

/** A body that breaks off is asked for again from where it ended, this often in a row without one more byte. */
const MAX_FRUITLESS_RESUMES = 4;

interface OpenBody {
  readonly iterator: AsyncIterator<unknown>;
  readonly body: Readable;
  /** Bytes that the server said it would send. */
  readonly length: number;
  readonly etag: string | undefined;
}

export interface S3ReadTarget {
  readonly bucket: string;
  /** With the URL's prefix. */
  readonly objectKey: string;
  /** As the caller named it. */
  readonly key: string;
}

/** The object or a range of it. Every byte promised by Content-Length arrives, or the stream ends with an error. */
export async function readS3Object(
  connection: S3Connection,
  target: S3ReadTarget,
  { range, signal }: ReadOptions,
): Promise<Readable> {
  if (range !== undefined) assertRange(target.key, range);
  const first = await openBody(connection, target, range, undefined, signal);
  return readableFrom(resumingSource(connection, target, range?.start ?? 0, first, signal), signal);
}

function resumingSource(
  connection: S3Connection,
  target: S3ReadTarget,
  start: number,
  first: OpenBody,
  signal: AbortSignal | undefined,
): ByteSource {
  let current = first;
  let received = 0;
  let fruitless = 0;
  let closed = false;
  const end = start + first.length - 1;
  const missing = (): number => first.length - received;

  const resume = async (cause: unknown): Promise<void> => {
    current.body.destroy();
    fruitless += 1;
    if (fruitless > MAX_FRUITLESS_RESUMES) throw brokenOff(connection, target, missing(), cause);
    // The same version of the object: bytes of two versions glued together would be neither.
    current = await openBody(connection, target, { start: start + received, end }, first.etag, signal);
  };

  return {
    async next() {
      while (missing() > 0) {
        try {
          const chunk = await nextChunk(current);
          if (chunk.length > missing()) throw new Error(`${chunk.length - missing()} bytes too many`);
          received += chunk.length;
          fruitless = 0;
          return chunk;
        } catch (thrown) {
          // close() breaks the body off, too; asking again would open a connection that nobody closes.
          if (closed) throw thrown;
          signal?.throwIfAborted();
          await resume(thrown);
        }
      }
      return null;
    },
    close() {
      closed = true;
      current.body.destroy();
      return Promise.resolve();
    },
  };
}

async function nextChunk({ iterator }: OpenBody): Promise<Uint8Array> {
  const result = await iterator.next();
  if (result.done === true) throw new Error('the body ended early');
  if (!(result.value instanceof Uint8Array)) throw new TypeError('the body is not made of bytes');
  return result.value;
}

async function openBody(
  connection: S3Connection,
  { bucket, objectKey, key }: S3ReadTarget,
  range: ReadOptions['range'],
  etag: string | undefined,
  signal: AbortSignal | undefined,
): Promise<OpenBody> {
  const command = {
    Bucket: bucket,
    Key: objectKey,
    ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end ?? ''}` }),
    ...(etag === undefined ? {} : { IfMatch: etag }),
  };
  const output = await connection.request(
    (client, abortSignal) => client.send(new GetObjectCommand(command), { abortSignal }),
    { doing: `read ${key}`, key, signal, ...(range === undefined ? {} : { rangeStart: range.start }) },
  );
  return checkedBody(connection, key, range, output);
}

/** The server must say how much it sends, and send the range that was asked for: without that no end is a right end. */
function checkedBody(
  connection: S3Connection,
  key: string,
  range: ReadOptions['range'],
  { Body: body, ContentLength: length, ContentRange: contentRange, ETag: etag }: GetObjectCommandOutput,
): OpenBody {
  if (!(body instanceof Readable)) throw badAnswer(connection, key, 'without a body');
  // The iterator listens only from its first next() on; an error before that would end the process.
  body.on('error', () => undefined);
  const startsRight = range === undefined || contentRange?.startsWith(`bytes ${range.start}-`) === true;
  if (length === undefined || !startsRight) {
    body.destroy();
    throw badAnswer(connection, key, length === undefined ? 'without its length' : 'with another range');
  }
  return { iterator: body[Symbol.asyncIterator](), body, length, etag };
}

function badAnswer({ place }: S3Connection, key: string, how: string): LifeboatError {
  return new LifeboatError('failed', `Cannot read ${key} in ${place.location}: the server answered ${how}.`, {
    next: 'Run lifeboat doctor: this server does not keep to the S3 protocol.',
  });
}

function brokenOff(
  { place }: S3Connection,
  { key }: S3ReadTarget,
  missing: number,
  cause: unknown,
): LifeboatError {
  const why = cause instanceof Error ? cause.message : 'unknown';
  return new LifeboatError(
    'failed',
    `The object ${key} in ${place.location} broke off ${missing} bytes before its end (${why}).`,
    { next: 'Check the network to the storage, then run it again.' },
  );
}
