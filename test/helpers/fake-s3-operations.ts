import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import {
  type FakeObject,
  type FakeStore,
  type FakeUpload,
  type StoredBlob,
  textsOf,
  type Xml,
} from './fake-s3-store.ts';

export type Operation =
  | 'PutObject'
  | 'GetObject'
  | 'HeadObject'
  | 'ListObjectsV2'
  | 'DeleteObjects'
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListMultipartUploads';

/** Method and the query parameters that make the operation; every other parameter must be in `also`. */
const OPERATIONS: Readonly<
  Record<
    Operation,
    { method: string; on: 'bucket' | 'key'; query: readonly string[]; also?: readonly string[] }
  >
> = {
  PutObject: { method: 'PUT', on: 'key', query: [] },
  GetObject: { method: 'GET', on: 'key', query: [] },
  HeadObject: { method: 'HEAD', on: 'key', query: [] },
  ListObjectsV2: {
    method: 'GET',
    on: 'bucket',
    query: ['list-type'],
    also: ['prefix', 'continuation-token'],
  },
  DeleteObjects: { method: 'POST', on: 'bucket', query: ['delete'] },
  CreateMultipartUpload: { method: 'POST', on: 'key', query: ['uploads'] },
  UploadPart: { method: 'PUT', on: 'key', query: ['partNumber', 'uploadId'] },
  CompleteMultipartUpload: { method: 'POST', on: 'key', query: ['uploadId'] },
  AbortMultipartUpload: { method: 'DELETE', on: 'key', query: ['uploadId'] },
  ListMultipartUploads: {
    method: 'GET',
    on: 'bucket',
    query: ['uploads'],
    also: ['prefix', 'key-marker', 'upload-id-marker'],
  },
};
const HEADERS =
  /^x-amz-(content-sha256|date|user-agent|checksum-(crc32|algorithm|mode|type)|sdk-checksum-algorithm|meta-.*|expected-bucket-owner|server-side-encryption.*|storage-class|security-token)$/;
const ECHOED = /^x-amz-(meta-.*|server-side-encryption.*|storage-class)$/;
const MIN_PART = 5 * 1024 * 1024;

export interface FakeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body?: Xml | AsyncGenerator<Buffer, void, undefined>;
}

export interface FakeRequest {
  readonly operation: Operation;
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly key: string;
}

interface Settings {
  readonly pageSize: number;
  readonly owner: string;
  readonly conditionalWrites: boolean;
}

export interface FakeOperations {
  recognise(request: IncomingMessage, url: URL, key: string): Operation | undefined;
  answer(request: FakeRequest): Promise<FakeAnswer>;
  error(
    status: number,
    code: string,
    message: string,
    headers?: Readonly<Record<string, string>>,
  ): FakeAnswer;
}

export function operations(store: FakeStore, settings: Settings): FakeOperations {
  const handlers: Readonly<Record<Operation, (request: FakeRequest) => Promise<FakeAnswer> | FakeAnswer>> = {
    PutObject: (call) => putObject(store, settings, call),
    GetObject: (call) => getObject(store, call),
    HeadObject: (call) => getObject(store, call),
    ListObjectsV2: (call) => listObjects(store, settings, call),
    DeleteObjects: (call) => deleteObjects(store, call),
    CreateMultipartUpload: (call) => createUpload(store, call),
    UploadPart: (call) => uploadPart(store, call),
    CompleteMultipartUpload: (call) => completeUpload(store, settings, call),
    AbortMultipartUpload: (call) => abortUpload(store, call),
    ListMultipartUploads: (call) => listUploads(store, settings, call),
  };
  return {
    recognise,
    error,
    async answer(call) {
      const owner = call.request.headers['x-amz-expected-bucket-owner'];
      if (owner !== undefined && owner !== settings.owner) return error(403, 'AccessDenied', 'Access Denied');
      if (call.request.headers.authorization === undefined) return error(403, 'AccessDenied', 'Anonymous');
      return handlers[call.operation](call);
    },
  };
}

function recognise(request: IncomingMessage, url: URL, key: string): Operation | undefined {
  const strange = Object.keys(request.headers).some(
    (name) => name.startsWith('x-amz-') && !HEADERS.test(name),
  );
  if (strange || request.headers['content-encoding'] !== undefined) return undefined;
  const names = [...url.searchParams.keys()].filter((name) => name !== 'x-id');
  const found = Object.entries(OPERATIONS).find(
    ([, { method, on, query, also = [] }]) =>
      method === request.method &&
      (on === 'key') === (key !== '') &&
      query.every((name) => names.includes(name)) &&
      names.every((name) => query.includes(name) || also.includes(name)),
  );
  return found?.[0] as Operation | undefined;
}

