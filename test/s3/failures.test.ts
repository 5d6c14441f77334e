import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { ObjectNotFoundError } from '../../src/errors.ts';
import { openStorage } from '../../src/storage/open.ts';
import { probeStorage } from '../../src/storage/probe.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { serverEnvironment, serverStorage, useServerCredentials } from './versitygw.ts';

const ROOT = join(import.meta.dirname, '../..');

beforeAll(useServerCredentials);
afterAll(() => void vi.unstubAllEnvs());

describe('a process killed in the middle of an upload', () => {
  test('leaves no object, and an unfinished upload that sweep removes', async () => {
    const storage = await serverStorage('killed');
    const later = new Date(Date.now() + 3_600_000);
    const child = uploadForEver(`s3://${inject('s3').bucket}/killed`, 'part.csv.gz');
    try {
      await expect
        .poll(async () => storage.sweep?.(later, { dryRun: true }), { timeout: 30_000 })
        .toHaveLength(1);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    expect(await keys(storage)).toEqual([]);
    await expect(storage.read('part.csv.gz')).rejects.toThrow(ObjectNotFoundError);
    // A live upload of today must survive the sweep of debris.
    expect(await storage.sweep?.(new Date(Date.now() - 3_600_000))).toEqual([]);
    expect(await storage.sweep?.(later)).toMatchObject([{ name: 'part.csv.gz' }]);
    expect(await storage.sweep?.(later)).toEqual([]);
  });
});

describe('a storage that cannot be used is named with its next step', () => {
  test('the bucket of another account', async () => {
    const storage = await serverStorage('owner', { expectedBucketOwner: '999999999999' });
    for (const attempt of everyOperation(storage)) {
      await expect(attempt()).rejects.toMatchObject({
        kind: 'failed',
        message: expect.stringMatching(/access denied.*999999999999/),
        next: expect.stringContaining('--s3-expected-owner'),
      });
    }
    const right = await serverStorage('owner', { expectedBucketOwner: inject('s3').accessKey });
    for (const attempt of everyOperation(right)) await attempt();
  });

  test('a wrong secret, which no message repeats', async () => {
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'not-the-right-secret');
    const storage = await serverStorage('secret');
    for (const attempt of everyOperation(storage)) {
      const error: unknown = await attempt().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ kind: 'failed', next: expect.stringContaining('access key') });
      expect(String(error)).toContain('SignatureDoesNotMatch');
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('not-the-right-secret');
    }
    useServerCredentials();
  });

  test('a bucket that does not exist', async () => {
    const storage = await openStorage('s3://no-such-bucket/x', { env: serverEnvironment() });
    for (const attempt of everyOperation(storage)) {
      await expect(attempt()).rejects.toMatchObject({
        kind: 'usage',
        message: expect.stringContaining('the bucket no-such-bucket does not exist'),
        next: expect.stringContaining('--storage'),
      });
    }
  });
});

test('the probe of doctor finds nothing wrong with a server that keeps the contract', async () => {
  const storage = await serverStorage('probed');
  const results = await probeStorage(storage);
  expect(results.filter(({ ok }) => !ok)).toEqual([]);
  expect(results).toHaveLength(8);
  expect(await keys(storage)).toEqual([]);
});

function everyOperation(storage: Storage): (() => Promise<unknown>)[] {
  return [
    () => storage.write('a', Buffer.from('x')),
    () => storage.write('a', twoParts()),
    () => storage.read('a').then((stream) => stream.destroy()),
    () => keys(storage),
    () => storage.sweep?.(new Date(0)) ?? Promise.resolve(),
    () => storage.remove(['a']),
  ];
}

async function* twoParts(): AsyncGenerator<Uint8Array, void, undefined> {
  for (let part = 0; part < 17; part++) yield Buffer.alloc(1024 * 1024, part);
}

async function keys(storage: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of storage.list('')) found.push(key);
  return found;
}

/** Node 20 does not run TypeScript, so the child gets a build of its own: dist may be of another state. */
function uploadForEver(url: string, key: string): ChildProcess {
  const build = join(ROOT, '.cache/test-s3');
  execFileSync(process.execPath, [
    join(ROOT, 'node_modules/typescript/bin/tsc'),
    ...['-p', join(ROOT, 'tsconfig.build.json'), '--outDir', build, '--noCheck'],
  ]);
  const script = join(ROOT, 'test/s3/upload-for-ever.mjs');
  return spawn(process.execPath, [script, join(build, 'storage/open.js'), url, key], {
    env: { ...process.env, ...serverEnvironment() },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
