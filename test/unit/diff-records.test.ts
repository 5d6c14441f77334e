import { expect, test } from 'vitest';
import { createRecordSplitter, fieldText } from '../../src/engine/diff/records.ts';

const CASES: readonly (readonly [csv: string, rows: (string | null)[][], complete: boolean])[] = [
  ['', [], true],
  ['a\n', [['a']], true],
  ['a,b\n', [['a', 'b']], true],
  [',\n', [[null, null]], true],
  [
    ',""\n"",\n',
    [
      [null, ''],
      ['', null],
    ],
    true,
  ],
  ['\n', [[null]], true],
  ['"a\nb",c\n', [['a\nb', 'c']], true],
  [
    '"a\r\nb","c,d"\nx,y\n',
    [
      ['a\r\nb', 'c,d'],
      ['x', 'y'],
    ],
    true,
  ],
  ['"say ""hi""",1\n', [['say "hi"', '1']], true],
  ['"""",""""""\n', [['"', '""']], true],
  ['\\.,\\N\n', [['\\.', '\\N']], true],
  [
    'é,"😀\n"\nz,\u0301\n',
    [
      ['é', '😀\n'],
      ['z', '\u0301'],
    ],
    true,
  ],
  ['a,b\nc', [['a', 'b']], false],
  ['a,b\nc,', [['a', 'b']], false],
  ['a\n"b\n', [['a']], false],
];

function split(chunks: readonly Uint8Array[]): { rows: (string | null)[][]; complete: boolean } {
  const rows: (string | null)[][] = [];
  const splitter = createRecordSplitter((record) => {
    rows.push(Array.from({ length: record.fields }, (_, at) => fieldText(record, at)));
  });
  // Blocks are used again by whoever reads: a splitter that kept one would see the next one's bytes.
  for (const chunk of chunks) {
    const block = Buffer.from(chunk);
    splitter.add(block);
    block.fill(0x22);
  }
  return { rows, complete: splitter.complete() };
}

test.each(CASES)('%j', (csv, rows, complete) => {
  const bytes = Buffer.from(csv);
  for (let one = 0; one <= bytes.length; one += 1) {
    for (let two = one; two <= bytes.length; two += 1) {
      const chunks = [bytes.subarray(0, one), bytes.subarray(one, two), bytes.subarray(two)];
      expect(split(chunks), `cut at ${one} and ${two}`).toEqual({ rows, complete });
    }
  }
});

test('one byte at a time, and a record of megabytes between small ones', () => {
  const long = `"${'x""\n,'.repeat(400_000)}"`;
  const bytes = Buffer.from(`a,1\n${long},2\nb,3\n`);
  const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, at) =>
    bytes.subarray(at * 65_536, (at + 1) * 65_536),
  );
  expect(split(chunks)).toEqual({
    rows: [
      ['a', '1'],
      ['x"\n,'.repeat(400_000), '2'],
      ['b', '3'],
    ],
    complete: true,
  });
  const small = Buffer.from('a,"b\n""c"\nd,e\n');
  expect(split(Array.from(small, (byte) => Uint8Array.of(byte))).rows).toEqual([
    ['a', 'b\n"c'],
    ['d', 'e'],
  ]);
});
