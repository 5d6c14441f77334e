import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GUARD_NAME, startGuard, type Guard } from './guard.ts';

const run = promisify(execFile);
const PREFIX = 'lifeboat-postgres-';
const OWNER_FILE = 'guard.pid';
const HOUR_MS = 3_600_000;

/** Where a server's folder may be made, best first: a TMPDIR below /root cannot be entered by another user. */
export function temporaryFolders(): readonly string[] {
  return [...new Set([tmpdir(), '/tmp', '/var/tmp'])];
}

export interface WorkDir {
  readonly path: string;
  /** The kernel's answer to who we are, whatever the environment says. */
  readonly isRoot: boolean;
  readonly guard: Guard;
}

/**
 * A fresh folder and its guard. As root others may pass through it (not list it): the server's user reaches its data that
 * way. The guard is there first: a kill -9 between the two would leave a folder that nobody removes for an hour.
 */
export async function makeWorkDir(parent: string): Promise<WorkDir> {
  const path = join(parent, `${PREFIX}${randomBytes(6).toString('hex')}`);
  const guard = await startGuard(path);
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    await guard.release();
    throw error;
  }
  try {
    // So that a later start can tell a folder in use from debris.
    await writeFile(join(path, OWNER_FILE), String(guard.pid));
    const isRoot = (await stat(path)).uid === 0;
    if (isRoot) await chmod(path, 0o711);
    return { path, isRoot, guard };
  } catch (error) {
    await removeWorkDir(path, guard);
    throw error;
  }
}

export async function removeWorkDir(path: string, guard: Guard): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5 });
  await guard.release();
}

/**
 * Removes folders whose guard is gone too (both processes killed, or the machine lost power). A server that still runs
 * there notices within a minute that its data directory is gone and ends itself.
 */
export async function removeDebris(parent: string, now: number): Promise<readonly string[]> {
  const names = await readdir(parent).catch(() => []);
  const removed: string[] = [];
  for (const name of names.filter((each) => each.startsWith(PREFIX))) {
    const path = join(parent, name);
    if (!(await isDebris(path, now))) continue;
    // Another user's folder stays: not ours to remove, and no reason to fail.
    await rm(path, { recursive: true, force: true }).then(
      () => removed.push(path),
      () => undefined,
    );
  }
  return removed;
}

async function isDebris(path: string, now: number): Promise<boolean> {
  try {
    const pid = await readFile(join(path, OWNER_FILE), 'utf8').catch(() => undefined);
    if (pid !== undefined && /^\d+$/.test(pid)) return !(await isAlive(pid));
    // Without the file it may be a start under way.
    return now - (await stat(path)).mtimeMs > HOUR_MS;
  } catch {
    return false;
  }
}

/** A process id may be another process by now, or one that ended and was never reaped: the command line tells. */
async function isAlive(pid: string): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined);
  if (command !== undefined) return command.includes(GUARD_NAME);
  return run('/bin/sh', ['-c', 'kill -0 "$1"', 'sh', pid]).then(
    () => true,
    () => false,
  );
}
