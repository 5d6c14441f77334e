import { spawn } from 'node:child_process';

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Milliseconds after which the process is killed and the call fails. */
  readonly timeout?: number;
  /** Exit codes that are not a failure; [0] unless given. */
  readonly accept?: readonly number[];
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell and without stdin; fails with the end of its output unless the exit code is accepted. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { accept = [0], timeout = 5 * 60_000 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: options.env ?? process.env,
      cwd: options.cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
      killSignal: 'SIGKILL',
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const result = { code: code ?? -1, stdout: text(stdout), stderr: text(stderr) };
      if (code !== null && accept.includes(code)) {
        resolve(result);
        return;
      }
      const ending = signal === null ? `exit code ${code}` : `${signal} (limit ${timeout / 1000} s)`;
      const tail = `${result.stdout.slice(-2000)}\n${result.stderr.slice(-4000)}`;
      reject(new Error(`${command} ${args.slice(0, 4).join(' ')} … ended with ${ending}:\n${tail}`));
    });
  });
}

const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString('utf8');
