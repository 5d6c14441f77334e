import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { openStorage } from '../../src/storage/open.ts';

const SOURCES = join(import.meta.dirname, '../../src/storage');

test('opening a directory does not load the AWS SDK', async () => {
  const sources = await readdir(SOURCES);
  const loadedStatically = async (file: string, seen = new Set<string>()): Promise<Set<string>> => {
    if (seen.has(file)) return seen;
    seen.add(file);
    const source = await readFile(join(SOURCES, file), 'utf8');
    for (const [, name = ''] of source.matchAll(/^import (?!type\b)[^;]*? from '\.\/([^']+)'/gm)) {
      await loadedStatically(name, seen);
    }
    return seen;
  };
  const loaded = await loadedStatically('open.ts');
  expect(loaded).toContain('local.ts');
  expect([...loaded].filter((file) => file.startsWith('s3'))).toEqual([]);
  const users = await Promise.all(
    sources.map(
      async (file) =>
        [file, (await readFile(join(SOURCES, file), 'utf8')).includes("from '@aws-sdk")] as const,
    ),
  );
  for (const [file, uses] of users) if (uses) expect(file).toMatch(/^s3/);
});

describe('openStorage', () => {
  test.each([
    ['./dir', '/srv/dir'],
    ['dir', '/srv/dir'],
    ['../dir', '/dir'],
    ['/dir/', '/dir'],
    ['file:///dir/with%20space', '/dir/with space'],
    ['FILE:///dir', '/dir'],
    ['dir with spaces', '/srv/dir with spaces'],
    ['memory:', 'memory:'],
  ])('%s is %s', async (url, location) => {
    expect((await openStorage(url, { cwd: '/srv' })).location).toBe(location);
  });

  test.each([
    ['s3://bucket', 's3://bucket'],
    ['s3://bucket/', 's3://bucket'],
    ['s3://bucket/a/b/', 's3://bucket/a/b'],
    ['S3://my.bucket_1/päth with space', 's3://my.bucket_1/päth with space'],
  ])('%s is %s', async (url, location) => {
    vi.stubEnv('AWS_REGION', 'eu-central-1');
    expect((await openStorage(url)).location).toBe(location);
    vi.unstubAllEnvs();
  });

  test.each([
    ...['', '  ', '~', '~/backups', 'http://host/x', 'gs://bucket', 'C:\\backups', 'a\0b'],
    ...[
      's3:',
      's3://',
      's3:///prefix',
      's3:bucket',
      's3://b@d/x',
      's3://bucket/../x',
      's3://bucket/a//b',
      's3://-/x',
    ],
    ...['file:', 'file:dir', 'file://host/dir', 'file://dir'],
  ])('%j is a usage error that names the forms', async (url) => {
    await expect(openStorage(url)).rejects.toMatchObject({
      kind: 'usage',
      next: expect.stringContaining('s3://bucket/prefix'),
    });
  });

  test('credentials in a URL are refused and not repeated', async () => {
    const error: unknown = await openStorage('s3://AKID:hunter2@bucket/x').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'usage' });
    expect(String(error)).not.toContain('hunter2');
  });
});
