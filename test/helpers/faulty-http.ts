import { once } from 'node:events';
import { createServer, request as startRequest } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type HttpFault = 'throttled' | 'failing' | 'unavailable' | 'slow' | 'cut' | 'lost';

export interface FaultyHttp {
  readonly url: string;
  /** How often each fault has been met. */
  readonly faults: Readonly<Record<HttpFault, number>>;
  close(): Promise<void>;
}

/** Which request meets what, by its number: primes, so that the next try of one meets nothing. */
const EVERY: Readonly<Record<HttpFault, number>> = {
  throttled: 7,
  failing: 11,
  unavailable: 13,
  slow: 17,
  cut: 19,
  lost: 23,
};
const REFUSED: Readonly<Partial<Record<HttpFault, number>>> = {
  throttled: 429,
  failing: 500,
  unavailable: 503,
};
const SLOW_MS = 1000;

/**
 * In front of a server that works: some requests are answered 429, 500 or 503 and never arrive, some answers come late, end
 * in the middle, or are lost after the server has done what it was asked.
 */
export async function startFaultyHttp(target: string): Promise<FaultyHttp> {
  const faults = { throttled: 0, failing: 0, unavailable: 0, slow: 0, cut: 0, lost: 0 };
  let requests = 0;
  const server = createServer((asked, answer) => {
    requests += 1;
    const fault = (Object.keys(EVERY) as HttpFault[]).find((name) => requests % EVERY[name] === 0);
    if (fault !== undefined) faults[fault] += 1;
    serve(target, asked, answer, fault).catch(() => asked.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function serve(
  target: string,
  asked: IncomingMessage,
  answer: ServerResponse,
  fault: HttpFault | undefined,
): Promise<void> {
  const body = await bytesOf(asked);
  const status = fault === undefined ? undefined : REFUSED[fault];
  if (status !== undefined) {
    answer.writeHead(status, { 'content-type': 'application/json', 'retry-after': '1' });
    answer.end(JSON.stringify({ detail: `A fault of the test: ${status}` }));
    return;
  }
  const sent = startRequest(`${target}${asked.url ?? '/'}`, { method: asked.method, headers: asked.headers });
  sent.end(body);
  const [given] = (await once(sent, 'response')) as [IncomingMessage];
  const whole = await bytesOf(given);
  if (fault === 'lost') {
    asked.socket.destroy();
    return;
  }
  if (fault === 'slow') await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  const headers = { ...given.headers, 'content-length': String(whole.length) };
  delete headers['transfer-encoding'];
  answer.writeHead(given.statusCode ?? 502, headers);
  if (fault === 'cut') {
    answer.write(whole.subarray(0, Math.floor(whole.length / 2)), () => asked.socket.destroy());
  } else answer.end(whole);
}

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
