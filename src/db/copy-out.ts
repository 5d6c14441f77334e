import type { Socket } from 'node:net';
import type { Client } from 'pg';
import { LifeboatError, toError } from '../errors.ts';
import { tapBytes } from './byte-tap.ts';
import { createMessageWalker } from './copy-messages.ts';
import type { Throttle } from './throttle.ts';

/** Large enough that compression and hashing are called a few hundred times a part, small enough to keep in hand. */
const BLOCK_BYTES = 1024 * 1024;
/** Blocks that may wait for the consumer; beyond it the socket is paused, and so the server. */
const MAX_WAITING = 2;
/** A timer is not more exact than this; what is owed adds up until it is worth one. */
const LEAST_PAUSE_MS = 2;

const READY_FOR_QUERY = 0x5a; // 'Z'

export interface CopyOut {
  /**
   * Raw COPY output in large blocks, each valid until the next is asked for. Leaving them early, or an abort, destroys
   * the connection.
   */
  readonly blocks: AsyncIterable<Uint8Array>;
  /** Rows by the server's command tag; read it after the blocks ended. */
  rows(): number;
}

/**
 * Runs `COPY … TO STDOUT` and hands out its bytes without a JavaScript object per row.
 *
 * `pg` emits one event per CopyData message, which is one per row. For the length of the COPY the bytes of the socket are
 * taken past its listeners, the messages are walked here (type, length, payload: PostgreSQL protocol 3.0, "COPY Operations"), and
 * every message that is not COPY data goes back to `pg`, so that errors, notices and the end of the query are its own.
 *
 * A throttle pauses the socket, and so the server: nothing piles up here, and the watchdog sees that it is our turn.
 */
export function copyOut(client: Client, sql: string, signal: AbortSignal, throttle?: Throttle): CopyOut {
  let rows = -1;
  const setRows = (count: number): void => {
    rows = count;
  };
  return {
    blocks: { [Symbol.asyncIterator]: () => readBlocks(client, sql, signal, setRows, throttle) },
    rows: () => rows,
  };
}

async function* readBlocks(
  client: Client,
  sql: string,
  signal: AbortSignal,
  setRows: (rows: number) => void,
  throttle: Throttle | undefined,
): AsyncGenerator<Uint8Array> {
  const socket = socketOf(client);
  const queue = createBlockQueue(socket, throttle);
  const query = client.query(sql).then(
    (result) => {
      setRows(result.rowCount ?? -1);
      queue.finish();
    },
    (error: unknown) => {
      queue.finish(toError(error));
    },
  );
  const onAbort = (): void => {
    socket.destroy(toError(signal.reason));
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      const block = await queue.next();
      if (!block) break;
      yield block;
    }
    await query;
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Left early: the rest of the COPY would be read as the answer to the next query. The connection is of no use.
    if (!queue.finished()) socket.destroy();
    queue.detach();
  }
}

function socketOf(client: Client): Socket {
  const connection = (client as unknown as { connection?: { stream?: Socket } }).connection;
  if (!connection?.stream) throw new LifeboatError('failed', 'The database connection is closed.');
  return connection.stream;
}

interface BlockQueue {
  /** The next block; undefined at the end. */
  next(): Promise<Uint8Array | undefined>;
  finish(error?: Error): void;
  finished(): boolean;
  /** Gives the socket back to `pg`. */
  detach(): void;
}

function createBlockQueue(socket: Socket, throttle: Throttle | undefined): BlockQueue {
  const blocks = createBlocks();
  let attached = true;
  let done = false;
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  const brake = createBrake(throttle, () => {
    resume();
  });

  const resume = (): void => {
    if (attached && !brake.holds() && blocks.waiting() < MAX_WAITING) socket.resume();
  };
  const detach = (): void => {
    if (!attached) return;
    attached = false;
    brake.release();
    tap.release();
    socket.resume();
  };
  const announce = (): void => {
    if (blocks.waiting() >= MAX_WAITING && attached) socket.pause();
    wake?.();
    wake = undefined;
  };
  const walk = createMessageWalker({
    data: (bytes) => {
      if (blocks.add(bytes)) announce();
    },
    done: () => {
      blocks.flush();
      announce();
    },
    other: (message) => {
      // After "ready for query" the next byte on this socket answers somebody else's query.
      const last = message[0] === READY_FOR_QUERY;
      if (last) detach();
      tap.pass(message);
      return !last;
    },
  });
  const onData = (chunk: Buffer): void => {
    const end = walk(chunk);
    // A copy: pg keeps what is no whole message yet, and the chunk is overwritten by the next read.
    if (end < chunk.length) tap.pass(Buffer.from(chunk.subarray(end)));
    if (brake.spend(chunk.length, attached)) socket.pause();
  };

  const tap = tapBytes(socket, onData);
  return {
    next: async () => {
      for (;;) {
        const block = blocks.take();
        if (block) {
          resume();
          return block;
        }
        if (failure) throw failure;
        if (done) {
          blocks.giveBack();
          return undefined;
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    finish: (error) => {
      done = true;
      failure = error;
      announce();
    },
    finished: () => done,
    detach,
  };
}

/** Holds a reader back for as long as the throttle says. */
function createBrake(
  throttle: Throttle | undefined,
  resume: () => void,
): {
  /** Counts bytes; true: from now on it holds. One that is not to be held only counts. */
  spend(bytes: number, mayHold: boolean): boolean;
  holds(): boolean;
  release(): void;
} {
  let callOff: (() => void) | undefined;
  const release = (): void => {
    callOff?.();
    callOff = undefined;
  };
  return {
    spend: (bytes, mayHold) => {
      const ms = throttle?.spend(bytes) ?? 0;
      if (ms < LEAST_PAUSE_MS || !mayHold) return false;
      release();
      callOff = throttle?.after(ms, () => {
        callOff = undefined;
        resume();
      });
      return true;
    },
    holds: () => callOff !== undefined,
    release,
  };
}

/** Blocks that nobody fills or reads, for the COPY that comes next: new ones for each would be garbage by the gigabyte. */
const spare: Buffer[] = [];

/** Collects pieces into blocks of one size. */
function createBlocks(): {
  /** True when a block became full. */
  add(bytes: Buffer): boolean;
  flush(): void;
  /** The oldest block; the one taken before it is free again. */
  take(): Uint8Array | undefined;
  waiting(): number;
  /** Every block is read: they are free for others. */
  giveBack(): void;
} {
  const full: { readonly block: Buffer; readonly filled: number }[] = [];
  let lent: Buffer | undefined;
  let block = spare.pop() ?? Buffer.allocUnsafe(BLOCK_BYTES);
  let filled = 0;
  const flush = (): void => {
    if (filled === 0) return;
    full.push({ block, filled });
    block = spare.pop() ?? Buffer.allocUnsafe(BLOCK_BYTES);
    filled = 0;
  };
  return {
    add: (bytes) => {
      const before = full.length;
      for (let at = 0; at < bytes.length;) {
        const copied = bytes.copy(block, filled, at);
        filled += copied;
        at += copied;
        if (filled === BLOCK_BYTES) flush();
      }
      return full.length > before;
    },
    flush,
    take: () => {
      const next = full.shift();
      if (!next) return undefined;
      if (lent) spare.push(lent);
      lent = next.block;
      return next.block.subarray(0, next.filled);
    },
    waiting: () => full.length,
    giveBack: () => {
      spare.push(block, ...(lent ? [lent] : []));
    },
  };
}
