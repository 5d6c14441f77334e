import type { Dirent } from 'node:fs';
import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { compareKeys, TEMP_PREFIX } from './keys.ts';
import { errno } from './local-errors.ts';
import { linkError, removeEmptyDirectories, resolveInside } from './local-paths.ts';
import type { Leftover, StoredObject, SweepOptions } from './storage.ts';

interface FoundFile {
  /** Relative to the root, '/'-separated; '/' at its end for a directory that is about to be left. */
  readonly key: string;
  readonly path: string;
  readonly temp: boolean;
}

export async function* listFiles(
  root: string,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<StoredObject, void, undefined> {
  for await (const file of walk(root, prefix, signal)) {
    if (file.temp || file.key.endsWith('/')) continue;
    const stats = await ifThere(lstat(file.path));
    if (stats !== undefined) yield { key: file.key, bytes: stats.size, modified: stats.mtime };
  }
}

/** Temporary files last written before the given time, and directories that were left empty as long ago. */
export async function sweepFiles(
  root: string,
  before: Date,
  { dryRun = false, signal }: SweepOptions,
): Promise<Leftover[]> {
  const found: Leftover[] = [];
  for await (const file of walk(root, '', signal)) {
    const directory = file.key.endsWith('/');
    if (!directory && !file.temp) continue;
    const stats = await ifThere(lstat(file.path));
    if (stats === undefined) continue;
    if (directory) {
      if (!dryRun && stats.mtime < before) await removeEmptyDirectories(root, file.path);
    } else if (stats.mtime < before) {
      found.push({ name: file.key, started: stats.mtime });
      if (!dryRun) await ifThere(unlink(file.path));
    }
  }
  return found;
}

/** Depth first in the order of keys; only the names of the directories on the way are held in memory. */
async function* walk(
  root: string,
  prefix: string,
  signal: AbortSignal | undefined,
  parent: string = prefix.slice(0, prefix.lastIndexOf('/') + 1),
): AsyncGenerator<FoundFile, void, undefined> {
  signal?.throwIfAborted();
  const directory = (await resolveInside(root, `${parent}.`)).replace(/\/\.$/, '');
  for (const entry of await entriesOf(directory, parent === '')) {
    const key = `${parent}${entry.name}`;
    if (!key.startsWith(prefix) && !prefix.startsWith(`${key}/`)) continue;
    const path = join(directory, entry.name);
    // A link may lead to objects; leaving it out would make a short listing that looks complete.
    if (entry.isSymbolicLink()) throw linkError(path);
    if (entry.isDirectory()) {
      yield* walk(root, prefix, signal, `${key}/`);
      yield { key: `${key}/`, path, temp: false };
    } else if (entry.isFile()) {
      yield { key, path, temp: entry.name.startsWith(TEMP_PREFIX) };
    }
  }
}

/** Sorted so that a walk meets whole keys in order: 'a-b' is before 'a/x', because '-' is before '/'. */
async function entriesOf(directory: string, isRoot: boolean): Promise<Dirent[]> {
  const sortName = (entry: Dirent): string => (entry.isDirectory() ? `${entry.name}/` : entry.name);
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.sort((a, b) => compareKeys(sortName(a), sortName(b)));
  } catch (thrown) {
    // No directory, no objects; but a storage root that is a file is a mistake worth telling.
    if (errno(thrown) === 'ENOENT' || (errno(thrown) === 'ENOTDIR' && !isRoot)) return [];
    throw thrown;
  }
}

async function ifThere<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (thrown) {
    if (errno(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}
