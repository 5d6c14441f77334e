import { expect, test } from 'vitest';
import { ENDINGS, EXIT_CODES } from '../../src/cli/exit-codes.ts';

test('the numbers are those of the contract', () => {
  expect(EXIT_CODES).toEqual({
    done: 0,
    failed: 1,
    usage: 2,
    difference: 3,
    'not-found': 10,
    locked: 11,
    integrity: 12,
    unsupported: 13,
    refused: 14,
    interrupted: 130,
  });
});

test('every ending has its sentence for docs/cli.md', () => {
  expect(Object.keys(ENDINGS)).toEqual(Object.keys(EXIT_CODES));
});
