import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { install, labPath } from './lab.ts';
import { installMoto } from './moto.ts';
import { writeResults } from './results.ts';
import { databaseReleases, liveReleases, selectReleases } from './versions.ts';

/**
 * Before any test: the built command and airflow-lab must be there, and each release in its virtual environment. After
 * the tests, with AIRFLOW_RECORD=1: their results go to docs/fidelity.md.
 */
export default async function setup(): Promise<() => Promise<void>> {
  console.log(`airflow-lab: ${labPath()}`);
  if (!existsSync(new URL('../../dist/bin/lifeboat.js', import.meta.url))) {
    throw new Error('dist/bin/lifeboat.js is missing: run npm run build first.');
  }
  // One after the other: they share pip's and uv's caches, and the first one may have to install uv.
  const setting = process.env.AIRFLOW_VERSIONS;
  for (const release of selectReleases(setting).flatMap((one) => liveReleases(one, setting))) {
    const started = performance.now();
    await install(release);
    console.log(`Airflow ${release} installed (${((performance.now() - started) / 1000).toFixed(0)} s)`);
  }
  await installMoto();
  const folder = await mkdtemp(join(tmpdir(), 'lifeboat-results-'));
  const results = join(folder, 'results.jsonl');
  await writeFile(results, '');
  // The workers are started with this environment.
  process.env.AIRFLOW_RESULTS = results;
  return async () => {
    if (process.env.AIRFLOW_RECORD === '1') {
      await writeResults(results, databaseReleases(process.env.AIRFLOW_VERSIONS));
    }
    await rm(folder, { recursive: true });
  };
}
