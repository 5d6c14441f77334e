import { expect, test } from 'vitest';
import { createRowCounter } from '../../src/engine/csv-rows.ts';

const CASES: readonly (readonly [csv: string, rows: number, complete: boolean])[] = [
  ['', 0, true],
  ['a\n', 1, true],
  ['a', 0, false],
  ['\n', 1, true],
  ['\n\n\n', 3, true],
  ['"a\nb"\n', 1, true],
  ['"a\n', 0, false],
  ['"say ""hi""\n",x\ny\n', 2, true],
  ['""\n""""\n"\n"\n', 3, true],
  ['a\r\n', 1, true],
  ['\\.\n', 1, true],
  ['é,"😀\n"\nz\n', 2, true],
];

test.each(CASES)('%j has %i rows', (csv, rows, complete) => {
  const bytes = Buffer.from(csv);
  // Cut everywhere: chunks know nothing of records, quotes or characters.
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const counter = createRowCounter();
    counter.add(bytes.subarray(0, cut));
    counter.add(bytes.subarray(cut));
    expect([counter.rows(), counter.complete()], `cut at ${cut}`).toEqual([rows, complete]);
  }
});

test('one byte at a time', () => {
  const counter = createRowCounter();
  for (const byte of Buffer.from('a,"b\n""c"\nd\n')) counter.add(Uint8Array.of(byte));
  expect([counter.rows(), counter.complete()]).toEqual([2, true]);
});