function error(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): FakeAnswer {
  return { status, headers, body: { Error: { Code: code, Message: message, RequestId: 'fake' } } };
}

async function savedBody(store: FakeStore, request: IncomingMessage): Promise<StoredBlob | FakeAnswer> {
  const blob = await store.saveBody(request);
  const sum = request.headers['x-amz-checksum-crc32'];
  if (sum === undefined) return error(400, 'InvalidRequest', 'The fake wants a CRC32.');
  return sum === blob.crc32 ? blob : error(400, 'BadDigest', 'The CRC32 does not match.');
}

async function putObject(
  store: FakeStore,
  settings: Settings,
  { request, key }: FakeRequest,
): Promise<FakeAnswer> {
  const blob = await savedBody(store, request);
  if ('status' in blob) return blob;
  return (
    storeObject(store, settings, request, key, [blob], blob.etag, echoed(request)) ?? {
      status: 200,
      headers: { etag: blob.etag },
    }
  );
}

/** The check and the insertion in one turn of the event loop: this is what makes If-None-Match atomic here. */
function storeObject(
  store: FakeStore,
  settings: Settings,
  request: IncomingMessage,
  key: string,
  blobs: readonly StoredBlob[],
  etag: string,
  headers: Readonly<Record<string, string>>,
): FakeAnswer | undefined {
  if (settings.conditionalWrites && request.headers['if-none-match'] === '*' && store.objects.has(key)) {
    return error(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');
  }
  const bytes = blobs.reduce((sum, blob) => sum + blob.bytes, 0);
  store.objects.set(key, { blobs, bytes, etag, modified: new Date(), headers });
  return undefined;
}

function echoed(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.headers).filter(
      (entry): entry is [string, string] => ECHOED.test(entry[0]) && typeof entry[1] === 'string',
    ),
  );
}

