import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import type { Client } from 'pg';
import { LifeboatError, toError } from '../errors.ts';
import { isDatabaseError } from './sqlstate.ts';
import { withClient } from './connect.ts';
import type { DatabaseTarget } from './target.ts';

const DEFAULT_STALL_MS = 20_000;
/** Connecting for the question may take this long, twice, before the server counts as unreachable. */
const PROBE_TIMEOUT_MS = 5000;
/** An answer that left the server while it was asked gets this long to arrive, or stallMs if that is less. */
const GRACE_MS = 1000;

/** The server process behind a session: the process id alone may have been given to another one since. */
export interface Backend {
  readonly pid: number;
  /** backend_start, as text. */
  readonly startedAt: string;
}

export interface StallOptions {
  readonly backend: Backend;
  /** Milliseconds without a byte in either direction before the server is asked. Default 20 s. */
  readonly stallMs?: number;
  readonly onStalled?: (error: LifeboatError) => void;
}

export interface StallWatch {
  stop(): void;
}

/**
 * Which server process runs our transaction. Behind a pooler it is not the one that signed us in, so it is asked inside
 * the transaction that is to be watched.
 */
export async function readBackend(client: Client): Promise<Backend> {
  const { rows } = await client.query<{ pid: number; started: string }>(
    `SELECT pid, backend_start::text AS started FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()`,
  );
  const row = rows[0];
  if (row === undefined) {
    throw new LifeboatError('failed', 'The server does not show the session in pg_stat_activity.');
  }
  return { pid: row.pid, startedAt: row.started };
}

/**
 * Ends a connection whose other end is gone although TCP still looks alive: a proxy, a NAT or a failed-over load
 * balancer that acknowledges everything and passes nothing on. When a statement runs and no byte has moved for
 * `stallMs`, the server is asked over a second connection what our process does. If it is gone, or waits for us while
 * we wait for it, or the server cannot be reached, the client is destroyed with a LifeboatError, which every pending
 * statement gets. A long statement, a lock wait, a slow disk or a slow consumer of a COPY is left alone.
 */
export function watchStall(client: Client, target: DatabaseTarget, options: StallOptions): StallWatch {
  const stallMs = options.stallMs ?? DEFAULT_STALL_MS;
  const socket = client.connection.stream as unknown as Socket;
  const stopped = new AbortController();
  let seen = traffic(socket);
  let asking = false;

  const check = async (): Promise<void> => {
    const before = traffic(socket);
    if (before !== seen || !waitsForServer(client, socket)) {
      seen = before;
      return;
    }
    const verdict = await judge({
      client,
      socket,
      target,
      backend: options.backend,
      stallMs,
      signal: stopped.signal,
    });
    if (verdict === undefined || traffic(socket) !== before || stopped.signal.aborted || socket.destroyed) {
      return;
    }
    const error = stalled(target, verdict);
    socket.destroy(error);
    options.onStalled?.(error);
    await endBackend(target, options.backend);
  };
  const timer = setInterval(() => {
    if (asking || socket.destroyed) return;
    asking = true;
    void check()
      .catch(() => undefined)
      .finally(() => {
        asking = false;
      });
  }, stallMs);
  timer.unref();
  return {
    stop: () => {
      clearInterval(timer);
      stopped.abort();
    },
  };
}

function traffic(socket: Socket): number {
  return socket.bytesRead + socket.bytesWritten;
}

/** Whether it is the server's turn. A reader that paused the socket, or a COPY whose rows are late, is our own turn. */
function waitsForServer(client: Client, socket: Socket): boolean {
  // pg's own field: the public getter warns of its end. The test of the watchdog fails if it is renamed.
  const { _activeQuery: query } = client as unknown as { readonly _activeQuery: unknown };
  if (query === null || query === undefined) return false;
  if (socket.writableLength > 0) return true;
  if (query instanceof Writable) return query.writableEnded;
  const readByHand = socket.listenerCount('readable') > 0;
  return readByHand ? socket.readableLength === 0 : !socket.isPaused();
}

type Verdict = 'gone' | 'waits' | 'unreachable' | undefined;

interface Suspect {
  readonly client: Client;
  readonly socket: Socket;
  readonly target: DatabaseTarget;
  readonly backend: Backend;
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

async function judge(suspect: Suspect): Promise<Verdict> {
  const { client, socket, target, backend, signal } = suspect;
  const before = traffic(socket);
  for (let attempt = 1; ; attempt++) {
    try {
      const verdict = await askServer(target, backend, signal);
      if (verdict === undefined) return undefined;
      await pause(Math.min(GRACE_MS, suspect.stallMs), signal);
      return traffic(socket) === before && waitsForServer(client, socket) ? verdict : undefined;
    } catch (error) {
      // A server that answers, if only to refuse us, is there: nothing is known about our process then.
      if (signal.aborted || answered(error)) return undefined;
      if (attempt === 2) return 'unreachable';
    }
  }
}

async function askServer(target: DatabaseTarget, backend: Backend, signal: AbortSignal): Promise<Verdict> {
  const options = { signal, applicationName: 'lifeboat watchdog' };
  return withClient(probeTarget(target), options, async (probe) => {
    const { rows } = await probe.query<{ state: string | null; wait: string | null }>(
      `SELECT state, wait_event AS wait FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND backend_start::text = $2`,
      [backend.pid, backend.startedAt],
    );
    const row = rows[0];
    if (row === undefined) return 'gone';
    // Null: this role may not see what the session does.
    if (row.state === null) return undefined;
    return row.state !== 'active' || row.wait === 'ClientRead' || row.wait === 'ClientWrite'
      ? 'waits'
      : undefined;
  });
}

function probeTarget(target: DatabaseTarget): DatabaseTarget {
  return { ...target, connectTimeoutMs: Math.min(target.connectTimeoutMs, PROBE_TIMEOUT_MS) };
}

function answered(error: unknown): boolean {
  return error instanceof LifeboatError && (isDatabaseError(error.cause) || 'sqlstate' in error.details);
}

function stalled(target: DatabaseTarget, verdict: Exclude<Verdict, undefined>): LifeboatError {
  const why = {
    gone: 'the server ended the session without our hearing of it',
    waits: 'the server waits for us while we wait for it',
    unreachable: 'nothing arrives any more, and the server cannot be reached',
  };
  return new LifeboatError(
    'failed',
    `The connection to the database ${target.name} is dead: ${why[verdict]}.`,
    {
      next: 'Check the network and any proxy in between, then run the command again: nothing of this one was committed.',
      details: { database: target.name, stalled: verdict },
    },
  );
}

/** Frees the locks of the orphaned session at once instead of after the server's own keepalive. Best effort. */
async function endBackend(target: DatabaseTarget, backend: Backend): Promise<void> {
  await withClient(probeTarget(target), { applicationName: 'lifeboat watchdog' }, (probe) =>
    probe.query(
      `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND backend_start::text = $2`,
      [backend.pid, backend.startedAt],
    ),
  ).catch((error: unknown) => toError(error));
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
