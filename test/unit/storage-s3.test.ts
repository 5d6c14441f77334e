import { createServer } from 'node:net';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ObjectExistsError, ObjectNotFoundError } from '../../src/errors.ts';
import type { S3Options } from '../../src/storage/options.ts';
import { probeStorage } from '../../src/storage/probe.ts';
import type { RetryPolicy } from '../../src/retry.ts';
import { createS3Storage } from '../../src/storage/s3.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { chunksOf } from '../helpers/bytes.ts';
import { type FakeS3, startFakeS3 } from '../helpers/fake-s3.ts';

const MIB = 1024 * 1024;
/** Three parts of the smallest size. */
const LARGE = 13 * MIB;
const QUICK: RetryPolicy = { attempts: 3, baseDelay: 5, maxDelay: 20, window: 5000 };

let fake: FakeS3;

beforeEach(async () => {
  vi.stubEnv('AWS_REGION', 'eu-central-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDEXAMPLE');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'very-secret-key');
  fake = await startFakeS3({ pageSize: 2 });
});
afterEach(async () => {
  await fake.close();
  expect(fake.refused).toEqual([]);
  expect(fake.faults).toEqual([]);
});
afterAll(() => void vi.unstubAllEnvs());

function open(options: S3Options = {}, bucket = fake.bucket): Promise<Storage> {
  const upload = { partSize: 5 * MIB, queueSize: 2 };
  const place = { bucket, prefix: 'p', endpoint: fake.url };
  return createS3Storage(place, options, { retry: QUICK, answerTimeout: 300, idleTimeout: 400, upload });
}

describe('requests that can be sent again are', () => {
  test.each([
    ['a 500', { status: 500, code: 'InternalError' }],
    ['a 503', { status: 503, code: 'SlowDown' }],
    ['a reset connection', 'reset' as const],
    ['silence', 'hang' as const],
  ])('after %s, twice', async (_what, kind) => {
    const storage = await open();
    await storage.write('kept', chunksOf(LARGE));
    for (const operation of [
      'PutObject',
      'UploadPart',
      'ListObjectsV2',
      'GetObject',
      'DeleteObjects',
    ] as const) {
      fake.faults.push({ operation, kind, times: 2 });
    }
    await storage.write('small', Buffer.from('small'));
    await storage.write('large', chunksOf(LARGE));
    expect(await keys(storage)).toEqual(['kept', 'large', 'small']);
    expect((await buffer(await storage.read('large'))).equals(await buffer(chunksOf(LARGE)))).toBe(true);
    await storage.remove(['small']);
    expect(await keys(storage)).toEqual(['kept', 'large']);
  });

  test('but not for ever: the last error is told, and a stream is taken back', async () => {
    const storage = await open();
    fake.faults.push({ operation: 'UploadPart', kind: { status: 503, code: 'SlowDown' }, times: 9 });
    await expect(storage.write('large', chunksOf(LARGE))).rejects.toMatchObject({
      kind: 'failed',
      message: expect.stringMatching(
        /Cannot write large in s3:\/\/test-bucket\/p: .* answered 503 \(SlowDown\)/,
      ),
      next: expect.any(String),
    });
    fake.faults.length = 0;
    expect(fake.store.uploads.size).toBe(0);
    expect(await keys(storage)).toEqual([]);
  });

  test('an error that will not change is not', async () => {
    fake.faults.push({ operation: 'PutObject', kind: { status: 403, code: 'AccessDenied' } });
    const storage = await open();
    await expect(storage.write('a', Buffer.from('a'))).rejects.toMatchObject({
      next: expect.stringContaining('s3:PutObject'),
    });
    expect(fake.log).toHaveLength(1);
  });
});

