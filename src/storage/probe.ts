import { randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import {
  isLifeboatError,
  LifeboatError,
  ObjectExistsError,
  ObjectNotFoundError,
  toError,
} from '../errors.ts';
import type { Storage } from './storage.ts';

export interface ProbeResult {
  /** What was tried, as a short phrase. */
  readonly check: string;
  readonly ok: boolean;
  /** What was found. */
  readonly detail: string;
  /** What to do; present unless ok. */
  readonly fix?: string;
}

export interface ProbeOptions {
  readonly signal?: AbortSignal;
  /** Bytes of the streamed object; the default is more than one part of a multipart upload. */
  readonly streamedBytes?: number;
}

const STREAMED_BYTES = 9 * 1024 * 1024;
const CHUNK = 64 * 1024;

interface Check {
  readonly check: string;
  /** Says what was found; throws when the promise is not kept. */
  run(): Promise<string>;
}

/**
 * Tries every promise of the contract that one process can try, on the user's real storage, under doctor/. A later
 * check is left out when the first write fails, for then it would only repeat that. What it wrote is removed.
 */
export async function probeStorage(storage: Storage, options: ProbeOptions = {}): Promise<ProbeResult[]> {
  const folder = `doctor/${randomUUID()}`;
  const results: ProbeResult[] = [];
  for (const check of checks(storage, folder, options)) {
    options.signal?.throwIfAborted();
    const result = await runCheck(check, options.signal);
    results.push(result);
    if (!result.ok && results.length === 1) break;
  }
  results.push(await runCheck({ check: 'remove', run: () => cleanUp(storage, folder) }, options.signal));
  return results;
}

function checks(
  storage: Storage,
  folder: string,
  { signal, streamedBytes = STREAMED_BYTES }: ProbeOptions,
): Check[] {
  const abort = signal === undefined ? {} : { signal };
  const small = Buffer.from(`${folder}\n`);
  const read = async (key: string, range?: { start: number; end: number }): Promise<Buffer> =>
    buffer(await storage.read(key, { ...abort, ...(range === undefined ? {} : { range }) }));
  const createOnly = { createOnly: true, ...abort };

  return [
    {
      check: 'write',
      async run() {
        await storage.write(`${folder}/small`, small, abort);
        return `wrote ${small.length} bytes`;
      },
    },
    {
      check: 'read back',
      async run() {
        expectEqual(await read(`${folder}/small`), small);
        return 'the bytes are the same';
      },
    },
    {
      check: 'read a range',
      async run() {
        expectEqual(await read(`${folder}/small`, { start: 2, end: 5 }), small.subarray(2, 6));
        return 'the bytes are the right ones';
      },
    },
    {
      check: 'stream a large object',
      async run() {
        await storage.write(`${folder}/streamed`, zeros(streamedBytes), abort);
        const bytes = (
          await read(`${folder}/streamed`, { start: streamedBytes - 10, end: streamedBytes + 9 })
        ).length;
        if (bytes !== 10) throw broken(`the object has ${bytes} bytes where 10 were expected`);
        return `wrote ${streamedBytes} bytes in parts`;
      },
    },
    { check: 'list', run: () => listsExactly(storage, folder, signal) },
    {
      check: 'create only',
      async run() {
        await storage.write(`${folder}/once`, small, createOnly);
        await rejectsWith(
          storage.write(`${folder}/once`, small, createOnly),
          ObjectExistsError,
          NO_CONDITIONS,
        );
        return 'an existing object is not overwritten';
      },
    },
    {
      check: 'missing object',
      async run() {
        await rejectsWith(
          storage.read(`${folder}/missing`, abort),
          ObjectNotFoundError,
          broken('a missing object was read'),
        );
        return 'a missing object is told from an error';
      },
    },
  ];
}

const NO_CONDITIONS = new LifeboatError(
  'failed',
  'A second create-only write replaced the first: manifests are not safe.',
  {
    next: 'Use an S3 server with conditional writes (If-None-Match), as AWS has, or a directory.',
  },
);

async function runCheck({ check, run }: Check, signal: AbortSignal | undefined): Promise<ProbeResult> {
  try {
    return { check, ok: true, detail: await run() };
  } catch (thrown) {
    signal?.throwIfAborted();
    const error = toError(thrown);
    const next = isLifeboatError(error) ? error.next : undefined;
    return {
      check,
      ok: false,
      detail: error.message,
      fix: next ?? 'Check the storage, then run lifeboat doctor again.',
    };
  }
}

async function listsExactly(
  storage: Storage,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const found: string[] = [];
  for await (const { key } of storage.list(`${folder}/`, signal)) found.push(key.slice(folder.length + 1));
  if (found.join() !== 'small,streamed') {
    throw broken(`the listing is "${found.join()}", not "small,streamed"`);
  }
  return 'written objects are listed at once';
}

async function cleanUp(storage: Storage, folder: string): Promise<string> {
  // No signal: an interrupted probe tidies up, too.
  await storage.remove(['small', 'streamed', 'once'].map((name) => `${folder}/${name}`));
  for await (const { key } of storage.list(`${folder}/`)) {
    throw broken(`${key} is still there after its removal`);
  }
  return 'nothing of this test is left';
}

async function rejectsWith(
  work: Promise<unknown>,
  expected: new (...args: never[]) => Error,
  otherwise: LifeboatError,
): Promise<void> {
  try {
    await work;
  } catch (thrown) {
    if (thrown instanceof expected) return;
    throw thrown;
  }
  throw otherwise;
}

function expectEqual(found: Buffer, expected: Buffer): void {
  if (!found.equals(expected)) throw broken('what was read is not what was written');
}

function broken(what: string): LifeboatError {
  return new LifeboatError('failed', `The storage does not keep its contract: ${what}.`, {
    next: 'Do not keep backups there: use another --storage, or another server.',
  });
}

// eslint-disable-next-line @typescript-eslint/require-await -- a WriteBody is asynchronous
async function* zeros(bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let left = bytes; left > 0; left -= CHUNK) yield Buffer.alloc(Math.min(CHUNK, left));
}
