import { existsSync, readdirSync, statSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './run.ts';

const PACKAGE = fileURLToPath(new URL('../../dags-bridge', import.meta.url));
export const LAB: string = process.env.AIRFLOW_LAB_HOME ?? join(homedir(), '.cache', 'airflow-lab');
export const UV: string = join(LAB, 'uv', 'bin', 'uv');

export interface Bridge {
  /** A copy of the release's virtual environment with the wheel in it. */
  readonly python: string;
  /** Where the package and all of Airflow are importable from. */
  readonly sitePackages: string;
  /** What installing the wheel changed, by the package manager's own list. */
  readonly installed: readonly string[];
  readonly wheelBytes: number;
}

/**
 * Builds the wheel and installs it as a user would, with every version of that Airflow's environment as a constraint.
 * The environment is a copy (hard links): airflow-lab's own stays as it is.
 *
 * @param besides more packages that this Airflow shall have
 */
export async function installBridge(
  release: string,
  folder: string,
  besides: readonly string[] = [],
): Promise<Bridge> {
  if (!existsSync(join(PACKAGE, 'airflow_lifeboat/engine/dist/cli/main.js'))) {
    throw new Error('The bundled engine is missing: run npm run build:bridge first.');
  }
  const wheel = await buildWheel(folder);
  const venv = join(folder, 'venv');
  await run('cp', ['-al', join(LAB, release), venv]);
  const python = join(venv, 'bin', 'python');
  const before = await freeze(python);
  const constraints = join(folder, 'constraints.txt');
  await writeFile(constraints, before.join('\n'));
  await run(UV, ['pip', 'install', '--python', python, '--constraint', constraints, wheel, ...besides]);
  const wheelBytes = statSync(wheel).size;
  const installed = (await freeze(python)).filter((line) => !before.includes(line));
  const [version = ''] = readdirSync(join(venv, 'lib'));
  return { python, sitePackages: join(venv, 'lib', version, 'site-packages'), installed, wheelBytes };
}

/** Names of what is new, with the version where it is from a registry. */
export const addedBy = ({ installed }: Bridge): readonly string[] =>
  installed.map((line) => line.replace(/ @ .*/, ''));

async function buildWheel(folder: string): Promise<string> {
  // setuptools writes beside the sources, and two releases are tested side by side.
  const sources = join(folder, 'dags-bridge');
  await cp(PACKAGE, sources, { recursive: true });
  const out = join(folder, 'wheel');
  await mkdir(out);
  await run(UV, ['build', '--wheel', '--out-dir', out, sources]);
  const [name = ''] = readdirSync(out).filter((file) => file.endsWith('.whl'));
  return join(out, name);
}

async function freeze(python: string): Promise<readonly string[]> {
  const { stdout } = await run(UV, ['pip', 'freeze', '--python', python]);
  return stdout.split('\n').filter((line) => line !== '');
}

/** The Python tests, by themselves in a folder, so that they import what was installed. */
export async function runPythonTests(
  bridge: Bridge,
  folder: string,
  env: Readonly<Record<string, string>>,
  files = 'test_*.py',
): Promise<{ readonly code: number; readonly output: string }> {
  const at = join(folder, 'python-tests');
  await cp(join(PACKAGE, 'tests'), join(at, 'tests'), { recursive: true });
  const { code, stderr } = await run(
    bridge.python,
    ['-W', 'ignore', '-m', 'unittest', 'discover', '-t', at, '-s', join(at, 'tests'), '-p', files],
    {
      accept: [0, 1],
      timeout: 10 * 60_000,
      env: { PATH: process.env.PATH, HOME: folder, PYTHONPATH: at, ...env },
    },
  );
  return { code, output: stderr };
}