describe('create-only', () => {
  test('a write whose first answer was lost is not its own conflict', async () => {
    const storage = await open();
    fake.faults.push({ operation: 'PutObject', kind: 'lose-answer' });
    await storage.write('manifest', Buffer.from('mine'), { createOnly: true });
    expect((await buffer(await storage.read('manifest'))).toString()).toBe('mine');
    await expect(storage.write('manifest', Buffer.from('mine'), { createOnly: true })).rejects.toThrow(
      ObjectExistsError,
    );
  });

  test.each([[true], [false]])(
    'nor is a multipart upload whose completion was lost (createOnly %s)',
    async (createOnly) => {
      const storage = await open();
      fake.faults.push({ operation: 'CompleteMultipartUpload', kind: 'lose-answer' });
      await storage.write('large', chunksOf(LARGE), { createOnly });
      expect(await keys(storage)).toEqual(['large']);
      if (createOnly) {
        await expect(storage.write('large', chunksOf(LARGE), { createOnly })).rejects.toThrow(
          ObjectExistsError,
        );
      }
    },
  );

  test('a 409 is asked again', async () => {
    const storage = await open();
    fake.faults.push({ operation: 'PutObject', kind: { status: 409, code: 'ConditionalRequestConflict' } });
    await storage.write('manifest', Buffer.from('mine'), { createOnly: true });
    expect(fake.log.map(({ operation }) => operation)).toEqual(['PutObject', 'PutObject']);
  });

  test('a server that ignores the condition is found by the probe', async () => {
    await fake.close();
    fake = await startFakeS3({ conditionalWrites: false });
    const failed = (await probeStorage(await open())).filter(({ ok }) => !ok);
    expect(failed).toMatchObject([{ check: 'create only', fix: expect.stringContaining('If-None-Match') }]);
    expect(fake.store.objects.size).toBe(0);
  });
});

describe('reading', () => {
  test.each([
    ['cut', { cutAfter: 3 * MIB }],
    ['stalled', { stallAfter: 3 * MIB }],
  ])('a body that is %s in the middle is continued where it ended', async (_what, kind) => {
    const storage = await open();
    await storage.write('large', chunksOf(LARGE));
    fake.faults.push({ operation: 'GetObject', kind }, { operation: 'GetObject', kind });
    const bytes = await buffer(await storage.read('large'));
    expect(bytes.equals(await buffer(chunksOf(LARGE)))).toBe(true);
    expect(fake.log.at(-1)?.headers).toMatchObject({ range: expect.stringMatching(/^bytes=[1-9]\d*-\d+$/) });
  });

  test('a range that is cut is continued inside the range', async () => {
    const storage = await open();
    await storage.write('large', chunksOf(LARGE));
    fake.faults.push({ operation: 'GetObject', kind: { cutAfter: MIB } });
    const range = { start: 1000, end: 5 * MIB };
    const bytes = await buffer(await storage.read('large', { range }));
    expect(bytes.equals((await buffer(chunksOf(LARGE))).subarray(1000, 5 * MIB + 1))).toBe(true);
  });

  test('a body that never gets on is an error in the stream', async () => {
    const storage = await open();
    await storage.write('large', chunksOf(LARGE));
    fake.faults.push({ operation: 'GetObject', kind: { cutAfter: 0 }, times: 5 });
    await expect(buffer(await storage.read('large'))).rejects.toThrow(
      /large in .* broke off \d+ bytes before its end/,
    );
  });

  test('an object replaced in the middle is an error, not a mixture', async () => {
    const storage = await open();
    await storage.write('large', chunksOf(LARGE));
    fake.faults.push({ operation: 'GetObject', kind: { cutAfter: MIB } });
    const stream = await storage.read('large');
    await storage.write('large', Buffer.alloc(LARGE, 'b'));
    // Only the length: a failure would print megabytes.
    const length = buffer(stream).then((bytes) => bytes.length);
    await expect(length).rejects.toThrow(/replaced while it was read/);
  });

  test.each([
    ['no length', { 'content-length': undefined, 'transfer-encoding': 'chunked' }],
    ['another range', { 'content-range': 'bytes 0-1/2' }],
  ])('an answer with %s is refused', async (_what, change) => {
    const storage = await open();
    await storage.write('a', Buffer.from('0123456789'));
    fake.faults.push({
      operation: 'GetObject',
      kind: {
        rewrite: (answer) => {
          const entries = Object.entries({ ...answer.headers, ...change });
          const headers = Object.fromEntries(
            entries.filter((entry): entry is [string, string] => entry[1] !== undefined),
          );
          return { ...answer, headers };
        },
      },
    });
    await expect(storage.read('a', { range: { start: 3 } })).rejects.toThrow(/the server answered with/);
  });
});

