import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dump } from './dump.ts';
import { run } from './run.ts';
import type { RunResult } from './run.ts';

// Limits are for a machine that is busy with other things; each step takes a tenth of it on a quiet one.
const MINUTE = 60_000;

/** The key of every source, and of targets that must read the same ciphertext. */
export const FERNET_KEY = 'Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMDA=';

/** Path of the airflow-lab script: AIRFLOW_LAB, else beside the checkout. Its absence is a failure, never a skip. */
export function labPath(): string {
  const beside = fileURLToPath(new URL('../../../shared/airflow-lab/airflow-lab', import.meta.url));
  const path = process.env.AIRFLOW_LAB ?? beside;
  if (existsSync(path)) return path;
  throw new Error(
    `The tests against a real Airflow need airflow-lab and there is none at ${path}. Set AIRFLOW_LAB to its path.`,
  );
}

const lab = (args: readonly string[], timeout: number): Promise<RunResult> =>
  run(labPath(), args, { timeout });

/** One Airflow: a home directory with its settings, and a database. */
export interface LabHome {
  readonly release: string;
  readonly home: string;
  readonly database: string;
}

/** Puts the release into its own virtual environment, kept under AIRFLOW_LAB_HOME for the next run. */
export async function install(release: string): Promise<void> {
  await lab(['install', release], 15 * MINUTE);
}

export interface CreateOptions {
  readonly fernetKey?: string;
  /** Settings on top of airflow-lab's own, such as AIRFLOW__CORE__PARALLELISM. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The database has a schema already: only the home is made. */
  readonly onlyHome?: boolean;
}

/** Migrates the database and makes the users; nothing is parsed or run yet. */
export async function create(at: LabHome, options: CreateOptions = {}): Promise<void> {
  const { release, home, database } = at;
  const { fernetKey = FERNET_KEY, settings = {}, onlyHome = false } = options;
  const set = Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const args = ['create', release, '--db', database, '--home', home, '--fernet-key', fernetKey, ...set];
  await lab(onlyHome ? [...args, '--no-init'] : args, 15 * MINUTE);
}

/** Writes the home only, for a database that is there already. */
export async function environmentOnly(at: LabHome): Promise<void> {
  const { release, home, database } = at;
  const args = ['create', release, '--db', database, '--home', home, '--fernet-key', FERNET_KEY, '--no-init'];
  await lab(args, 5 * MINUTE);
}

/** Fills it by running scheduler, triggerer and DAGs, and kills them with runs in flight. */
export async function populate(at: LabHome): Promise<void> {
  await lab(['populate', at.release, '--home', at.home, '--seconds', '900'], 20 * MINUTE);
}

/** The database as Airflow's own ORM reads it. */
export async function dump(at: LabHome): Promise<Dump> {
  const { stdout } = await lab(['dump', '--home', at.home, '--section', 'semantic'], 5 * MINUTE);
  return JSON.parse(stdout) as Dump;
}

/** Differences between two dump files as airflow-lab words them; empty when they mean the same. */
export async function diff(expected: string, actual: string): Promise<string> {
  const args = ['diff', '--max', '40', expected, actual];
  const { code, stdout } = await run(labPath(), args, { accept: [0, 1] });
  return code === 0 ? '' : stdout;
}

/** Any `airflow` command in that environment. */
export function airflow(at: LabHome, ...args: readonly string[]): Promise<RunResult> {
  return lab(['run', '--home', at.home, ...args], 5 * MINUTE);
}

/** Runs a Python script with that environment's Airflow; returns what it printed on stdout. */
export async function python(at: LabHome, script: string): Promise<string> {
  const file = join(at.home, 'script.py');
  await writeFile(file, script);
  const { stdout } = await lab(['python', '--home', at.home, file], 5 * MINUTE);
  return stdout;
}
