import { mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ObjectNotFoundError } from '../../src/errors.ts';
import { localError } from '../../src/storage/local-errors.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { probeStorage } from '../../src/storage/probe.ts';
import type { Storage } from '../../src/storage/storage.ts';

let directory: string;
let storage: Storage;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lifeboat-local-'));
  storage = createLocalStorage(join(directory, 'root'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('files are for their owner only', async () => {
  await storage.write('a/b', Buffer.from('x'));
  expect((await stat(join(directory, 'root/a/b'))).mode & 0o777).toBe(0o600);
  expect((await stat(join(directory, 'root/a'))).mode & 0o777).toBe(0o700);
  expect((await stat(join(directory, 'root'))).mode & 0o777).toBe(0o700);
});

test('a write is invisible until it is whole, and leaves no temporary file', async () => {
  let names: string[] = [];
  async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.from('first');
    names = await readdir(join(directory, 'root/a'));
    expect(await keys(storage)).toEqual([]);
    await expect(storage.read('a/b')).rejects.toThrow(ObjectNotFoundError);
    yield Buffer.from('second');
  }
  await storage.write('a/b', body());
  expect(names).toEqual([expect.stringMatching(/^\.lifeboat-tmp-[0-9a-f]{16}$/)]);
  expect(await readdir(join(directory, 'root/a'))).toEqual(['b']);
});

test('removing the last object of a folder removes the folder, and never the root', async () => {
  await storage.write('a/b/c', Buffer.from('x'));
  await storage.write('a/d', Buffer.from('x'));
  await storage.remove(['a/b/c']);
  expect(await readdir(join(directory, 'root/a'))).toEqual(['d']);
  await storage.remove(['a/d']);
  expect(await readdir(join(directory, 'root'))).toEqual([]);
});

test('sweep removes old temporary files and empty folders, and leaves young ones and objects', async () => {
  const root = join(directory, 'root');
  await storage.write('kept/object', Buffer.from('x'));
  await mkdir(join(root, 'old/tables'), { recursive: true });
  const past = new Date('2020-01-01');
  for (const name of ['old/tables/.lifeboat-tmp-0', 'kept/.lifeboat-tmp-1', 'kept/.lifeboat-tmp-young']) {
    await writeFile(join(root, name), 'debris');
    if (!name.endsWith('young')) await utimes(join(root, name), past, past);
  }
  await mkdir(join(root, 'empty'));
  for (const name of ['empty', 'old/tables', 'old']) await utimes(join(root, name), past, past);
  const before = new Date('2020-02-01');
  expect(await keys(storage)).toEqual(['kept/object']);
  const names = ['kept/.lifeboat-tmp-1', 'old/tables/.lifeboat-tmp-0'];
  expect((await storage.sweep?.(before, { dryRun: true }))?.map(({ name }) => name)).toEqual(names);
  expect((await storage.sweep?.(before))?.map(({ name }) => name)).toEqual(names);
  expect(await storage.sweep?.(before)).toEqual([]);
  expect(await readdir(join(root, 'kept'))).toEqual(['.lifeboat-tmp-young', 'object']);
  // Removing its content made the folder young; the next day's sweep takes it.
  await storage.sweep?.(new Date(Date.now() + 1000));
  expect(await readdir(root)).toEqual(['kept']);
});

describe('symbolic links', () => {
  test('the root may be one', async () => {
    await mkdir(join(directory, 'disk'));
    await symlink(join(directory, 'disk'), join(directory, 'link'));
    const linked = createLocalStorage(join(directory, 'link'));
    await linked.write('a/b', Buffer.from('x'));
    expect(await keys(linked)).toEqual(['a/b']);
    expect(await readdir(join(directory, 'disk/a'))).toEqual(['b']);
  });

  test('inside the storage none is followed, by no operation', async () => {
    await storage.write('a/b', Buffer.from('x'));
    await mkdir(join(directory, 'outside'));
    await writeFile(join(directory, 'outside/secret'), 'secret');
    await symlink(join(directory, 'outside'), join(directory, 'root/way'));
    await symlink(join(directory, 'outside/secret'), join(directory, 'root/a/file'));
    for (const key of ['way/secret', 'way/deeper/secret', 'a/file']) {
      await expect(storage.read(key)).rejects.toThrow(/symbolic link/);
    }
    for (const key of ['way/secret', 'way/new/deep']) {
      await expect(storage.write(key, Buffer.from('x'))).rejects.toThrow(/symbolic link/);
      await expect(storage.remove([key])).rejects.toThrow(/symbolic link/);
    }
    await expect(keys(storage)).rejects.toThrow(/symbolic link/);
    expect(await readdir(join(directory, 'outside'))).toEqual(['secret']);
  });
});

describe('errors say what to do', () => {
  test('a root that is a file', async () => {
    await writeFile(join(directory, 'root'), 'a file');
    const expected = {
      kind: 'failed',
      message: expect.stringMatching(/is a file/),
      next: expect.any(String),
    };
    await expect(storage.write('a', Buffer.from('x'))).rejects.toMatchObject(expected);
    await expect(keys(storage)).rejects.toMatchObject(expected);
  });

  test('an object where a folder is needed, and a folder where an object is needed', async () => {
    await storage.write('a/b', Buffer.from('x'));
    await expect(storage.write('a/b/c', Buffer.from('x'))).rejects.toMatchObject({ kind: 'failed' });
    await expect(storage.write('a', Buffer.from('x'))).rejects.toMatchObject({ kind: 'failed' });
    expect(await keys(storage)).toEqual(['a/b']);
  });

  test.each([
    ['ENOSPC', /disk is full/, /Free space/],
    ['EACCES', /permission is denied/, /Run as the user/],
    ['EROFS', /read-only/, /Mount it writable/],
    ['EWHATEVER', /EWHATEVER/, /Check the directory/],
  ])('%s', (code, message, next) => {
    const thrown = Object.assign(new Error(`${code}: it failed`), { code, errno: -1, syscall: 'write' });
    expect(localError('write a', '/backups', thrown)).toMatchObject({
      kind: 'failed',
      message: expect.stringMatching(message),
      next: expect.stringMatching(next),
    });
  });

  test("a body's own error is left as it is", async () => {
    const own = Object.assign(new Error('connection lost'), { code: 'ECONNRESET' });
    // eslint-disable-next-line require-yield
    const body = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      throw own;
    };
    await expect(storage.write('a', body())).rejects.toBe(own);
  });

  test('a disk that is full in the middle leaves nothing', async () => {
    // /dev/full cannot hold a directory; a write to it is what the driver's file handle does on a full disk.
    const full = createLocalStorage('/dev/full');
    await expect(full.write('a', Buffer.from('x'))).rejects.toMatchObject({ kind: 'failed' });
  });
});

test('a file that shrinks while it is read is an error in the stream', async () => {
  await storage.write('a', Buffer.alloc(1024 * 1024));
  const stream = await storage.read('a');
  await writeFile(join(directory, 'root/a'), 'short');
  await expect(buffer(stream)).rejects.toThrow(/ended \d+ bytes early/);
});

test('the probe finds a directory good and leaves it empty', async () => {
  const results = await probeStorage(storage);
  expect(results.filter(({ ok }) => !ok)).toEqual([]);
  expect(await readdir(join(directory, 'root'))).toEqual([]);
});

async function keys(of: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of of.list('')) found.push(key);
  return found;
}
