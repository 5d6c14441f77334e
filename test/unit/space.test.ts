import { expect, test } from 'vitest';
import type { Manifest } from '../../src/engine/manifest.ts';
import { spaceNeeded } from '../../src/engine/space.ts';

test('space grows with what is stored of the tables that are restored, and knows the codec', () => {
  const table = (name: string, bytes: number): unknown => ({ name, parts: [{ bytes }, { bytes }] });
  const manifest = (compression: string): Manifest =>
    ({ compression, tables: [table('dag_run', 10), table('log', 100)] }) as unknown as Manifest;
  expect(spaceNeeded(manifest('gzip:1'), ['dag_run'])).toBe(240);
  expect(spaceNeeded(manifest('gzip:9'), ['dag_run', 'log'])).toBe(2640);
  expect(spaceNeeded(manifest('zstd:1'), ['log'])).toBe(2800);
});
