import { fileURLToPath } from 'node:url';
import { FERNET_KEY } from './lab.ts';
import { run } from './run.ts';
import type { RunResult } from './run.ts';

/** The built command, for scripts that run it. */
export const MAIN = fileURLToPath(new URL('../../dist/bin/lifeboat.js', import.meta.url));

/** The last line of `--json`. */
export type Summary = Readonly<Record<string, unknown>>;

/** Runs the built command as a user would, with nothing of this machine's Airflow in its environment. */
export function lifeboat(
  args: readonly string[],
  keys: Readonly<Record<string, string>> = { LIFEBOAT_FERNET_KEY: FERNET_KEY },
  accept: readonly number[] = [0],
): Promise<RunResult> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(AIRFLOW__|MWAA__|LIFEBOAT_|PG)/.test(name)),
  );
  return run(process.execPath, [MAIN, ...args], { env: { ...env, ...keys }, timeout: 15 * 60_000, accept });
}

/** The same with --json; returns the summary, which must be the last line. */
export async function lifeboatJson(
  args: readonly string[],
  keys?: Readonly<Record<string, string>>,
): Promise<Summary> {
  const { stdout } = await lifeboat([...args, '--json'], keys);
  const last = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Summary;
  if (last.event !== 'summary') throw new Error(`The last line is no summary: ${JSON.stringify(last)}`);
  return last;
}
