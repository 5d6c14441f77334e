import { lstat, mkdir, open, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errno } from './local-errors.ts';

/** Where a key's file is; refuses (ELOOP) when a directory on the way below the root is a symbolic link. */
export async function resolveInside(root: string, key: string): Promise<string> {
  const segments = key.split('/');
  let path = root;
  for (const segment of segments.slice(0, -1)) {
    path = join(path, segment);
    try {
      if ((await lstat(path)).isSymbolicLink()) throw linkError(path);
    } catch (thrown) {
      if (errno(thrown) === 'ENOENT' || errno(thrown) === 'ENOTDIR') break;
      throw thrown;
    }
  }
  return join(root, ...segments);
}

/** The error that open() with O_NOFOLLOW gives for the last segment, for the segments before it. */
export function linkError(path: string): Error {
  return Object.assign(new Error(`ELOOP: symbolic link not followed, '${path}'`), {
    code: 'ELOOP',
    errno: -40,
    syscall: 'lstat',
    path,
  });
}

/** Creates the directory and returns those whose entries are new and must be synced, deepest first. */
export async function makeDirectory(directory: string): Promise<readonly string[]> {
  const firstNew = await mkdir(directory, { recursive: true, mode: 0o700 });
  const unsynced = [directory];
  if (firstNew === undefined) return unsynced;
  for (let path = directory; path !== dirname(firstNew) && path !== dirname(path);) {
    path = dirname(path);
    unsynced.push(path);
  }
  return unsynced;
}

/** Without it, a crash of the machine may forget a rename that had already been reported as done. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } catch (thrown) {
    // Some network filesystems cannot sync a directory, and then order its entries themselves.
    if (errno(thrown) !== 'EINVAL' && errno(thrown) !== 'ENOTSUP') throw thrown;
  } finally {
    await handle.close();
  }
}

/**
 * Removes the directory and its parents up to the root as far as they are empty. rmdir() never takes a directory with
 * an entry, so a writer that has its temporary file there keeps it, and one that has not yet makes it again.
 */
export async function removeEmptyDirectories(root: string, directory: string): Promise<void> {
  for (let path = directory; path !== root && path.startsWith(root); path = dirname(path)) {
    try {
      await rmdir(path);
    } catch (thrown) {
      if (errno(thrown) === 'ENOENT') continue;
      if (errno(thrown) === 'ENOTEMPTY' || errno(thrown) === 'EEXIST') break;
      throw thrown;
    }
  }
}