describe('listing', () => {
  async function listWith(change: (xml: string) => string): Promise<string[]> {
    const storage = await open();
    for (const key of ['a', 'b', 'c']) await storage.write(key, Buffer.from(key));
    fake.faults.push({
      operation: 'ListObjectsV2',
      kind: {
        rewrite: (answer) => {
          const body = JSON.parse(change(JSON.stringify(answer.body))) as typeof answer.body;
          return { ...answer, ...(body === undefined ? {} : { body }) };
        },
      },
      times: 2,
    });
    return keys(storage).finally(() => (fake.faults.length = 0));
  }

  test('a page that is cut off without a token is an error', async () => {
    await expect(listWith((xml) => xml.replace(/,"NextContinuationToken":"[^"]*"/, ''))).rejects.toThrow(
      /without a token/,
    );
  });

  test('a token that was there before is an error, not a loop', async () => {
    const same = (xml: string): string =>
      xml
        .replace('"IsTruncated":false', '"IsTruncated":true,"NextContinuationToken":"x"')
        .replace(
          /"NextContinuationToken":"[^"]*"/,
          `"NextContinuationToken":"${Buffer.from('p/b').toString('base64')}"`,
        );
    await expect(listWith(same)).rejects.toThrow(/the same page twice/);
  });

  test('entries out of order are an error', async () => {
    await expect(listWith((xml) => xml.replace('"p/a"', '"p/x"'))).rejects.toThrow(/not ordered/);
  });

  test("a console's folder marker is no object", async () => {
    const storage = await open();
    await storage.write('a/b', Buffer.from('x'));
    const object = fake.store.objects.get('p/a/b');
    if (object !== undefined) fake.store.objects.set('p/a/', object).set('p/', object);
    expect(await keys(storage)).toEqual(['a/b']);
  });
});

describe('removing', () => {
  const errorFor = (code: string, times = 1): void => {
    fake.faults.push({
      operation: 'DeleteObjects',
      times,
      kind: {
        rewrite: (answer) => ({ ...answer, body: { DeleteResult: { Error: { Key: 'p/a', Code: code } } } }),
      },
    });
  };

  test('a key that stays is an error with its name, though the request succeeded', async () => {
    errorFor('AccessDenied');
    await expect((await open()).remove(['a', 'b'])).rejects.toThrow(
      /1 object\(s\).* first p\/a: AccessDenied/,
    );
  });

  test('a key that stays for a moment is asked for again', async () => {
    errorFor('SlowDown', 2);
    await (await open()).remove(['a']);
    expect(fake.log).toHaveLength(3);
  });

  test('2,500 keys go in three requests', async () => {
    await (await open()).remove(Array.from({ length: 2500 }, (_value, index) => `k${index}`));
    expect(fake.log.map(({ operation }) => operation)).toEqual(Array(3).fill('DeleteObjects'));
  });
});

describe('what every request says', () => {
  test('the owner of the bucket, in clean-up requests, too', async () => {
    const storage = await open({ expectedBucketOwner: '111111111111' });
    await storage.write('a', Buffer.from('a'));
    await storage.write('large', chunksOf(LARGE));
    fake.faults.push({ operation: 'UploadPart', kind: { status: 400, code: 'InvalidRequest' } });
    await expect(storage.write('b', chunksOf(LARGE))).rejects.toThrow();
    await keys(storage);
    await buffer(await storage.read('a'));
    await storage.sweep?.(new Date());
    await storage.remove(['a']);
    expect(new Set(fake.log.map(({ operation }) => operation)).size).toBe(9);
    for (const { operation, headers } of fake.log) {
      expect(headers['x-amz-expected-bucket-owner'], operation).toBe('111111111111');
    }
    const stranger = await open({ expectedBucketOwner: '222222222222' });
    await expect(keys(stranger)).rejects.toMatchObject({
      next: expect.stringContaining('--s3-expected-owner'),
    });
  });

  test('encryption, key and storage class of written objects', async () => {
    const storage = await open({ sse: 'aws:kms', kmsKeyId: 'alias/backup', storageClass: 'STANDARD_IA' });
    await storage.write('a', Buffer.from('a'));
    await storage.write('large', chunksOf(LARGE));
    for (const key of ['p/a', 'p/large']) {
      expect(fake.store.objects.get(key)?.headers).toMatchObject({
        'x-amz-server-side-encryption': 'aws:kms',
        'x-amz-server-side-encryption-aws-kms-key-id': 'alias/backup',
        'x-amz-storage-class': 'STANDARD_IA',
      });
    }
  });
});

