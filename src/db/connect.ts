import type { Socket } from 'node:net';
import type { Client } from 'pg';
import { LifeboatError } from '../errors.ts';
import { cancelQuery } from './cancel.ts';
import { connectTimeout, describeConnectError, mayTryOtherwise } from './connect-errors.ts';
import { describeDatabaseError } from './sqlstate.ts';
import { signIn } from './sign-in.ts';
import type { DatabaseTarget, TlsAttempt } from './target.ts';

/** Milliseconds that a cancel request and a goodbye may take before the socket is destroyed. */
const CANCEL_TIMEOUT_MS = 2000;
const GOODBYE_TIMEOUT_MS = 2000;

export interface ConnectOptions {
  /** Aborting cancels what the server is running for us, then destroys the connection, so that it rolls back. */
  readonly signal?: AbortSignal;
  /** Shown in pg_stat_activity; Postgres keeps 63 bytes. */
  readonly applicationName: string;
  readonly onNotice?: (message: string) => void;
  /** The connection died by itself; pending statements are rejected with the same error. Called at most once. */
  readonly onLost?: (error: LifeboatError) => void;
}

export interface OpenClient {
  readonly client: Client;
  /** Why the connection is gone, if it went by itself or was aborted. */
  lost(): LifeboatError | undefined;
  /** What a failed statement means: the loss or abort behind it, else the server's error for people. */
  explain(error: unknown): unknown;
  /** Says goodbye, or destroys the connection if something is running on it. Never rejects; may be called twice. */
  close(): Promise<void>;
}

/**
 * Runs `work` with one connection and closes it whatever happens. What `work` throws comes out as a LifeboatError if
 * it came from the server or the connection, unchanged otherwise.
 */
export async function withClient<T>(
  target: DatabaseTarget,
  options: ConnectOptions,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const open = await openClient(target, options);
  try {
    return await work(open.client);
  } catch (error) {
    throw open.explain(error);
  } finally {
    await open.close();
  }
}

/** A connection for an owner that outlives a function; prefer withClient. The owner must close it. */
export async function openClient(target: DatabaseTarget, options: ConnectOptions): Promise<OpenClient> {
  const { client, socket, attempt } = await connectInTime(target, options);
  return own(target, options, client, socket, attempt);
}

interface Connected {
  readonly client: Client;
  readonly socket: Socket;
  readonly attempt: TlsAttempt;
}

/** One deadline spans name look-up, TCP, TLS, sign-in and every fallback. */
async function connectInTime(target: DatabaseTarget, options: ConnectOptions): Promise<Connected> {
  const giveUp = new AbortController();
  const timer = setTimeout(() => {
    giveUp.abort(connectTimeout(target));
  }, target.connectTimeoutMs);
  const onAbort = (): void => {
    giveUp.abort(interruption(options.signal));
  };
  options.signal?.addEventListener('abort', onAbort, { once: true });
  if (options.signal?.aborted === true) onAbort();
  try {
    return await tryAll(target, options, giveUp.signal);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
  }
}

async function tryAll(
  target: DatabaseTarget,
  options: ConnectOptions,
  signal: AbortSignal,
): Promise<Connected> {
  let first: unknown;
  for (const attempt of target.tls) {
    try {
      return { ...(await signIn(target, attempt, options.applicationName, signal)), attempt };
    } catch (error) {
      // The first refusal is the one to tell: the fallback's only repeats it for a connection nobody asked for. But
      // "no TLS here" says nothing once the plain attempt behind it came further.
      if (first === undefined || !isServerRefusal(first)) first = error;
      if (signal.aborted || !mayTryOtherwise(error)) {
        first = error;
        break;
      }
    }
  }
  throw describeConnectError(signal.aborted ? signal.reason : first, target);
}

function isServerRefusal(error: unknown): boolean {
  return error instanceof Error && 'severity' in error;
}

function interruption(signal: AbortSignal | undefined): LifeboatError {
  const reason: unknown = signal?.reason;
  if (reason instanceof LifeboatError) return reason;
  return new LifeboatError(
    'interrupted',
    'Interrupted: the work on the database was cancelled and rolled back.',
    {
      next: 'Run the same command again; nothing needs to be cleaned up before.',
      cause: reason,
    },
  );
}

/** Watches a signed-in connection to its end. */
function own(
  target: DatabaseTarget,
  options: ConnectOptions,
  client: Client,
  socket: Socket,
  attempt: TlsAttempt,
): OpenClient {
  let lost: LifeboatError | undefined;
  let closing: Promise<void> | undefined;
  let cancelling: Promise<void> | undefined;

  const lose = (error: unknown): LifeboatError => {
    lost ??= error instanceof LifeboatError ? error : lostConnection(target, error);
    return lost;
  };
  // pg emits what reaches it outside a query (a shutdown, a reset); unheard it would end the process.
  client.on('error', (error: Error) => {
    if (closing !== undefined || lost !== undefined) return;
    const loss = lose(error);
    options.onLost?.(loss);
  });
  // A server that hangs up without a word: give pending statements a reason before pg invents one.
  socket.on('end', () => {
    if (closing === undefined) socket.destroy(lose(undefined));
  });
  if (options.onNotice) client.on('notice', (notice) => options.onNotice?.(notice.message ?? ''));

  const onAbort = (): void => {
    lose(interruption(options.signal));
    cancelling ??= cancelQuery(target, attempt, backendKey(client), CANCEL_TIMEOUT_MS).finally(() => {
      socket.destroy(lost);
    });
  };
  options.signal?.addEventListener('abort', onAbort, { once: true });
  if (options.signal?.aborted === true) onAbort();

  return {
    client,
    lost: () => lost,
    explain: (error) => {
      if (error instanceof LifeboatError && error.kind !== 'interrupted') return error;
      return lost ?? describeDatabaseError(error);
    },
    close: () =>
      (closing ??= (async () => {
        options.signal?.removeEventListener('abort', onAbort);
        await cancelling;
        await sayGoodbye(client, socket);
      })()),
  };
}

function lostConnection(target: DatabaseTarget, error: unknown): LifeboatError {
  const described = describeDatabaseError(error, target.name);
  if (described instanceof LifeboatError) return described;
  return new LifeboatError('failed', `The connection to the database ${target.name} was lost.`, {
    next: 'Nothing was committed after that. Check the server and the network, then run the command again.',
    details: { database: target.name },
    cause: error,
  });
}

async function sayGoodbye(client: Client, socket: Socket): Promise<void> {
  // A peer that is gone never answers the goodbye.
  const timer = setTimeout(() => socket.destroy(), GOODBYE_TIMEOUT_MS);
  await client.end().catch(() => undefined);
  clearTimeout(timer);
  socket.destroy();
}

function backendKey(client: Client): { readonly processId: number; readonly secretKey: number } {
  // Both come with every sign-in; @types/pg leaves them out.
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  return { processId: processID, secretKey };
}
