import { createHash } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { afterAll, beforeAll, expect } from 'vitest';
import { parseAirflowUrl } from '../../src/db/url.ts';
import type { DatabaseTarget } from '../../src/db/target.ts';
import type {
  BackupRequest,
  CleanupRequest,
  EngineContext,
  PruneRequest,
  RestoreRequest,
} from '../../src/engine/api.ts';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import { isLifeboatError, type LifeboatError } from '../../src/errors.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { cliEnv, MAIN, type CliResult, type JsonLine } from '../cli/run-cli.ts';
import type { TestDatabase } from '../helpers/databases.ts';

/** LIFEBOAT_EXHAUSTIVE=1: every point, every part, every position; without it, points spread over all of them. */
export const EXHAUSTIVE: boolean = process.env.LIFEBOAT_EXHAUSTIVE === '1';

// --- the engine in this process ---

export interface TestContext extends EngineContext {
  readonly events: LifeboatEvent[];
  readonly controller: AbortController;
}

export function context(storage: Storage, overrides: Partial<EngineContext> = {}): TestContext {
  const events: LifeboatEvent[] = [];
  const controller = new AbortController();
  return {
    storage,
    events,
    controller,
    report: (event) => void events.push(event),
    signal: controller.signal,
    now: () => new Date(),
    origin: 'a test',
    ...overrides,
  };
}

export function environmentOf(database: { readonly url: string }): DatabaseTarget {
  return parseAirflowUrl(database.url, {}, 'public');
}

export function backupRequest(
  database: { readonly url: string },
  overrides: Partial<BackupRequest> = {},
): BackupRequest {
  return {
    environment: environmentOf(database),
    jobs: 2,
    compression: { codec: 'gzip', level: 1 },
    fernetKeys: [],
    dryRun: false,
    ...overrides,
  };
}

export function restoreRequest(
  database: { readonly url: string },
  overrides: Partial<RestoreRequest> = {},
): RestoreRequest {
  return {
    environment: environmentOf(database),
    backup: 'latest',
    clean: true,
    variables: 'append',
    connections: 'append',
    pauseState: 'backup',
    fernetKeys: [],
    // The fixtures hold tasks that were killed while they ran.
    ignoreRunning: true,
    dryRun: false,
    confirm: () => Promise.resolve(true),
    ...overrides,
  };
}

export function cleanupRequest(database: { readonly url: string }): CleanupRequest {
  return {
    environment: environmentOf(database),
    ignoreRunning: true,
    dryRun: false,
    confirm: () => Promise.resolve(true),
  };
}

export function pruneRequest(overrides: Partial<PruneRequest> = {}): PruneRequest {
  return { keepLast: 1, minBackups: 1, dryRun: false, confirm: () => Promise.resolve(true), ...overrides };
}

/** The error of work that must fail, which must be one that helps a person. */
export async function failure(work: Promise<unknown>): Promise<LifeboatError> {
  const thrown: unknown = await work.then(
    () => expect.fail('it succeeded, and should have failed'),
    (error: unknown) => error,
  );
  if (!isLifeboatError(thrown)) throw thrown;
  expect(thrown.message).toMatch(/^[A-Z].*\.$/s);
  expect(thrown.next, `next step of: ${thrown.message}`).toBeTruthy();
  return thrown;
}

// --- databases ---

/** Rows enough that a backup and a restore take a while. */
export async function growLog(client: pg.ClientBase, rows: number): Promise<void> {
  await client.query(
    `INSERT INTO log (dttm, dag_id, task_id, event, owner, extra)
     SELECT now() - i * interval '1 second', 'big_' || i % 50, 'task_' || i % 7, 'success', 'airflow',
       (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 6) j)
     FROM generate_series(1, $1::int) i`,
    [rows],
  );
}

