import { describe, expect, test, vi } from 'vitest';
import { openStorage } from '../../src/storage/open.ts';

describe('openStorage', () => {
  test.each([
    ['./dir', '/work/dir'],
    ['dir', '/work/dir'],
    ['../dir', '/dir'],
    ['/dir/', '/dir'],
    ['file:///dir/with%20space', '/dir/with space'],
    ['FILE:///dir', '/dir'],
    ['dir with spaces', '/work/dir with spaces'],
    ['memory:', 'memory:'],
  ])('%s is %s', async (url, location) => {
    expect((await openStorage(url, { cwd: '/work' })).location).toBe(location);
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
