import { statfs } from 'node:fs/promises';
import { freemem } from 'node:os';
import { temporaryFolders } from '../../src/demo/work-dir.ts';

const IN_MEMORY = '/dev/shm';
/** A run needs about one gigabyte at a time; containers keep this folder at 64 MB unless they are told otherwise. */
const ENOUGH_BYTES = 4 * 1024 ** 3;

/**
 * Where the server of a test run goes: into memory where there is plenty. Each test makes and drops databases of four
 * hundred files, and ext4 looks for an inode for each new file among all those freed in the last seconds
 * (recently_deleted in fs/ext4/ialloc.c): that was 40 % of the processor time of a run.
 */
export async function memoryFolders(): Promise<readonly string[]> {
  const room = await statfs(IN_MEMORY).then(
    ({ bavail, bsize }) => Math.min(bavail * bsize, freemem()),
    () => 0,
  );
  return room < ENOUGH_BYTES ? temporaryFolders() : [IN_MEMORY, ...temporaryFolders()];
}
