import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { toError } from '../errors.ts';
import { connectTapped } from './byte-tap.ts';
import type { DatabaseTarget, TlsAttempt } from './target.ts';

/** Seconds of silence before the kernel asks the other side whether it is still there. */
const KEEPALIVE_IDLE_MS = 10_000;
/** SSLRequest: its length and 80877103 (PostgreSQL protocol 3.0, "Message Formats"). */
const SSL_REQUEST: Buffer = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const ANSWER_TLS = 0x53; // 'S'
const ANSWER_PLAIN = 0x4e; // 'N'

/** How far a connection came before it failed: libpq's fallbacks depend on it, and so does what to tell. */
export type DialPhase = 'connect' | 'negotiate' | 'no-tls' | 'handshake';

export class DialError extends Error {
  readonly phase: DialPhase;
  /** The system's or OpenSSL's error code, where there is one. */
  readonly code: string | undefined;

  constructor(phase: DialPhase, cause: Error) {
    super(cause.message, { cause });
    this.name = 'DialError';
    this.phase = phase;
    this.code = 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
  }
}

function isSocketDirectory(host: string): boolean {
  return host.startsWith('/');
}

/**
 * An open socket to the server with TLS negotiated or not, before the first message of the Postgres protocol. Aborting
 * the signal destroys it and throws the signal's reason; the caller owns the socket afterwards.
 */
export async function dial(
  target: DatabaseTarget,
  attempt: TlsAttempt,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted();
  const socket = openSocket(target);
  // Until it is handed over, and after it was given up, nobody else listens: an unheard error ends the process.
  socket.on('error', () => undefined);
  try {
    await arrival(socket, socket, 'connect', 'connect', signal);
    if (attempt === false || isSocketDirectory(target.host)) return socket;
    await requestTls(socket, signal);
    return await startTls(socket, attempt, signal);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function openSocket(target: DatabaseTarget): Socket {
  if (isSocketDirectory(target.host)) {
    return connectTapped({ path: `${target.host}/.s.PGSQL.${target.port}` });
  }
  return connectTapped({
    host: target.host,
    port: target.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_IDLE_MS,
    // Node gives each address of a name 250 ms and never comes back to it: too little for another continent.
    autoSelectFamilyAttemptTimeout: Math.max(250, Math.floor(target.connectTimeoutMs / 3)),
  });
}

async function requestTls(socket: Socket, signal: AbortSignal): Promise<void> {
  socket.write(SSL_REQUEST);
  await arrival(socket, socket, 'readable', 'negotiate', signal);
  const answer = socket.read() as Buffer | null;
  if (answer?.[0] === ANSWER_PLAIN) {
    throw new DialError('no-tls', new Error('The server does not offer TLS.'));
  }
  // Bytes behind the S were sent in clear and would be taken for encrypted ones (CVE-2021-23222).
  if (answer?.[0] !== ANSWER_TLS || answer.length > 1) {
    throw new DialError('negotiate', new Error('The answer to the request for TLS is not one of Postgres.'));
  }
}

async function startTls(socket: Socket, options: ConnectionOptions, signal: AbortSignal): Promise<TLSSocket> {
  let secure: TLSSocket;
  try {
    secure = connectTls({ ...options, socket });
  } catch (error) {
    // A certificate or key that OpenSSL cannot read throws here.
    throw new DialError('handshake', toError(error));
  }
  secure.on('error', () => undefined);
  await arrival(secure, socket, 'secureConnect', 'handshake', signal);
  return secure;
}

/** Resolves at the event; an error, an end or an abort before it rejects. */
function arrival(
  socket: Socket,
  raw: Socket,
  event: 'connect' | 'readable' | 'secureConnect',
  phase: DialPhase,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => (): void => {
      socket.off(event, onArrival).off('error', onError).off('close', onClose).off('end', onClose);
      signal.removeEventListener('abort', onAbort);
      finish();
    };
    const onArrival = settle(resolve);
    const onError = (error: Error): void => {
      settle(() => {
        reject(new DialError(phase, error));
      })();
    };
    const onClose = settle(() => {
      reject(new DialError(phase, new Error('The other side closed the connection.')));
    });
    const onAbort = settle(() => {
      socket.destroy();
      raw.destroy();
      reject(toError(signal.reason));
    });
    socket.once(event, onArrival).once('error', onError).once('close', onClose).once('end', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
