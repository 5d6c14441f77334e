import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LifeboatError, ObjectNotFoundError, toError } from '../errors.ts';
import { assertKey, assertPrefix } from './keys.ts';
import { errno, localError } from './local-errors.ts';
import { removeEmptyDirectories, resolveInside, syncDirectory } from './local-paths.ts';
import { listFiles, sweepFiles } from './local-walk.ts';
import { writeFileObject } from './local-write.ts';
import { resolveRange } from './range.ts';
import type { Storage } from './storage.ts';
import { type ByteSource, readableFrom } from './streams.ts';

const READ_CHUNK = 256 * 1024;

/**
 * Objects as files under an absolute directory, which need not exist yet and may itself be reached by a symbolic link.
 * New files get mode 0600 and new directories 0700: backups hold what the database holds. Writes in progress are
 * files named .lifeboat-tmp-* beside their target.
 */
export function createLocalStorage(root: string): Storage {
  return {
    location: root,

    async write(key, body, options = {}) {
      assertKey(key);
      options.signal?.throwIfAborted();
      await translated(`write ${key}`, root, () => writeFileObject(root, key, body, options));
    },

    async read(key, { range, signal } = {}) {
      assertKey(key);
      signal?.throwIfAborted();
      return translated(`read ${key}`, root, async () => {
        const handle = await openExisting(root, key);
        try {
          const { start, length } = resolveRange(key, await sizeOf(handle, key, root), range);
          return readableFrom(fileSource(handle, key, root, start, length), signal);
        } catch (thrown) {
          await handle.close();
          throw thrown;
        }
      });
    },

    async *list(prefix, signal) {
      assertPrefix(prefix);
      try {
        yield* listFiles(root, prefix, signal);
      } catch (thrown) {
        throw localError(`list ${prefix === '' ? 'the objects' : prefix}`, root, thrown);
      }
    },

    async remove(keys, signal) {
      keys.forEach(assertKey);
      await translated(`remove ${keys.length} object(s)`, root, () => removeFiles(root, keys, signal));
    },

    sweep: (before, options = {}) => translated('sweep', root, () => sweepFiles(root, before, options)),
  };
}

async function translated<T>(doing: string, root: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw localError(doing, root, thrown);
  }
}

async function openExisting(root: string, key: string): Promise<FileHandle> {
  try {
    // O_NONBLOCK: opening a named pipe that somebody put there must not wait for its writer.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    return await open(await resolveInside(root, key), flags);
  } catch (thrown) {
    if (errno(thrown) === 'ENOENT' || errno(thrown) === 'ENOTDIR') {
      throw new ObjectNotFoundError(key, root, thrown);
    }
    throw thrown;
  }
}

async function sizeOf(handle: FileHandle, key: string, root: string): Promise<number> {
  const stats = await handle.stat();
  if (!stats.isFile()) throw new ObjectNotFoundError(key, root);
  return stats.size;
}

function fileSource(
  handle: FileHandle,
  key: string,
  root: string,
  start: number,
  length: number,
): ByteSource {
  let position = start;
  let left = length;
  return {
    async next() {
      if (left === 0) return null;
      const buffer = Buffer.allocUnsafe(Math.min(READ_CHUNK, left));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, position).catch((thrown: unknown) => {
        throw localError(`read ${key}`, root, thrown);
      });
      if (bytesRead === 0) {
        throw new LifeboatError('failed', `The object ${key} in ${root} ended ${left} bytes early.`, {
          next: 'Something cut the file while it was read: verify the backup.',
        });
      }
      position += bytesRead;
      left -= bytesRead;
      return buffer.subarray(0, bytesRead);
    },
    close: () => handle.close(),
  };
}

async function removeFiles(
  root: string,
  keys: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const directories = new Set<string>();
  for (const key of keys) {
    signal?.throwIfAborted();
    const path = await resolveInside(root, key);
    try {
      await unlink(path);
      directories.add(dirname(path));
    } catch (thrown) {
      if (errno(thrown) !== 'ENOENT' && errno(thrown) !== 'ENOTDIR') throw thrown;
    }
  }
  for (const directory of directories) {
    await syncDirectory(directory).catch((thrown: unknown) => {
      if (errno(thrown) !== 'ENOENT') throw toError(thrown);
    });
    await removeEmptyDirectories(root, directory);
  }
}
