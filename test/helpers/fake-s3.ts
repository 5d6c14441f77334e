import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createFakeStore, type FakeStore, toXml } from './fake-s3-store.ts';
import { operations, type FakeAnswer, type Operation } from './fake-s3-operations.ts';

/** What goes wrong with the next `times` matching requests (1 when absent). */
export interface FakeFault {
  readonly operation?: Operation;
  readonly times?: number;
  readonly kind:
    | { readonly status: number; readonly code: string; readonly headers?: Readonly<Record<string, string>> }
    /** The socket is destroyed before the request is looked at. */
    | 'reset'
    /** The request is carried out, and the socket destroyed instead of answering. */
    | 'lose-answer'
    /** No answer, ever. */
    | 'hang'
    /** The answer's headers, this many bytes of its body, and a destroyed socket. */
    | { readonly cutAfter: number }
    /** The answer's headers, this many bytes of its body, and then silence. */
    | { readonly stallAfter: number }
    | { readonly slowBy: number }
    /** The answer of the operation, changed. */
    | { readonly rewrite: (answer: FakeAnswer) => FakeAnswer };
}

export interface FakeS3Options {
  /** Entries of a page of a listing. */
  readonly pageSize?: number;
  /** Account id that owns the bucket. */
  readonly owner?: string;
  /** False: a server that ignores If-None-Match, as some do. */
  readonly conditionalWrites?: boolean;
}

export interface FakeS3 {
  readonly url: string;
  readonly bucket: string;
  readonly store: FakeStore;
  /** Operations in the order of their requests. */
  readonly log: {
    readonly operation: Operation;
    readonly key: string;
    readonly headers: IncomingMessage['headers'];
  }[];
  /** Requests that this fake does not know and answered with 501: a test that causes one proves nothing. */
  readonly refused: string[];
  /** Faults still waiting for their request. */
  readonly faults: FakeFault[];
  close(): Promise<void>;
}

/** A server of the few S3 requests that the driver sends, path style, one bucket. Signatures are not checked. */
export async function startFakeS3(options: FakeS3Options = {}): Promise<FakeS3> {
  const store = await createFakeStore();
  const bucket = 'test-bucket';
  const log: FakeS3['log'] = [];
  const refused: string[] = [];
  const faults: FakeFault[] = [];
  const handlers = operations(store, {
    pageSize: 1000,
    owner: '111111111111',
    conditionalWrites: true,
    ...options,
  });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://fake');
    const [, bucketName = '', rawKey = ''] = /^\/([^/]*)\/?(.*)$/.exec(url.pathname) ?? [];
    const key = decodeURIComponent(rawKey);
    const operation = handlers.recognise(request, url, key);
    if (operation === undefined) {
      refused.push(`${request.method} ${request.url}`);
      return send(response, handlers.error(501, 'NotImplemented', `The fake does not know ${request.url}.`));
    }
    log.push({ operation, key, headers: request.headers });
    const fault = takeFault(faults, operation);
    if (fault === 'reset') return void request.socket.destroy();
    if (fault === 'hang') return;
    if (typeof fault === 'object' && 'status' in fault) {
      request.resume();
      return send(response, handlers.error(fault.status, fault.code, 'A fault of the test.', fault.headers));
    }
    const answer =
      bucketName === bucket
        ? await handlers.answer({ operation, request, url, key })
        : handlers.error(404, 'NoSuchBucket', 'The specified bucket does not exist');
    if (fault === 'lose-answer') return void request.socket.destroy();
    await answerWith(response, answer, fault);
  };

  const server = createServer((request, response) => {
    handle(request, response).catch((thrown: unknown) => {
      if (!request.socket.destroyed) console.error('fake S3:', thrown);
      request.socket.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    bucket,
    store,
    log,
    refused,
    faults,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await store.close();
    },
  };
}

function takeFault(faults: FakeFault[], operation: Operation): FakeFault['kind'] | undefined {
  const index = faults.findIndex((fault) => fault.operation === undefined || fault.operation === operation);
  const fault = faults[index];
  if (fault === undefined) return undefined;
  const times = (fault.times ?? 1) - 1;
  if (times > 0) faults[index] = { ...fault, times };
  else faults.splice(index, 1);
  return fault.kind;
}

async function answerWith(
  response: ServerResponse,
  answer: FakeAnswer,
  fault: FakeFault['kind'] | undefined,
): Promise<void> {
  if (typeof fault !== 'object') return send(response, answer);
  if ('slowBy' in fault) await sleep(fault.slowBy);
  if ('rewrite' in fault) return send(response, fault.rewrite(answer));
  if ('cutAfter' in fault) return sendPart(response, answer, fault.cutAfter, true);
  if ('stallAfter' in fault) return sendPart(response, answer, fault.stallAfter, false);
  return send(response, answer);
}

async function send(response: ServerResponse, { status, headers, body }: FakeAnswer): Promise<void> {
  response.writeHead(status, { 'x-amz-request-id': 'fake', ...headers });
  if (body === undefined) return void response.end();
  // A client that leaves in the middle is its own business; the fake must not mind.
  if (isChunks(body)) return pipeline(body, response).catch(() => undefined);
  response.end(`<?xml version="1.0" encoding="UTF-8"?>${toXml(body)}`);
}

async function sendPart(
  response: ServerResponse,
  answer: FakeAnswer,
  bytes: number,
  cut: boolean,
): Promise<void> {
  response.writeHead(answer.status, answer.headers);
  response.flushHeaders();
  let left = bytes;
  if (answer.body !== undefined && isChunks(answer.body)) {
    for await (const chunk of answer.body) {
      response.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left <= 0) break;
    }
  }
  // The client must get these bytes before the end of the connection, or it would see a reset without a body.
  await sleep(50);
  if (cut) response.destroy();
}

function isChunks(body: NonNullable<FakeAnswer['body']>): body is AsyncGenerator<Buffer, void, undefined> {
  return typeof body === 'object' && Symbol.asyncIterator in body;
}
