import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** The compiled command line, as it is shipped. */
export const MAIN: string = fileURLToPath(new URL('../../dist/bin/lifeboat.js', import.meta.url));

export interface CliResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
}

/** A clean environment: nothing of the machine that runs the tests names a database or a storage. */
export function cliEnv(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: process.env.PATH ?? '', HOME: '/nonexistent', LC_ALL: 'de_DE.UTF-8', ...extra };
}

/** Runs `lifeboat` to its end as a process of its own, without a terminal. */
export async function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd ?? ROOT,
    env: cliEnv(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout: string[] = [];
  const stderr: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => stdout.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => stderr.push(text));
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code, signal, stdout: stdout.join(''), stderr: stderr.join('') });
    });
  });
}

export type JsonLine = Readonly<Record<string, unknown>> & { readonly event: string };

/** Every line of a --json run, and the summary, which must be the last. */
export function jsonLines(stdout: string): {
  readonly lines: readonly JsonLine[];
  readonly summary: JsonLine;
} {
  const texts = stdout.split('\n');
  if (texts.pop() !== '') throw new Error(`stdout does not end with a line end: ${stdout}`);
  const lines = texts.map((text) => JSON.parse(text) as JsonLine);
  const summary = lines.at(-1);
  if (summary?.event !== 'summary') throw new Error(`the last line is no summary: ${stdout}`);
  return { lines, summary };
}
