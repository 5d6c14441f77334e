import { randomBytes } from 'node:crypto';
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ObjectExistsError } from '../errors.ts';
import { TEMP_PREFIX } from './keys.ts';
import { errno } from './local-errors.ts';
import { makeDirectory, resolveInside, syncDirectory } from './local-paths.ts';
import type { WriteBody, WriteOptions } from './storage.ts';
import { abortable } from './streams.ts';

/** A remover may take a directory away between our mkdir and our open; more than a few times in a row it will not. */
const DIRECTORY_ATTEMPTS = 10;

/** Whole or not at all: temporary file, sync, rename (or link, which never replaces), sync of the directories. */
export async function writeFileObject(
  root: string,
  key: string,
  body: WriteBody,
  { createOnly = false, signal }: WriteOptions,
): Promise<void> {
  const target = await resolveInside(root, key);
  const { handle, temp, unsynced } = await openTemp(dirname(target));
  try {
    await fill(handle, body, signal);
    // The bytes must be on the disk before their name is: a crash after the rename would leave a name of nothing.
    await handle.datasync();
    await handle.close();
    signal?.throwIfAborted();
    if (createOnly) await linkNew(temp, target, key, root);
    else await rename(temp, target);
  } catch (thrown) {
    await handle.close().catch(() => undefined);
    await unlink(temp).catch(() => undefined);
    throw thrown;
  }
  for (const directory of unsynced) await syncDirectory(directory);
}

async function openTemp(
  directory: string,
): Promise<{ handle: FileHandle; temp: string; unsynced: readonly string[] }> {
  const temp = join(directory, `${TEMP_PREFIX}${randomBytes(8).toString('hex')}`);
  for (let attempt = 1; ; attempt++) {
    try {
      const unsynced = await makeDirectory(directory);
      return { handle: await open(temp, 'wx', 0o600), temp, unsynced };
    } catch (thrown) {
      if (errno(thrown) !== 'ENOENT' || attempt === DIRECTORY_ATTEMPTS) throw thrown;
    }
  }
}

async function fill(handle: FileHandle, body: WriteBody, signal: AbortSignal | undefined): Promise<void> {
  if (body instanceof Uint8Array) {
    await writeAll(handle, body);
    return;
  }
  for await (const chunk of abortable(body, signal)) await writeAll(handle, chunk);
}

/** write() may take fewer bytes than it was given, for instance just before the disk is full. */
async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, offset, bytes.length - offset);
    offset += bytesWritten;
  }
}

/** link() fails when the name exists, in one step of the kernel; a check followed by a rename has a gap. */
async function linkNew(temp: string, target: string, key: string, root: string): Promise<void> {
  try {
    await link(temp, target);
  } catch (thrown) {
    if (errno(thrown) === 'EEXIST') throw new ObjectExistsError(key, root, thrown);
    throw thrown;
  }
  // A temporary name that stays is a second name of the same bytes: invisible, and sweep() removes it.
  await unlink(temp).catch(() => undefined);
}
