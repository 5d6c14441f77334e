import type { IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http';
import type * as Http from 'node:http';
import { toError } from '../errors.ts';
import { interruption, RestError } from './errors.ts';

export interface ExchangeRequest {
  /** Scheme, host and port; its path is not used. */
  readonly origin: URL;
  readonly method: string;
  /** With its query, as it goes over the wire: URL would normalise what is percent-encoded on purpose. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** On a fresh connection: a kept one may be closing, and then nobody knows whether the request arrived. */
  readonly once?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface ExchangeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly bytes: number;
}

export interface ExchangeOptions {
  /** For messages. */
  readonly name: string;
  /** Milliseconds until there is a connection. */
  readonly connectMs?: number;
  /** Milliseconds of silence on it. */
  readonly silenceMs?: number;
  /** A longer answer is cut off. */
  readonly answerBytes?: number;
}

/** One HTTP request, one answer. Throws RestError, or the reason of the signal. */
export interface Exchange {
  send(request: ExchangeRequest): Promise<ExchangeAnswer>;
  close(): void;
}

/** With a second try within the window of the first, a dead server is an error within 30 s. */
const CONNECT_TIMEOUT = 8_000;
/** Airflow counts large tables for a page's total_entries; MWAA gives up after 10 s by itself. */
const SILENCE_TIMEOUT = 25_000;
/** A page of rows is a few hundred kB; a server that sends this is no Airflow. */
const ANSWER_BYTES = 256 * 1024 * 1024;

/** Not fetch: it hides whether a request was sent, which decides whether it may be sent again. */
export async function createExchange(options: ExchangeOptions): Promise<Exchange> {
  const http = await import('node:http');
  const https = await import('node:https');
  const kept = {
    'http:': new http.Agent({ keepAlive: true }),
    'https:': new https.Agent({ keepAlive: true }),
  };
  return {
    send: (request) => {
      const secure = request.origin.protocol === 'https:';
      const start = secure ? https.request : http.request;
      return exchange(
        start,
        request.once === true ? false : kept[secure ? 'https:' : 'http:'],
        request,
        options,
      );
    },
    close: () => {
      for (const agent of Object.values(kept)) agent.destroy();
    },
  };
}

async function exchange(
  start: typeof Http.request,
  agent: RequestOptions['agent'],
  request: ExchangeRequest,
  options: ExchangeOptions,
): Promise<ExchangeAnswer> {
  const { origin, method, path, body, signal } = request;
  if (signal?.aborted === true) throw interruption(signal);
  return new Promise((resolve, reject) => {
    const headers = {
      ...request.headers,
      ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
    };
    const sent = start({
      protocol: origin.protocol,
      // URL keeps the brackets of an IPv6 address, and the resolver does not know them.
      hostname: origin.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: origin.port,
      method,
      path,
      headers,
      ...(agent === undefined ? {} : { agent }),
    });
    let connected = false;
    let timer: NodeJS.Timeout | undefined;
    let silence: Error | undefined;
    const wait = (milliseconds: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        silence = new Error(`no answer within ${milliseconds / 1000} s`);
        sent.destroy(silence);
      }, milliseconds);
    };
    const onAbort = (): void => {
      if (signal !== undefined) sent.destroy(interruption(signal));
    };
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    const fail = (thrown: unknown): void => {
      end();
      sent.destroy();
      // In the middle of a body Node tells of a cut connection, whoever cut it.
      const why = silence ?? thrown;
      reject(signal?.aborted === true ? interruption(signal) : failure(why, connected, request, options));
    };
    wait(options.connectMs ?? CONNECT_TIMEOUT);
    signal?.addEventListener('abort', onAbort, { once: true });
    sent.on('socket', (socket) => {
      const onConnect = (): void => {
        connected = true;
        wait(options.silenceMs ?? SILENCE_TIMEOUT);
      };
      if (!socket.connecting && sent.reusedSocket) onConnect();
      // Of TLS the handshake counts: before it nothing of the request is sent.
      else socket.once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', onConnect);
    });
    sent.on('error', fail);
    sent.on('response', (response) => {
      read(response, options, () => {
        wait(options.silenceMs ?? SILENCE_TIMEOUT);
      }).then((answer) => {
        end();
        resolve(answer);
      }, fail);
    });
    sent.end(body);
  });
}

async function read(
  response: IncomingMessage,
  { name, answerBytes = ANSWER_BYTES }: ExchangeOptions,
  onBytes: () => void,
): Promise<ExchangeAnswer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    onBytes();
    bytes += chunk.length;
    if (bytes > answerBytes) {
      throw new RestError(`The answer of ${name} is longer than ${answerBytes} bytes.`, {
        code: 'too-large',
      });
    }
    chunks.push(chunk);
  }
  // A connection that was cut ends the stream without an error when the answer has no length.
  if (!response.complete) throw new Error('the connection was cut');
  const text = Buffer.concat(chunks).toString('utf8');
  return { status: response.statusCode ?? 0, headers: response.headers, text, bytes };
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  ENOTFOUND: 'its host is not known',
  EAI_AGAIN: 'the name server does not answer',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to it',
  ETIMEDOUT: 'it does not answer',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by nobody known',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is signed by nobody known',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is signed by nobody known',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is signed by nobody known',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
};

function failure(
  thrown: unknown,
  connected: boolean,
  { method, origin }: ExchangeRequest,
  { name }: ExchangeOptions,
): RestError {
  if (thrown instanceof RestError) return thrown;
  const error = toError(thrown) as Error & { code?: unknown };
  const code = typeof error.code === 'string' ? error.code : '';
  const certificate = /CERT|VERIFY|TLS/.test(code);
  const why = REASONS[code] ?? (code === '' ? error.message : code);
  const next = certificate
    ? 'Name the file of its certificate authority in NODE_EXTRA_CA_CERTS.'
    : `Check that ${origin.protocol}//${origin.host} is Airflow’s web server and that it is reached from here.`;
  return new RestError(
    connected
      ? `The answer of ${name} to ${method} did not come: ${why}.`
      : `${name} is not reached: ${why}.`,
    {
      code: connected ? 'no-answer' : 'unreachable',
      transient: !certificate && code !== 'ENOTFOUND',
      next,
      details: { cause: code },
      cause: error,
    },
  );
}
