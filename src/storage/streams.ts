import { addAbortSignal, Readable } from 'node:stream';
import { toError } from '../errors.ts';

export interface ByteSource {
  /** The next bytes, or null at the end. Never called again before it has settled. */
  next(): Promise<Uint8Array | null>;
  /** Called exactly once, also when nothing was ever read: a file handle or a socket would stay open without it. */
  close(): Promise<void>;
}

/**
 * A Readable over a pulled source. Readable.from(generator) is not enough: destroyed before its first read, it never
 * enters the generator, whose `finally` would have closed the handle.
 */
export function readableFrom(source: ByteSource, signal?: AbortSignal): Readable {
  const stream = new Readable({
    read() {
      source.next().then(
        (bytes) => this.push(bytes),
        (thrown: unknown) => this.destroy(toError(thrown)),
      );
    },
    destroy(error, callback) {
      source.close().then(
        () => {
          callback(error);
        },
        (thrown: unknown) => {
          callback(error ?? toError(thrown));
        },
      );
    },
  });
  return signal === undefined ? stream : addAbortSignal(signal, stream);
}

/** Rejects with the signal's reason as soon as it is aborted, even while the body is waiting for its next chunk. */
export async function* abortable(
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (signal === undefined) {
    yield* body;
    return;
  }
  let refuse: (error: Error) => void = () => undefined;
  const onAbort = (): void => {
    refuse(toError(signal.reason));
  };
  signal.addEventListener('abort', onAbort, { once: true });
  const iterator = body[Symbol.asyncIterator]();
  let open = true;
  try {
    for (;;) {
      if (signal.aborted) throw toError(signal.reason);
      // Not Promise.race with one promise for the abort: that promise would hold every chunk until the body's end.
      const result = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        refuse = reject;
        iterator.next().then(resolve, reject);
      });
      if (result.done === true) {
        open = false;
        return;
      }
      yield result.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a generator that hangs in its own await would never answer, and the abort would hang with it.
    if (open) iterator.return?.().catch(() => undefined);
  }
}

/** One object's body in memory, for the drivers that need it whole. */
export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
