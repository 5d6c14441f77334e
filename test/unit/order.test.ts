import { expect, test } from 'vitest';
import { topological } from '../../src/tables/order.ts';

const item = (name: string, ...parents: string[]): { name: string; parents: string[] } => ({ name, parents });
const names = (items: readonly { name: string }[]): string => items.map(({ name }) => name).join(' ');

test('parents come first, the rest stays in order', () => {
  expect(names(topological([item('c', 'b'), item('x'), item('b', 'a'), item('a')]))).toBe('a b c x');
  expect(names(topological([item('z'), item('y'), item('x')]))).toBe('z y x');
});

test('a diamond has its top first and its bottom last', () => {
  const sorted = names(topological([item('d', 'b', 'c'), item('b', 'a'), item('c', 'a'), item('a')]));
  expect(sorted).toBe('a b c d');
});

test('a parent that is not there and a table that refers to itself stop nothing', () => {
  expect(names(topological([item('b', 'gone'), item('a', 'a')]))).toBe('b a');
});

test('a circle is an error that names a table in it', () => {
  expect(() => topological([item('a', 'b'), item('b', 'c'), item('c', 'a')])).toThrow(/circle at a/);
});
