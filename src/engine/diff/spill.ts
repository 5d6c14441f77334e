import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { ENTRY_BYTES, partitionKey } from './entry.ts';

/** Entries of one partition of one side: 9 MB, so that comparing two of them stays small. */
export const PARTITION_ENTRIES = 250_000;
/** Shared by the partitions of a side: a table below it never touches the disk. */
const BUFFER_BYTES = 8 * 1024 * 1024;
const LEAST_BUFFER = 16 * ENTRY_BYTES;

/** The entries of one side of one table, by partition: the same row is in the same partition on both sides. */
export interface Spill {
  add(entry: Uint8Array): void;
  /** All entries of one partition. */
  read(partition: number): Buffer;
  close(): void;
}

/** Entries go to one file a partition, through a buffer each. */
export function createSpill(path: string, partitions: number): Spill {
  const capacity =
    Math.max(LEAST_BUFFER, Math.floor(BUFFER_BYTES / partitions / ENTRY_BYTES) * ENTRY_BYTES) | 0;
  const slots = Array.from({ length: partitions }, (_, at) => createSlot(`${path}.${at}`, capacity));
  return {
    add: (entry) => {
      slots[partitionKey(entry) % partitions]?.add(entry);
    },
    read: (partition) => slots[partition]?.read() ?? Buffer.alloc(0),
    close: () => {
      for (const slot of slots) slot.close();
    },
  };
}

function createSlot(
  path: string,
  capacity: number,
): { add(entry: Uint8Array): void; read(): Buffer; close(): void } {
  let buffer = Buffer.alloc(0);
  let filled = 0;
  let file: number | undefined;
  let written = 0;
  return {
    add: (entry) => {
      if (filled + ENTRY_BYTES > buffer.length) {
        if (buffer.length < capacity) {
          const larger = Buffer.allocUnsafe(Math.min(capacity, Math.max(LEAST_BUFFER, buffer.length * 2)));
          buffer.copy(larger, 0, 0, filled);
          buffer = larger;
        } else {
          file ??= openSync(path, 'w+', 0o600);
          written += writeAll(file, buffer.subarray(0, filled));
          filled = 0;
        }
      }
      buffer.set(entry, filled);
      filled += ENTRY_BYTES;
    },
    read: () => {
      if (file === undefined) return buffer.subarray(0, filled);
      const all = Buffer.allocUnsafe(written + filled);
      for (let at = 0; at < written;) {
        const read = readSync(file, all, at, written - at, at);
        if (read === 0) throw new Error(`The temporary file ${path} became shorter.`);
        at += read;
      }
      buffer.copy(all, written, 0, filled);
      return all;
    },
    close: () => {
      buffer = Buffer.alloc(0);
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}

/** A nearly full disk takes a part of the bytes first and fails at the next write. */
function writeAll(file: number, bytes: Uint8Array): number {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at);
  return bytes.length;
}
