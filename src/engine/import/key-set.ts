import { createHash } from 'node:crypto';

const FIRST_SLOTS = 1024;

export interface KeySet {
  add(...parts: readonly string[]): void;
  has(...parts: readonly string[]): boolean;
}

/**
 * Remembers which rows exist by 64 bits of a hash each: 11 to 32 bytes a key, where a Set of strings takes some two
 * hundred. Two keys that share a hash are as likely as one in 10^7 among a million each; then the restore would stop at a
 * foreign key, and nothing worse.
 */
export function createKeySet(): KeySet {
  let high = new Uint32Array(FIRST_SLOTS);
  let low = new Uint32Array(FIRST_SLOTS);
  let size = 0;

  /** The slot that holds the key, or the free one where it belongs. */
  const slotOf = (h: number, l: number): number => {
    let slot = l & (low.length - 1);
    while (low[slot] !== 0 && (low[slot] !== l || high[slot] !== h)) slot = (slot + 1) & (low.length - 1);
    return slot;
  };
  const insert = (h: number, l: number): void => {
    const slot = slotOf(h, l);
    if (low[slot] === 0) size += 1;
    high[slot] = h;
    low[slot] = l;
  };
  const grow = (): void => {
    const [oldHigh, oldLow] = [high, low];
    high = new Uint32Array(oldHigh.length * 2);
    low = new Uint32Array(oldLow.length * 2);
    size = 0;
    oldLow.forEach((l, slot) => {
      if (l !== 0) insert(oldHigh[slot] ?? 0, l);
    });
  };
  return {
    add: (...parts) => {
      if (size * 4 > low.length * 3) grow();
      insert(...hashOf(parts));
    },
    has: (...parts) => low[slotOf(...hashOf(parts))] !== 0,
  };
}

function hashOf(parts: readonly string[]): readonly [high: number, low: number] {
  const digest = createHash('md5').update(parts.join('\0')).digest();
  // Zero means a free slot.
  return [digest.readUInt32LE(0), digest.readUInt32LE(4) || 1];
}
