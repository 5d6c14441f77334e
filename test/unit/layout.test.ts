import { expect, test } from 'vitest';
import {
  backupIdOf,
  backupTime,
  isBackupId,
  makeBackupId,
  manifestKey,
  partKey,
} from '../../src/engine/layout.ts';

const TIME = new Date('2026-11-21T01:30:12.345Z');

test('an id is its time, and gives it back', () => {
  const id = makeBackupId(TIME, '4f3a9c');
  expect(id).toBe('20261121T013012345Z-4f3a9c');
  expect(isBackupId(id)).toBe(true);
  expect(backupTime(id)).toBe(TIME.getTime());
});

test('ids sort by time, whatever their random part', () => {
  const times = ['2025-12-31T23:59:59.999Z', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.001Z'];
  const ids = times.map((time, at) => makeBackupId(new Date(time), ['ffffff', '888888', '000000'][at] ?? ''));
  expect([...ids].sort()).toEqual(ids);
});

test('keys', () => {
  expect(manifestKey('ID')).toBe('backups/ID/manifest.json');
  expect(partKey('ID', 'dag_run', 7, 'gzip')).toBe('backups/ID/tables/dag_run/0007.csv.gz');
  expect(partKey('ID', 'dag_run', 12345, 'zstd')).toBe('backups/ID/tables/dag_run/12345.csv.zst');
});

test.each([
  ['backups/20261121T013012345Z-4f3a9c/manifest.json', '20261121T013012345Z-4f3a9c'],
  ['backups/20261121T013012345Z-4F3A9C/manifest.json', undefined],
  ['backups/20261121T013012345Z-4f3a9c.tmp/x', undefined],
  ['drills/20261121T013012345Z-4f3a9c/manifest.json', undefined],
  ['backups/other/manifest.json', undefined],
  ['backups/', undefined],
  ['20261121T013012345Z-4f3a9c/manifest.json', undefined],
])('the id in %s', (key, id) => {
  expect(backupIdOf(key)).toBe(id);
});
