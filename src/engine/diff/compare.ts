import { compareEntries, ENTRY_BYTES, groupOf, hasUnreadable, keyOf, lacksValues, sortKey } from './entry.ts';

export type Difference = 'missing' | 'added' | 'changed' | 'notComparable';

/** Called once for each difference. `key` names the row (latin1), `group` its DAG. */
export type OnDifference = (difference: Difference, key: string, group: number) => void;

/** Places of an index beside 27 bits of the key in one double: sorted as numbers, which is fast. */
const INDEXES = 2 ** 26;

/**
 * Compares the entries of one partition of both sides, in any order, and with the same row any number of times. Rows of
 * the same key with other content are changed; what is left over is missing (only left) or added (only right). Pure.
 */
export function comparePartition(left: Buffer, right: Buffer, onDifference: OnDifference): void {
  const [a, b] = [sorted(left), sorted(right)];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const prefix = Math.min(prefixAt(a, i), prefixAt(b, j));
    const [fromA, fromB] = [i, j];
    while (prefixAt(a, i) === prefix) i++;
    while (prefixAt(b, j) === prefix) j++;
    if (i - fromA === 1 && j - fromB === 1) {
      const [x, y] = [indexAt(a, fromA), indexAt(b, fromB)];
      if (compareEntries(left, x, right, y, 'row') === 0) continue;
    }
    compareGroup(left, right, indexes(a, fromA, i), indexes(b, fromB, j), onDifference);
  }
}

function sorted(entries: Buffer): Float64Array {
  const count = entries.length / ENTRY_BYTES;
  const order = new Float64Array(count);
  for (let index = 0; index < count; index++) {
    order[index] = (sortKey(entries, index) >>> 5) * INDEXES + index;
  }
  return order.sort();
}

function prefixAt(order: Float64Array, at: number): number {
  return at < order.length ? Math.floor((order[at] ?? 0) / INDEXES) : Infinity;
}

function indexAt(order: Float64Array, at: number): number {
  return (order[at] ?? 0) % INDEXES;
}

function indexes(order: Float64Array, from: number, to: number): number[] {
  return Array.from(order.subarray(from, to), (value) => value % INDEXES);
}

/** Rows that share the beginning of their key: nearly always one row of each side. */
function compareGroup(
  left: Buffer,
  right: Buffer,
  a: readonly number[],
  b: readonly number[],
  onDifference: OnDifference,
): void {
  const own = withoutEqual(left, right, a, b);
  const pairs = pairUp(left, right, own.left, own.right, 'content');
  // Only the secrets differ: with a token that nobody can read, nobody knows whether they do.
  for (const [x, y] of pairs.matched) {
    const unknown = hasUnreadable(left, x) || hasUnreadable(right, y);
    onDifference(unknown ? 'notComparable' : 'changed', keyOf(left, x), groupOf(left, x));
  }
  const rest = pairUp(left, right, pairs.left, pairs.right, 'key');
  for (const [x, y] of rest.matched) {
    const unknown = lacksValues(left, x) || lacksValues(right, y);
    onDifference(unknown ? 'notComparable' : 'changed', keyOf(left, x), groupOf(left, x));
  }
  for (const x of rest.left) onDifference('missing', keyOf(left, x), groupOf(left, x));
  for (const y of rest.right) onDifference('added', keyOf(right, y), groupOf(right, y));
}

function withoutEqual(
  left: Buffer,
  right: Buffer,
  a: readonly number[],
  b: readonly number[],
): { readonly left: readonly number[]; readonly right: readonly number[] } {
  return pairUp(left, right, a, b, 'row');
}

interface Pairs {
  readonly matched: readonly (readonly [left: number, right: number])[];
  readonly left: readonly number[];
  readonly right: readonly number[];
}

/** Merges two sorted lists; each entry finds at most one partner. */
function pairUp(
  left: Buffer,
  right: Buffer,
  a: readonly number[],
  b: readonly number[],
  part: 'key' | 'content' | 'row',
): Pairs {
  const x = [...a].sort((one, two) => compareEntries(left, one, left, two, 'row'));
  const y = [...b].sort((one, two) => compareEntries(right, one, right, two, 'row'));
  const matched: [number, number][] = [];
  const own: { left: number[]; right: number[] } = { left: [], right: [] };
  let [i, j] = [0, 0];
  for (;;) {
    const [one, two] = [x[i], y[j]];
    if (one === undefined && two === undefined) return { matched, ...own };
    const order =
      one === undefined ? 1 : two === undefined ? -1 : compareEntries(left, one, right, two, part);
    if (one !== undefined && two !== undefined && order === 0) matched.push([one, two]);
    else if (one !== undefined && order < 0) own.left.push(one);
    else if (two !== undefined) own.right.push(two);
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
}
