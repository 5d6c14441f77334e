import type { Readable } from 'node:stream';

export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  readonly modified: Date;
}

export interface WriteOptions {
  /** Fail with ObjectExistsError when the key exists, also in a race of several writers: exactly one wins. */
  readonly createOnly?: boolean;
  readonly signal?: AbortSignal;
}

export interface ReadOptions {
  /** Inclusive byte positions; without `end`, to the end of the object. */
  readonly range?: { readonly start: number; readonly end?: number };
  readonly signal?: AbortSignal;
}

/** What a killed write left behind: a temporary file, or the parts of an upload that was never completed. */
export interface Leftover {
  /** For people: the file or the key it was meant for. */
  readonly name: string;
  readonly started: Date;
}

export interface SweepOptions {
  /** Only find, remove nothing. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

/** A whole small object (retried on failure), or a stream that is read once (never retried as a whole). */
export type WriteBody = Uint8Array | AsyncIterable<Uint8Array>;

/**
 * Where backups live. The contract, run against every driver by test/contract/storage.ts:
 *
 *  1. A written object appears whole or not at all. A body that throws, an aborted signal, a full disk or a killed
 *     process leave no object and do not touch an earlier one of the same key.
 *  2. After write() resolves, read() and list() see the object at once and it survives a crash of this machine.
 *  3. read() of a missing key rejects with ObjectNotFoundError before it yields a byte; a body that ends early is an
 *     error in the stream, never a short read that looks complete.
 *  4. list() yields every object whose key starts with the prefix, ordered by key, or throws: never a short listing.
 *  5. remove() of missing keys is no error; when it resolves, the keys are gone.
 *  6. createOnly: of any number of concurrent writers exactly one succeeds, the others get ObjectExistsError.
 *  7. Keys are relative, '/'-separated, without empty, '.' or '..' segments; anything else is refused before any I/O.
 *  8. Memory used does not depend on the size of the object.
 *  9. Only what can be sent again is retried; an error names the storage and the key, never a credential.
 * 10. An aborted signal rejects with the signal's reason, and waits for no body that has stalled.
 * 11. What a killed process leaves behind is invisible to read() and list(), and sweep() removes it.
 *
 * No key may be another key followed by '/': a filesystem cannot hold both a file and a directory of one name.
 * A range that starts at or past the end of the object is an error; one that only ends past it is cut short.
 * remove() promises no order among its keys: what must go first (a manifest before its parts) needs a call of its own.
 */
export interface Storage {
  /** For people: the URL without credentials. */
  readonly location: string;
  write(key: string, body: WriteBody, options?: WriteOptions): Promise<void>;
  read(key: string, options?: ReadOptions): Promise<Readable>;
  list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject>;
  remove(keys: readonly string[], signal?: AbortSignal): Promise<void>;
  /** Removes and returns the leftovers of writes that began before the given time; absent where there can be none. */
  sweep?(before: Date, options?: SweepOptions): Promise<readonly Leftover[]>;
  close?(): Promise<void>;
}
