import { createWriteStream } from 'node:fs';
import { link, lstat, mkdir, mkdtemp, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { LifeboatError, toError } from '../../errors.ts';

/** Only the owner may read: an export holds what a metadata database keeps to itself. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

type ExportBody = AsyncIterable<string | Uint8Array> | Iterable<string>;

export interface ExportFiles {
  /** Writes one of the files under a temporary name; its size in bytes. */
  write(name: string, body: ExportBody, signal: AbortSignal): Promise<number>;
  /** Gives all files their names. */
  publish(): Promise<void>;
}

/**
 * Files of a directory that appear together at the end of `work`, or not at all. The directory is made (0700) when it is
 * missing; one that exists keeps its mode. Existing files are never replaced.
 *
 * @throws LifeboatError 'usage' when one of `names` exists, 'failed' when the directory cannot be written.
 */
export async function withExportFiles<T>(
  directory: string,
  names: readonly string[],
  work: (files: ExportFiles) => Promise<T>,
): Promise<T> {
  let made: string | undefined;
  let temporary: string | undefined;
  let done = false;
  try {
    made = await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
    await refuseExisting(directory, names);
    temporary = await mkdtemp(join(directory, '.lifeboat-export-'));
    const result = await work(exportFiles(directory, temporary));
    done = true;
    return result;
  } catch (thrown) {
    throw fileError(directory, thrown);
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
    // Only when it is empty: whatever else lies there is not ours.
    if (made !== undefined && !done) await rmdir(directory).catch(() => undefined);
  }
}

function exportFiles(directory: string, temporary: string): ExportFiles {
  const written: string[] = [];
  return {
    write: async (name, body, signal) => {
      const path = join(temporary, name);
      // Flushed, so that a disk that turns out to be full fails the export and not the file.
      const file = createWriteStream(path, { flags: 'wx', mode: FILE_MODE, flush: true });
      await pipeline(body, file, { signal });
      written.push(name);
      return (await stat(path)).size;
    },
    publish: async () => {
      const published: string[] = [];
      try {
        for (const name of written) {
          await publishNew(join(temporary, name), join(directory, name));
          published.push(name);
        }
      } catch (thrown) {
        for (const name of published) await rm(join(directory, name), { force: true });
        throw thrown;
      }
    },
  };
}

/** link() fails when the name exists, in one step; filesystems without hard links get a check and a rename. */
async function publishNew(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (thrown) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(codeOf(thrown) ?? '')) throw thrown;
    if (await exists(to)) throw alreadyThere([to]);
    await rename(from, to);
  }
}

async function refuseExisting(directory: string, names: readonly string[]): Promise<void> {
  const found: string[] = [];
  for (const name of names) if (await exists(join(directory, name))) found.push(join(directory, name));
  if (found.length > 0) throw alreadyThere(found);
}

function alreadyThere(paths: readonly string[]): LifeboatError {
  return new LifeboatError('usage', `An export replaces no file, and there is ${paths.join(', ')} already.`, {
    next: 'Choose another directory with --to, or move the file away.',
    details: { files: paths },
  });
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return false;
    throw thrown;
  }
}

function codeOf(thrown: unknown): string | undefined {
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** An error of node:fs as a sentence; anything else unchanged. */
function fileError(directory: string, thrown: unknown): Error {
  const error = toError(thrown);
  if (error instanceof LifeboatError || !('syscall' in error)) return error;
  if (codeOf(error) === 'EEXIST') {
    return new LifeboatError('usage', `${directory} cannot be written: a file is in the way.`, {
      next: 'Choose another directory with --to, or move the file away.',
      cause: error,
    });
  }
  // "ENOSPC: no space left on device, write"
  const says = /^[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] ?? error.message;
  return new LifeboatError('failed', `Cannot write to ${directory}: ${says}.`, {
    next: 'Nothing was exported. Choose another directory with --to, or mend this one.',
    details: { code: codeOf(error) },
    cause: error,
  });
}
