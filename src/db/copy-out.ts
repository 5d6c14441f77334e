import type { Socket } from 'node:net';
import type { Client } from 'pg';
import { LifeboatError, toError } from '../errors.ts';

/** Large enough that compression and hashing are called a few hundred times a part, small enough to keep in hand. */
const BLOCK_BYTES = 1024 * 1024;
/** Blocks that may wait for the consumer; beyond it the socket is paused, and so the server. */
const MAX_WAITING = 2;

const COPY_DATA = 0x64; // 'd'
const COPY_DONE = 0x63; // 'c'
const COPY_OUT_RESPONSE = 0x48; // 'H'
const READY_FOR_QUERY = 0x5a; // 'Z'
const HEADER_BYTES = 5;

export interface CopyOut {
  /** Raw COPY output in large blocks; a block is valid until the next one is asked for. */
  readonly blocks: AsyncIterable<Uint8Array>;
  /** Rows by the server's command tag; read it after the blocks ended. */
  rows(): number;
}

/**
 * Runs `COPY … TO STDOUT` and hands out its bytes without a JavaScript object per row.
 *
 * `pg` emits one event per CopyData message, which is one per row. For the length of the COPY its listeners are taken
 * off the socket, the messages are walked here (type, length, payload: PostgreSQL protocol 3.0, "COPY Operations"), and
 * every message that is not COPY data goes back to `pg`, so that errors, notices and the end of the query are its own.
 */
export function copyOut(client: Client, sql: string): CopyOut {
  let rows = -1;
  return {
    blocks: { [Symbol.asyncIterator]: () => readBlocks(client, sql, (count) => (rows = count)) },
    rows: () => rows,
  };
}

async function* readBlocks(
  client: Client,
  sql: string,
  setRows: (rows: number) => void,
): AsyncGenerator<Uint8Array> {
  const socket = socketOf(client);
  const walker = createWalker(socket);
  const query = client.query(sql).then(
    (result) => {
      setRows(result.rowCount ?? -1);
      walker.finish();
    },
    (error: unknown) => walker.finish(toError(error)),
  );
  try {
    for (;;) {
      const block = await walker.next();
      if (!block) break;
      yield block;
    }
    await query;
  } finally {
    // Left early: the rest of the COPY would be read as the answer to the next query. The connection is of no use.
    if (!walker.finished()) socket.destroy();
    walker.detach();
  }
}

function socketOf(client: Client): Socket {
  const connection = (client as unknown as { connection?: { stream?: Socket } }).connection;
  if (!connection?.stream) throw new LifeboatError('failed', 'The database connection is closed.');
  return connection.stream;
}

interface Walker {
  next(): Promise<Uint8Array | undefined>;
  finish(error?: Error): void;
  finished(): boolean;
  detach(): void;
}

function createWalker(socket: Socket): Walker {
  const saved = socket.listeners('data') as ((chunk: Buffer) => void)[];
  const waiting: Buffer[] = [];
  let block = Buffer.allocUnsafe(BLOCK_BYTES);
  let filled = 0;
  let attached = true;
  let done = false;
  let failure: Error | undefined;
  let wake: (() => void) | undefined;

  // State of the walk: a message may span any number of reads. Only the count of bytes left is kept for data, so that
  // one huge value costs no quadratic joining.
  const header = Buffer.alloc(HEADER_BYTES);
  let headerFilled = 0;
  let dataLeft = 0;
  let other: Buffer[] = [];
  let otherLeft = 0;

  const signal = (): void => {
    wake?.();
    wake = undefined;
  };

  const emitBlock = (): void => {
    if (filled === 0) return;
    waiting.push(block.subarray(0, filled));
    block = Buffer.allocUnsafe(BLOCK_BYTES);
    filled = 0;
    if (waiting.length >= MAX_WAITING) socket.pause();
    signal();
  };

  const takeData = (chunk: Buffer, at: number): number => {
    const count = Math.min(dataLeft, chunk.length - at, BLOCK_BYTES - filled);
    chunk.copy(block, filled, at, at + count);
    filled += count;
    dataLeft -= count;
    if (filled === BLOCK_BYTES) emitBlock();
    return at + count;
  };

  const takeOther = (chunk: Buffer, at: number): number => {
    const end = Math.min(chunk.length, at + otherLeft);
    other.push(Buffer.from(chunk.subarray(at, end)));
    otherLeft -= end - at;
    if (otherLeft === 0) handBack();
    return end;
  };

  const handBack = (): void => {
    const message = Buffer.concat(other);
    other = [];
    if (message[0] === READY_FOR_QUERY) detach();
    for (const listener of saved) listener.call(socket, message);
  };

  const takeHeader = (chunk: Buffer, at: number): number => {
    const count = Math.min(HEADER_BYTES - headerFilled, chunk.length - at);
    chunk.copy(header, headerFilled, at, at + count);
    headerFilled += count;
    if (headerFilled === HEADER_BYTES) startMessage();
    return at + count;
  };

  const startMessage = (): void => {
    headerFilled = 0;
    const type = header[0];
    const length = header.readUInt32BE(1) - 4;
    if (type === COPY_DATA) {
      dataLeft = length;
    } else if (type === COPY_DONE || type === COPY_OUT_RESPONSE) {
      skipLeft = length;
      if (type === COPY_DONE) emitBlock();
    } else {
      other = [Buffer.from(header)];
      otherLeft = length;
      if (otherLeft === 0) handBack();
    }
  };
  let skipLeft = 0;

  const onData = (chunk: Buffer): void => {
    let at = 0;
    while (at < chunk.length) {
      if (!attached) {
        // The server said ready within this read: the rest belongs to pg.
        for (const listener of saved) listener.call(socket, chunk.subarray(at));
        return;
      }
      if (dataLeft > 0) at = takeData(chunk, at);
      else if (skipLeft > 0) {
        const count = Math.min(skipLeft, chunk.length - at);
        skipLeft -= count;
        at += count;
      } else if (otherLeft > 0) at = takeOther(chunk, at);
      else at = takeHeader(chunk, at);
    }
  };

  const detach = (): void => {
    if (!attached) return;
    attached = false;
    socket.removeListener('data', onData);
    for (const listener of saved) socket.on('data', listener);
    socket.resume();
  };

  for (const listener of saved) socket.removeListener('data', listener);
  socket.on('data', onData);

  return {
    next: async () => {
      for (;;) {
        const ready = waiting.shift();
        if (ready) {
          if (attached && waiting.length < MAX_WAITING) socket.resume();
          return ready;
        }
        if (done) {
          if (failure) throw failure;
          return undefined;
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    finish: (error) => {
      done = true;
      failure = error;
      signal();
    },
    finished: () => done,
    detach,
  };
}
