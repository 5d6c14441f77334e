import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { KEY_BYTES } from './entry.ts';

/** Slots are 16 bytes so that none reaches over a page. */
const SLOT_BYTES = 16;
const SLOTS = 256;
const PAGE_BYTES = SLOTS * SLOT_BYTES;
/** 2 MB a map; ids come nearly in order, so the next one is nearly always in memory. */
const PAGES = 512;
const MOST = 2 ** 40;

/** Id of a row → the hash of its natural key, for rows that refer to it by id. */
export interface IdMap {
  set(id: number, key: Uint8Array): void;
  /** Valid until the next call; undefined when no row has this id. */
  get(id: number): Uint8Array | undefined;
  close(): void;
}

interface Page {
  readonly bytes: Buffer;
  dirty: boolean;
}

/**
 * A sparse file with one slot per id and the pages last used in memory: the number of ids does not change the memory
 * used. The file is made when the pages no longer fit.
 */
export function createIdMap(path: string): IdMap {
  let file: number | undefined;
  const pages = new Map<number, Page>();

  const evict = (): void => {
    for (const [number, page] of pages) {
      if (page.dirty) {
        file ??= openSync(path, 'w+', 0o600);
        writeSync(file, page.bytes, 0, PAGE_BYTES, number * PAGE_BYTES);
      }
      pages.delete(number);
      return;
    }
  };
  const load = (number: number): Page => {
    let page = pages.get(number);
    if (page) {
      // The most recently used is the last of the Map, the first is the next to go.
      pages.delete(number);
    } else {
      if (pages.size >= PAGES) evict();
      page = { bytes: Buffer.alloc(PAGE_BYTES), dirty: false };
      if (file !== undefined) readSync(file, page.bytes, 0, PAGE_BYTES, number * PAGE_BYTES);
    }
    pages.set(number, page);
    return page;
  };
  const isSlot = (id: number): boolean => Number.isSafeInteger(id) && id >= 0 && id < MOST;
  return {
    set: (id, key) => {
      if (!isSlot(id)) return;
      const page = load(Math.floor(id / SLOTS));
      const at = (id % SLOTS) * SLOT_BYTES;
      page.bytes[at] = 1;
      page.bytes.set(key.subarray(0, KEY_BYTES), at + 1);
      page.dirty = true;
    },
    get: (id) => {
      if (!isSlot(id)) return undefined;
      const page = load(Math.floor(id / SLOTS));
      const at = (id % SLOTS) * SLOT_BYTES;
      return page.bytes[at] === 1 ? page.bytes.subarray(at + 1, at + 1 + KEY_BYTES) : undefined;
    },
    close: () => {
      pages.clear();
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}
