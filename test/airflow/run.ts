import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const GRACE_MS = 30_000;

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Milliseconds after which the program is ended and the call fails. */
  readonly timeout?: number;
  /** Exit codes that are not a failure; [0] unless given. */
  readonly accept?: readonly number[];
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What was started and has not ended, so that nothing outlives the tests. */
const running = new Map<ChildProcess, Promise<unknown>>();
process.once('exit', () => {
  for (const child of running.keys()) signalGroup(child, 'SIGINT');
});

/** Runs a program without a shell and without stdin; fails with the end of its output unless the exit code is accepted. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { accept = [0], timeout = 5 * 60_000 } = options;
  // A process group of its own, so that what it starts can be ended with it.
  const child = spawn(command, args, {
    env: options.env ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  let late = '';
  const limit = setTimeout(() => {
    late = ` after ${timeout / 1000} s, its limit`;
    void end(child);
  }, timeout);
  const result = new Promise<RunResult>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const done = { code: code ?? -1, stdout: text(stdout), stderr: text(stderr) };
      if (code !== null && accept.includes(code) && late === '') {
        resolve(done);
        return;
      }
      const ending = (signal ?? `exit code ${String(code)}`) + late;
      const tail = `${done.stdout.slice(-2000)}\n${done.stderr.slice(-4000)}`;
      reject(new Error(`${command} ${args.slice(0, 4).join(' ')} … ended with ${ending}:\n${tail}`));
    });
  }).finally(() => {
    clearTimeout(limit);
    running.delete(child);
  });
  running.set(
    child,
    result.catch(() => undefined),
  );
  return result;
}

/** Ends every program that is still running, and waits until it has ended. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map(([child, ended]) => Promise.all([end(child), ended])));
}

/**
 * SIGINT first: airflow-lab ends its scheduler and triggerer then, which live in sessions of their own. What does not
 * follow within the grace is killed.
 */
async function end(child: ChildProcess): Promise<void> {
  signalGroup(child, 'SIGINT');
  for (let waited = 0; waited < GRACE_MS && isRunning(child); waited += 200) await sleep(200);
  signalGroup(child, 'SIGKILL');
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // The whole group has ended.
  }
}

export const isRunning = (child: ChildProcess): boolean =>
  child.exitCode === null && child.signalCode === null;

const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString('utf8');