/** Makes a target differ from the source in every way that a restore would change. */
export async function makeDifferent(client: pg.ClientBase): Promise<void> {
  await client.query(`
    INSERT INTO variable (key, val, is_encrypted) VALUES ('only the target has it', 'kept', false);
    DELETE FROM variable WHERE id = (SELECT min(id) FROM variable);
    INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('pool of the target', 3, false);
    UPDATE slot_pool SET slots = 7 WHERE pool = 'default_pool';
    UPDATE dag SET is_paused = NOT is_paused;
    DELETE FROM xcom WHERE task_id = (SELECT min(task_id) FROM xcom);
    INSERT INTO log (dttm, event) SELECT now(), 'of the target' FROM generate_series(1, 20);
    DELETE FROM sla_miss;
  `);
}

/** Processes of Lifeboat that the server still knows in this database. */
export async function sessionsOf(client: pg.ClientBase, database: TestDatabase): Promise<readonly number[]> {
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'lifeboat%'`,
    [database.name],
  );
  return rows.map((row) => row.pid);
}

/** Waits until no session of Lifeboat is left; returns the milliseconds it took. */
export async function noSessions(
  client: pg.ClientBase,
  database: TestDatabase,
  patience = 10_000,
): Promise<number> {
  const started = performance.now();
  while ((await sessionsOf(client, database)).length > 0) {
    const waited = performance.now() - started;
    if (waited > patience) expect.fail(`sessions of a dead process were still there after ${waited} ms`);
    await sleep(20);
  }
  return performance.now() - started;
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  patience = 20_000,
): Promise<void> {
  const started = performance.now();
  while (!(await condition())) {
    if (performance.now() - started > patience) throw new Error(`waited in vain for: ${what}`);
    await sleep(10);
  }
}

// --- folders ---

/** A folder of its own for a test file, gone after it. Call it outside of tests. */
export function useFolder(): { readonly path: (name: string) => string } {
  let root = '';
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'lifeboat-fault-'));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));
  return { path: (name) => join(root, name) };
}

/** Path → SHA-256 of every file below, hidden ones too. */
export async function filesIn(folder: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files: Record<string, string> = {};
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path).catch(() => undefined);
    if (bytes !== undefined) files[path.slice(folder.length + 1)] = sha256(bytes);
  }
  return files;
}

/** Key → SHA-256 of every object of a storage. */
export async function objectsIn(storage: Storage, prefix = ''): Promise<Readonly<Record<string, string>>> {
  const objects: Record<string, string> = {};
  for await (const { key } of storage.list(prefix)) objects[key] = sha256(await readObject(storage, key));
  return objects;
}

export async function readObject(storage: Storage, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await storage.read(key)) as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

// --- the command line as a process that can be killed ---

export interface RunningCli {
  readonly child: ChildProcess;
  /** Lines of stdout so far, parsed. */
  readonly lines: readonly JsonLine[];
  readonly ended: Promise<CliResult>;
  /** Called for every line as it arrives. */
  onLine(listener: (line: JsonLine, count: number) => void): void;
  kill(signal: NodeJS.Signals): void;
}

/** `lifeboat <args> --json`; `limit` is a shell's ulimit that the process runs under. */
export function startCli(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  limit?: string,
): RunningCli {
  const command = [process.execPath, MAIN, ...args, '--json'];
  const [file = '', ...rest] =
    limit === undefined ? command : ['sh', '-c', `ulimit ${limit} && exec "$@"`, 'sh', ...command];
  const child = spawn(file, rest, { env: cliEnv(env), stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: JsonLine[] = [];
  const listeners: ((line: JsonLine, count: number) => void)[] = [];
  let stdout = '';
  let stderr = '';
  let open = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    const complete = (open + text).split('\n');
    open = complete.pop() ?? '';
    for (const line of complete) {
      const parsed = JSON.parse(line) as JsonLine;
      lines.push(parsed);
      for (const listener of listeners) listener(parsed, lines.length);
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, stdout, stderr });
    });
  });
  return {
    child,
    lines,
    ended,
    onLine: (listener) => void listeners.push(listener),
    kill: (signal) => void child.kill(signal),
  };
}

/** The same URL, through a proxy. */
export function throughPort(url: string, port: number): string {
  const changed = new URL(url);
  changed.hostname = '127.0.0.1';
  changed.port = String(port);
  return changed.href;
}

export function serverOf(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port === '' ? '5432' : port) };
}
