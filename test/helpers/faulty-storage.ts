import { Readable } from 'node:stream';
import type { Storage, StoredObject, WriteBody } from '../../src/storage/storage.ts';

export type StorageOperation = 'write' | 'read' | 'list' | 'remove';

/** before: nothing has happened; during: a part has; after: all of it, only the answer is an error. */
export type FaultMoment = 'before' | 'during' | 'after';

export interface StorageFault {
  readonly operation: StorageOperation;
  /** Which call of the operation, counted from 1 over the life of the wrapper. */
  readonly call: number;
  readonly moment: FaultMoment;
  /** What to throw; `The storage failed (operation call, moment).` when absent. */
  readonly error?: Error;
}

export interface FaultyStorage extends Storage {
  /** Arms a fault. */
  fail(fault: StorageFault): void;
  /** Calls seen so far: run once without faults to learn how many calls there are to fail. */
  readonly calls: Readonly<Record<StorageOperation, number>>;
  /** Faults that were met, in order. */
  readonly hit: readonly StorageFault[];
  /** Faults that no call has met: a test that ends with one has not tested it. */
  readonly missed: readonly StorageFault[];
}

/** Fails the n-th call of an operation; passes everything else through. */
export function faultyStorage(inner: Storage): FaultyStorage {
  const calls: Record<StorageOperation, number> = { write: 0, read: 0, list: 0, remove: 0 };
  const armed: StorageFault[] = [];
  const hit: StorageFault[] = [];

  const next = (operation: StorageOperation): ((moment: FaultMoment) => void) => {
    const call = ++calls[operation];
    return (moment) => {
      const index = armed.findIndex(
        (fault) => fault.operation === operation && fault.call === call && fault.moment === moment,
      );
      const [fault] = index < 0 ? [] : armed.splice(index, 1);
      if (fault === undefined) return;
      hit.push(fault);
      throw fault.error ?? new Error(`The storage failed (${operation} ${call}, ${moment}).`);
    };
  };

  return {
    location: inner.location,
    ...(inner.sweep === undefined ? {} : { sweep: inner.sweep }),
    ...(inner.close === undefined ? {} : { close: inner.close }),
    calls,
    hit,
    missed: armed,
    fail: (fault) => void armed.push(fault),

    async write(key, body, options) {
      const check = next('write');
      check('before');
      await inner.write(key, interrupted(body, check), options);
      check('after');
    },

    async read(key, options) {
      const check = next('read');
      check('before');
      const stream = await inner.read(key, options);
      return Readable.from(
        interrupted(stream, check, () => {
          check('after');
        }),
        { objectMode: false },
      );
    },

    async *list(prefix, signal): AsyncGenerator<StoredObject, void, undefined> {
      const check = next('list');
      check('before');
      for await (const object of inner.list(prefix, signal)) {
        yield object;
        check('during');
      }
      check('after');
    },

    async remove(keys, signal) {
      const check = next('remove');
      check('before');
      const half = keys.slice(0, Math.ceil(keys.length / 2));
      await inner.remove(half, signal);
      check('during');
      await inner.remove(keys.slice(half.length), signal);
      check('after');
    },
  };
}

/** The body with a fault after its first chunk, or before its end when it has none. */
async function* interrupted(
  body: WriteBody,
  check: (moment: FaultMoment) => void,
  atEnd: () => void = () => undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (body instanceof Uint8Array) {
    yield body.subarray(0, Math.ceil(body.length / 2));
    check('during');
    yield body.subarray(Math.ceil(body.length / 2));
  } else {
    for await (const chunk of body) {
      yield chunk;
      check('during');
    }
    check('during');
  }
  atEnd();
}