function getObject(store: FakeStore, { request, key, operation }: FakeRequest): FakeAnswer {
  const object = store.objects.get(key);
  if (object === undefined) {
    return operation === 'HeadObject'
      ? { status: 404, headers: {} }
      : error(404, 'NoSuchKey', 'The specified key does not exist.');
  }
  const match = request.headers['if-match'];
  if (match !== undefined && match !== object.etag) return error(412, 'PreconditionFailed', 'Replaced.');
  const range = rangeOf(request.headers.range, object);
  if (range === undefined) return error(416, 'InvalidRange', 'The requested range is not satisfiable');
  const { start, end } = range;
  const partial =
    request.headers.range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${object.bytes}` };
  return {
    status: request.headers.range === undefined ? 200 : 206,
    headers: {
      ...object.headers,
      ...partial,
      'content-length': end - start + 1,
      'last-modified': object.modified.toUTCString(),
      etag: object.etag,
    },
    ...(operation === 'HeadObject' ? {} : { body: store.stream(object, start, end - start + 1) }),
  };
}

function rangeOf(
  header: string | undefined,
  { bytes }: FakeObject,
): { start: number; end: number } | undefined {
  if (header === undefined) return { start: 0, end: bytes - 1 };
  const [, from = '', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(header) ?? [];
  const start = Number(from);
  const end = to === '' ? bytes - 1 : Math.min(Number(to), bytes - 1);
  return from === '' || start >= bytes || start > end ? undefined : { start, end };
}

function listObjects(store: FakeStore, { pageSize }: Settings, { url }: FakeRequest): FakeAnswer {
  const prefix = url.searchParams.get('prefix') ?? '';
  const after = Buffer.from(url.searchParams.get('continuation-token') ?? '', 'base64');
  const keys = [...store.objects.keys()]
    .filter((key) => key.startsWith(prefix) && Buffer.compare(Buffer.from(key), after) > 0)
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const page = keys.slice(0, pageSize);
  const truncated = keys.length > page.length;
  const body: Xml = {
    ListBucketResult: {
      Prefix: prefix,
      KeyCount: page.length,
      MaxKeys: pageSize,
      IsTruncated: truncated,
      Contents: page.map((key) => {
        const object = store.objects.get(key);
        return {
          Key: key,
          Size: object?.bytes ?? 0,
          LastModified: object?.modified.toISOString() ?? '',
          ETag: object?.etag ?? '',
        };
      }),
      ...(truncated ? { NextContinuationToken: Buffer.from(page.at(-1) ?? '').toString('base64') } : {}),
    },
  };
  return { status: 200, headers: {}, body };
}

async function deleteObjects(store: FakeStore, { request }: FakeRequest): Promise<FakeAnswer> {
  if (request.headers['x-amz-checksum-crc32'] === undefined && request.headers['content-md5'] === undefined) {
    return error(400, 'InvalidRequest', 'Missing required header for this request: Content-MD5');
  }
  const keys = textsOf((await buffer(request)).toString(), 'Key');
  if (keys.length > 1000) return error(400, 'MalformedXML', 'More than 1000 keys.');
  for (const key of keys) store.objects.delete(key);
  return { status: 200, headers: {}, body: { DeleteResult: {} } };
}

function createUpload(store: FakeStore, { request, key }: FakeRequest): FakeAnswer {
  const id = randomUUID();
  store.uploads.set(id, { id, key, initiated: new Date(), headers: echoed(request), parts: new Map() });
  return { status: 200, headers: {}, body: { InitiateMultipartUploadResult: { Key: key, UploadId: id } } };
}

function uploadOf(store: FakeStore, { url, key }: FakeRequest): FakeUpload | FakeAnswer {
  const upload = store.uploads.get(url.searchParams.get('uploadId') ?? '');
  return upload?.key === key
    ? upload
    : error(404, 'NoSuchUpload', 'The specified multipart upload does not exist.');
}

async function uploadPart(store: FakeStore, call: FakeRequest): Promise<FakeAnswer> {
  const blob = await savedBody(store, call.request);
  if ('status' in blob) return blob;
  const upload = uploadOf(store, call);
  if ('status' in upload) return upload;
  upload.parts.set(Number(call.url.searchParams.get('partNumber')), blob);
  return { status: 200, headers: { etag: blob.etag, 'x-amz-checksum-crc32': blob.crc32 } };
}

async function completeUpload(store: FakeStore, settings: Settings, call: FakeRequest): Promise<FakeAnswer> {
  const document = (await buffer(call.request)).toString();
  const upload = uploadOf(store, call);
  if ('status' in upload) return upload;
  const numbers = textsOf(document, 'PartNumber').map(Number);
  const etags = textsOf(document, 'ETag');
  const blobs = numbers.map((number) => upload.parts.get(number));
  if (!blobs.every((blob, index): blob is StoredBlob => blob !== undefined && blob.etag === etags[index])) {
    return error(400, 'InvalidPart', 'A part is missing or another.');
  }
  if (numbers.some((number, index) => index > 0 && number <= (numbers[index - 1] ?? 0))) {
    return error(400, 'InvalidPartOrder', 'The parts are not in order.');
  }
  if (blobs.slice(0, -1).some(({ bytes }) => bytes < MIN_PART)) {
    return error(400, 'EntityTooSmall', 'A part is too small.');
  }
  const etag = `"${upload.id}-${blobs.length}"`;
  const refusal = storeObject(store, settings, call.request, call.key, blobs, etag, upload.headers);
  if (refusal !== undefined) return refusal;
  store.uploads.delete(upload.id);
  return { status: 200, headers: {}, body: { CompleteMultipartUploadResult: { Key: call.key, ETag: etag } } };
}

function abortUpload(store: FakeStore, call: FakeRequest): FakeAnswer {
  const upload = uploadOf(store, call);
  if ('status' in upload) return upload;
  store.uploads.delete(upload.id);
  return { status: 204, headers: {} };
}

function listUploads(store: FakeStore, { pageSize }: Settings, { url }: FakeRequest): FakeAnswer {
  const markers = [url.searchParams.get('key-marker') ?? '', url.searchParams.get('upload-id-marker') ?? ''];
  const position = ({ key, id }: FakeUpload): string => `${key}\n${id}`;
  const uploads = [...store.uploads.values()]
    .filter(({ key }) => key.startsWith(url.searchParams.get('prefix') ?? ''))
    .filter((upload) => position(upload) > markers.join('\n') || markers[0] === '')
    .sort((a, b) => (position(a) < position(b) ? -1 : 1));
  const page = uploads.slice(0, pageSize);
  const last = page.at(-1);
  const body: Xml = {
    ListMultipartUploadsResult: {
      IsTruncated: uploads.length > page.length,
      Upload: page.map(({ key, id, initiated }) => ({
        Key: key,
        UploadId: id,
        Initiated: initiated.toISOString(),
      })),
      ...(uploads.length > page.length && last
        ? { NextKeyMarker: last.key, NextUploadIdMarker: last.id }
        : {}),
    },
  };
  return { status: 200, headers: {}, body };
}
