import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { comparePartition } from '../../src/engine/diff/compare.ts';
import { ENTRY_BYTES, KEY_BYTES } from '../../src/engine/diff/entry.ts';
import { createIdMap } from '../../src/engine/diff/id-map.ts';
import { createSpill } from '../../src/engine/diff/spill.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-diff-test-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** An entry as the hasher makes it: key, content, secret; a secret ending in ? is one that no key reads. */
function entry([key, content = '', secret = '']: readonly string[], prefix?: number): Buffer {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const bytes = Buffer.alloc(ENTRY_BYTES);
  bytes.set(digest(key ?? '').subarray(0, KEY_BYTES), 0);
  bytes.set(digest(content).subarray(0, 12), KEY_BYTES);
  bytes.set(digest(secret).subarray(0, 7), KEY_BYTES + 12);
  if (secret.endsWith('?')) bytes[KEY_BYTES + 19] = 1;
  if (prefix !== undefined) bytes.writeUInt32LE(prefix, 4);
  return bytes;
}

type Rows = readonly (readonly string[])[];

function compared(left: Rows, right: Rows, prefix?: number): Record<string, number> {
  const counts: Record<string, number> = {};
  const pack = (rows: Rows): Buffer => Buffer.concat(rows.map((row) => entry(row, prefix)));
  comparePartition(pack(left), pack(right), (difference) => {
    counts[difference] = (counts[difference] ?? 0) + 1;
  });
  return counts;
}

const CASES: readonly (readonly [what: string, left: Rows, right: Rows, counts: Record<string, number>])[] = [
  ['nothing', [], [], {}],
  [
    'equal in another order',
    [
      ['a', '1'],
      ['b', '2'],
    ],
    [
      ['b', '2'],
      ['a', '1'],
    ],
    {},
  ],
  ['missing', [['a'], ['b']], [['b']], { missing: 1 }],
  ['added', [['b']], [['a'], ['b'], ['c']], { added: 2 }],
  ['changed', [['a', '1']], [['a', '2']], { changed: 1 }],
  ['changed secret', [['a', '1', 's']], [['a', '1', 't']], { changed: 1 }],
  ['unreadable secret', [['a', '1', 's?']], [['a', '1', 't?']], { notComparable: 1 }],
  ['equal unreadable secret', [['a', '1', 's?']], [['a', '1', 's?']], {}],
  ['unreadable here, readable there', [['a', '1', 's?']], [['a', '1', 't']], { notComparable: 1 }],
  ['changed beside an unreadable secret', [['a', '1', 's?']], [['a', '2', 't?']], { changed: 1 }],
  ['the same row twice and once', [['a'], ['a'], ['a']], [['a']], { missing: 2 }],
  [
    'one key with several contents',
    [
      ['a', '1'],
      ['a', '2'],
      ['a', '3'],
    ],
    [
      ['a', '3'],
      ['a', '4'],
    ],
    { changed: 1, missing: 1 },
  ],
  [
    'everything',
    [
      ['a', '1'],
      ['b', '1'],
      ['c', '1'],
    ],
    [
      ['b', '2'],
      ['c', '1'],
      ['d', '1'],
    ],
    { missing: 1, changed: 1, added: 1 },
  ],
];

describe.each([
  ['keys that differ at once', undefined],
  ['keys that begin alike', 7],
])('%s', (_, prefix) => {
  test.each(CASES)('%s', (_what, left, right, counts) => {
    expect(compared(left, right, prefix)).toEqual(counts);
  });
});

test('many rows: as many differences as were made', () => {
  const rows = Array.from({ length: 20_000 }, (_, at) => [`key ${at}`, 'content']);
  const other = rows.flatMap((row, at) =>
    at % 100 === 0 ? [] : at % 100 === 1 ? [[row[0]!, 'changed']] : [row],
  );
  expect(compared(rows, [...other.toReversed(), ['new']])).toEqual({ missing: 200, changed: 200, added: 1 });
});

test('a spill keeps every entry, through files when they are many, and the same row in one partition', () => {
  const spill = createSpill(join(folder, 'spill'), 7);
  const entries = Array.from({ length: 300_000 }, () => randomBytes(ENTRY_BYTES));
  for (const one of entries) spill.add(one);
  expect(readdirSync(folder).filter((name) => name.startsWith('spill.'))).toHaveLength(7);
  const read = Array.from({ length: 7 }, (_, at) => spill.read(at));
  expect(read.reduce((sum, bytes) => sum + bytes.length, 0)).toBe(300_000 * ENTRY_BYTES);
  const all = new Set(
    read.flatMap((bytes) =>
      Array.from({ length: bytes.length / ENTRY_BYTES }, (_, at) =>
        bytes.toString('latin1', at * ENTRY_BYTES, (at + 1) * ENTRY_BYTES),
      ),
    ),
  );
  expect(entries.every((one) => all.has(one.toString('latin1')))).toBe(true);
  spill.close();

  const small = createSpill(join(folder, 'small'), 1);
  small.add(entries[0]!);
  expect(small.read(0).equals(entries[0]!)).toBe(true);
  expect(readdirSync(folder).filter((name) => name.startsWith('small'))).toEqual([]);
});

test('ids find their row again, however far apart they are', () => {
  const map = createIdMap(join(folder, 'ids'));
  const key = (id: number): Buffer => createHash('sha256').update(String(id)).digest().subarray(0, KEY_BYTES);
  const ids = Array.from({ length: 5000 }, (_, at) => (at * 7919) % 2_147_483_647);
  ids.push(2_147_483_647, 0);
  for (const id of ids) map.set(id, key(id));
  for (const id of ids.toReversed()) expect(Buffer.compare(map.get(id)!, key(id))).toBe(0);
  for (const id of [1, 2_147_483_646, -1, 0.5, Number.NaN]) expect(map.get(id), String(id)).toBeUndefined();
  map.set(-1, key(1));
  expect(map.get(-1)).toBeUndefined();
  map.close();
});
