import { expect, test } from 'vitest';
import { compareRows, type TableRows } from '../../src/demo/table-rows.ts';

function table(...rows: readonly (readonly (string | null)[])[]): readonly TableRows[] {
  return [{ table: 'job', columns: ['id', 'state'], rows }];
}

const INTENDED = [{ table: 'job', columns: ['state'], why: 'dead' }];

test('the order of rows does not count, their number does', () => {
  const before = table(['1', 'a'], ['2', null], ['2', null]);
  expect(compareRows(before, table(['2', null], ['1', 'a'], ['2', null]), []).identical).toBe(3);
  expect(compareRows(before, table(['2', null], ['1', 'a'], ['1', 'a']), []).different).toEqual(['job']);
  expect(compareRows(before, table(['2', null], ['1', 'a']), []).different).toEqual(['job']);
  expect(compareRows(before, [], []).different).toEqual(['job']);
});

test('NULL and empty differ', () => {
  expect(compareRows(table(['1', null]), table(['1', '']), []).different).toEqual(['job']);
});

test('only the intended columns may change', () => {
  const before = table(['1', 'running'], ['2', 'success']);
  expect(compareRows(before, table(['1', 'failed'], ['2', 'success']), INTENDED)).toEqual({
    identical: 1,
    changed: [{ table: 'job', rows: 1, why: 'dead' }],
    different: [],
  });
  expect(compareRows(before, table(['1', 'failed'], ['3', 'success']), INTENDED).different).toEqual(['job']);
  expect(compareRows(before, table(['1', 'running'], ['2', 'success']), INTENDED).changed).toEqual([]);
});
