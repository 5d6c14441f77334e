import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LifeboatError, toError } from '../errors.ts';
import type { Guard } from './guard.ts';
import {
  ids,
  locatePostgres,
  SERVER_ENVIRONMENT,
  usablePostgres,
  type UsablePostgres,
} from './postgres-binaries.ts';
import { unprivilegedUsers } from './service-user.ts';
import { makeWorkDir, removeDebris, removeWorkDir, temporaryFolders } from './work-dir.ts';

const run = promisify(execFile);
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const PORT_ATTEMPTS = 5;
const SUPERUSER = 'postgres';

/** The data is thrown away at the end: nothing is flushed, nothing is kept ready for replication or crashes. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // No socket file: its path may be too long below a deep TMPDIR (107 bytes on Linux).
  unix_socket_directories: '',
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_connections: '200',
  autovacuum: 'off',
  // Files of the data directory, so that nothing is left in /dev/shm, which containers keep at 64 MB besides.
  dynamic_shared_memory_type: 'mmap',
  log_min_messages: 'log',
};

export interface EmbeddedPostgresOptions {
  /** Server settings on top of the built-in ones. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Where the users of this system are listed. */
  readonly passwdFile?: string;
  /** The package's `native` folder; found in node_modules when absent. */
  readonly native?: string;
  /** Folders to try for the server's files, best first. */
  readonly temporaryFolders?: readonly string[];
}

export interface EmbeddedPostgres {
  /** Superuser connection to the database `postgres`; holds the password. */
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** A folder that goes when the server goes; the caller may put files there. */
  readonly workDir: string;
  /** Name of the system user that runs the server; undefined: the caller. */
  readonly runsAs: string | undefined;
  /** Ends the server and removes every file of it. May be called twice. */
  stop(): Promise<void>;
}

/**
 * Starts a PostgreSQL server of our own on a free port of 127.0.0.1, as any user, root included (PostgreSQL refuses to
 * run as root, so an unprivileged user of the system runs it then). When this process ends in any way, kill -9
 * included, a guard ends the server and removes its files.
 *
 * It asks for a random password although it listens on loopback only: a superuser without one would let every local
 * user run commands as whoever started it (COPY … PROGRAM).
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  const place = await findPlace(options);
  const { guard } = place;
  try {
    const password = randomBytes(18).toString('base64url');
    const dataDir = await initialise(place, password);
    const { server, port } = await startServer(place, guard, dataDir, options.settings ?? {});
    let stopping: Promise<void> | undefined;
    return {
      url: `postgresql://${SUPERUSER}:${password}@127.0.0.1:${port}/postgres`,
      port,
      dataDir,
      workDir: place.workDir,
      runsAs: place.postgres.user?.name,
      stop: () => (stopping ??= stopServer(server).then(() => removeWorkDir(place.workDir, guard))),
    };
  } catch (error) {
    await removeWorkDir(place.workDir, guard);
    throw error;
  }
}

interface Place {
  readonly workDir: string;
  readonly guard: Guard;
  readonly postgres: UsablePostgres;
}

/** A folder and a user with which the binaries run. */
async function findPlace(options: EmbeddedPostgresOptions): Promise<Place> {
  const native = options.native ?? locatePostgres();
  const problems: string[] = [];
  for (const parent of options.temporaryFolders ?? temporaryFolders()) {
    const made = await makeWorkDir(parent).catch(
      (error: unknown) => void problems.push(toError(error).message),
    );
    if (made === undefined) continue;
    const { path: workDir, isRoot, guard } = made;
    try {
      await removeDebris(parent, (await stat(workDir)).mtimeMs);
      const passwd = isRoot
        ? await readFile(options.passwdFile ?? '/etc/passwd', 'utf8').catch(() => '')
        : '';
      const postgres = await usablePostgres(
        native,
        workDir,
        isRoot ? unprivilegedUsers(passwd) : [undefined],
      );
      if ('bin' in postgres) return { workDir, guard, postgres };
      problems.push(`${parent}: ${postgres.problem}`);
    } catch (error) {
      problems.push(`${parent}: ${toError(error).message}`);
    }
    await removeWorkDir(workDir, guard);
  }
  throw new LifeboatError('failed', `The embedded PostgreSQL cannot run here (${problems.join('; ')}).`, {
    next: 'Run as an ordinary user on a system with glibc, or use a PostgreSQL server of your own.',
  });
}