describe('errors', () => {
  test.each([
    ['ExpiredToken', 400, 'failed', /have expired/, /Renew/],
    ['InvalidAccessKeyId', 403, 'failed', /InvalidAccessKeyId/, /access key/],
    ['PermanentRedirect', 301, 'usage', /another region/, /Set AWS_REGION to us-west-2/],
    ['AccessDenied', 403, 'failed', /access denied/, /s3:ListBucket/],
    ['Strange', 418, 'failed', /Strange: A fault of the test/, undefined],
  ])('%s', async (code, status, kind, message, next) => {
    const headers = { 'x-amz-bucket-region': 'us-west-2' };
    fake.faults.push({ kind: { status, code, headers } });
    const error: unknown = await keys(await open()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind, message: expect.stringMatching(message) });
    if (next !== undefined) expect(error).toMatchObject({ next: expect.stringMatching(next) });
    // Everything that an inspector would show, causes included.
    const { inspect } = await import('node:util');
    expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(
      /very-secret-key|AKIDEXAMPLE|Signature=/,
    );
  });

  test('a bucket that does not exist, and a key that does not', async () => {
    await expect(keys(await open({}, 'no-bucket'))).rejects.toMatchObject({ kind: 'usage' });
    await expect((await open({}, 'no-bucket')).read('a')).rejects.toMatchObject({ kind: 'usage' });
    await expect((await open()).read('a')).rejects.toThrow(ObjectNotFoundError);
  });

  test('no region, and no credentials', async () => {
    for (const name of [
      'AWS_REGION',
      'AWS_DEFAULT_REGION',
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
      'AWS_PROFILE',
    ]) {
      vi.stubEnv(name, undefined);
    }
    vi.stubEnv('AWS_CONFIG_FILE', '/nonexistent');
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/nonexistent');
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    await expect(open()).rejects.toMatchObject({
      kind: 'usage',
      next: expect.stringContaining('AWS_REGION'),
    });
    vi.stubEnv('AWS_REGION', 'eu-central-1');
    await expect(keys(await open())).rejects.toMatchObject({
      kind: 'usage',
      message: expect.stringMatching(/credentials/),
    });
    vi.unstubAllEnvs();
  });

  test('a request of few bytes has a time limit of its own, shorter than that of a stalled transfer', async () => {
    const place = { bucket: fake.bucket, prefix: 'p', endpoint: fake.url };
    const once = { ...QUICK, attempts: 1 };
    const storage = await createS3Storage(
      place,
      {},
      { retry: once, answerTimeout: 200, idleTimeout: 50_000 },
    );
    fake.faults.push({ kind: 'hang' });
    await expect(keys(storage)).rejects.toThrow(/cannot be reached \(TimeoutError\)/);
  }, 5000);

  test.each([
    ['that nobody listens on', false],
    ['that never answers', true],
  ])(
    'an endpoint %s is an error within 30 s, by the default limits',
    async (_what, listening) => {
      const server = createServer(() => undefined).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      const port = typeof address === 'object' ? address?.port : 0;
      if (!listening) server.close();
      const storage = await createS3Storage({
        bucket: 'b',
        prefix: '',
        endpoint: `http://127.0.0.1:${port}`,
      });
      const started = performance.now();
      await expect(keys(storage)).rejects.toMatchObject({
        message: expect.stringMatching(/127.0.0.1:\d+ cannot be reached/),
      });
      expect(performance.now() - started).toBeLessThan(30_000);
      server.close();
      await storage.close?.();
    },
    40_000,
  );
});

describe('sweep', () => {
  test('finds and removes every unfinished upload, over several pages', async () => {
    const storage = await open();
    await storage.write('whole', Buffer.from('x'));
    for (let index = 0; index < 5; index++) {
      const id = `upload-${index}`;
      fake.store.uploads.set(id, {
        id,
        key: `p/k${index % 2}`,
        initiated: new Date(1000),
        headers: {},
        parts: new Map(),
      });
    }
    expect(await storage.sweep?.(new Date(999))).toEqual([]);
    expect(await storage.sweep?.(new Date(), { dryRun: true })).toHaveLength(5);
    expect(fake.store.uploads.size).toBe(5);
    expect((await storage.sweep?.(new Date()))?.map(({ name }) => name).sort()).toEqual([
      'k0',
      'k0',
      'k0',
      'k1',
      'k1',
    ]);
    expect(fake.store.uploads.size).toBe(0);
    expect(await keys(storage)).toEqual(['whole']);
  });
});

async function keys(storage: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of storage.list('')) found.push(key);
  return found;
}
