/** The last keys of a list that is read, in their order; older ones are forgotten, so that a long list costs no memory. */
export interface RecentKeys {
  size(): number;
  has(key: string): boolean;
  add(key: string): void;
  /** How many of these keys lie before the first that is new: up to and with the newest known one. -1: none is known. */
  knownIn(keys: readonly string[]): number;
}

export function createRecentKeys(most: number): RecentKeys {
  // A Set gives its members in the order in which they came.
  const keys = new Set<string>();
  return {
    size: () => keys.size,
    has: (key) => keys.has(key),
    add(key) {
      keys.add(key);
      if (keys.size <= most) return;
      for (const oldest of keys) {
        keys.delete(oldest);
        break;
      }
    },
    knownIn(page) {
      const last = page.findLastIndex((key) => keys.has(key));
      return last === -1 ? -1 : last + 1;
    },
  };
}
