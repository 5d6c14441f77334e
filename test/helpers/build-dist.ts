import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { TestProject } from 'vitest/node';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Only these run `lifeboat` as a subprocess. */
const NEEDS_DIST = /[\\/]test[\\/](cli|fault)[\\/]/;

/** Compiles src to dist when a chosen test needs it and dist is older than src. */
export async function buildDistOnce(project: TestProject): Promise<void> {
  // The names given on the command line; not in vitest's public types. Without them, every file counts.
  const { filenamePattern: filters = [] } = project.vitest as { filenamePattern?: string[] };
  const { testFiles } = await project.globTestFiles(filters);
  if (!testFiles.some((file) => NEEDS_DIST.test(file)) || (await isFresh())) return;
  try {
    await promisify(execFile)('npm', ['run', 'build', '--silent'], { cwd: ROOT });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`npm run build failed:\n${stdout}${stderr}`, { cause: error });
  }
}

async function isFresh(): Promise<boolean> {
  // The last file that a build writes.
  const built = await stat(join(ROOT, 'dist/bin/lifeboat.js')).catch(() => undefined);
  if (built === undefined) return false;
  const inputs = await readdir(join(ROOT, 'src'), { recursive: true });
  const paths = [
    ...inputs.map((name) => join('src', name)),
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
  ];
  const ages = await Promise.all(paths.map(async (path) => (await stat(join(ROOT, path))).mtimeMs));
  return Math.max(...ages) < built.mtimeMs;
}