/** Runs initdb; returns the data directory. */
async function initialise({ workDir, postgres }: Place, password: string): Promise<string> {
  const dataDir = join(workDir, 'data');
  const passwordFile = join(workDir, 'password');
  await mkdir(dataDir, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (postgres.user !== undefined) {
    await chown(dataDir, postgres.user.uid, postgres.user.gid);
    await chown(passwordFile, postgres.user.uid, postgres.user.gid);
  }
  const args = ['-D', dataDir, '-U', SUPERUSER, '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  args.push('--encoding=UTF8', '--no-locale', '--no-sync', '--no-instructions');
  try {
    await run(join(postgres.bin, 'initdb'), args, {
      cwd: workDir,
      env: SERVER_ENVIRONMENT,
      ...ids(postgres.user),
    });
  } catch (error) {
    throw new LifeboatError(
      'failed',
      `initdb could not make a data directory in ${workDir}: ${lastLine(error)}.`,
      {
        next: 'The user needs a name (`id -un` must print one), and the temporary folder about 150 MB of space.',
        cause: error,
      },
    );
  } finally {
    await rm(passwordFile, { force: true });
  }
  return dataDir;
}

/** What a failed program said last, without its own command line. */
function lastLine(error: unknown): string {
  const said = (error as { readonly stderr?: string }).stderr?.trim() ?? '';
  return (said === '' ? toError(error).message : said).split('\n').at(-1) ?? '';
}

async function startServer(
  place: Place,
  guard: Guard,
  dataDir: string,
  settings: Readonly<Record<string, string>>,
): Promise<{ readonly server: ChildProcess; readonly port: number }> {
  const { workDir, postgres } = place;
  const logFile = join(workDir, 'postgres.log');
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const all = Object.entries({ ...SETTINGS, port: String(port), ...settings });
    const args = ['-D', dataDir, ...all.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    const log = await open(logFile, 'w');
    // detached: Ctrl-C in a terminal must not end the server before the work on it was rolled back.
    const server = spawn(join(postgres.bin, 'postgres'), args, {
      cwd: workDir,
      env: SERVER_ENVIRONMENT,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      ...ids(postgres.user),
    });
    if (server.pid !== undefined) guard.watch(server.pid);
    server.unref();
    server.on('error', () => undefined);
    server.on('exit', () => {
      guard.forget();
    });
    await log.close();
    if (await isReady(server, dataDir)) return { server, port };
    await stopServer(server);
    const tail = (await readFile(logFile, 'utf8')).trim().split('\n').slice(-5).join(' ');
    // Between finding a free port and using it, another process may have taken it.
    if (tail.includes('could not create any TCP/IP sockets') && attempt < PORT_ATTEMPTS) continue;
    throw new LifeboatError('failed', `The embedded PostgreSQL did not start: ${tail}`, {
      next: 'Free some memory and disk space and try again.',
    });
  }
}

/** As pg_ctl tells: the eighth line of postmaster.pid says "ready" once connections are accepted. */
async function isReady(server: ChildProcess, dataDir: string): Promise<boolean> {
  for (let waited = 0; waited < START_TIMEOUT_MS; waited += 20) {
    if (hasEnded(server)) return false;
    const lines = (await readFile(join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
    if (lines[7]?.trim() === 'ready') return true;
    await sleep(20);
  }
  return false;
}

function hasEnded(server: ChildProcess): boolean {
  return server.pid === undefined || server.exitCode !== null || server.signalCode !== null;
}

/** Immediate shutdown: the data is not needed any more, so no checkpoint is written. */
async function stopServer(server: ChildProcess): Promise<void> {
  if (hasEnded(server)) return;
  server.ref();
  const exited = once(server, 'exit');
  server.kill('SIGQUIT');
  const inTime = await Promise.race([exited, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })]);
  if (inTime === undefined) server.kill('SIGKILL');
  await exited;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
