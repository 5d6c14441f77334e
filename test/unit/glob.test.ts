import { expect, test } from 'vitest';
import { globToRegExp } from '../../src/engine/glob.ts';

/** The pattern goes to PostgreSQL; for these its regular expressions and JavaScript's agree. */
const matches = (glob: string, name: string): boolean => new RegExp(globToRegExp(glob), 's').test(name);

test.each([
  ['*', '', true],
  ['*', 'anything.at-all', true],
  ['etl_*', 'etl_', true],
  ['etl_*', 'my_etl_x', false],
  ['*_daily', 'x_daily', true],
  ['*_daily', 'x_daily_2', false],
  ['a?c', 'abc', true],
  ['a?c', 'ac', false],
  ['v[12]', 'v1', true],
  ['v[12]', 'v3', false],
  ['v[!12]', 'v3', true],
  ['v[!12]', 'v1', false],
  ['v[a-c]', 'vb', true],
  ['a.b', 'a.b', true],
  ['a.b', 'axb', false],
  ['a+b(c)|d$^', 'a+b(c)|d$^', true],
  ['a|b', 'a', false],
  ['[', '[', true],
  ['a[b', 'a[b', true],
  ['a\\b', 'a\\b', true],
  ['x', 'xx', false],
  ['池*', '池子', true],
])('%s on %s: %s', (glob, name, expected) => {
  expect(matches(glob, name)).toBe(expected);
});
