import { existsSync } from 'node:fs';
import { install, labPath } from './lab.ts';
import { selectReleases } from './versions.ts';

/** Before any test: the built command and airflow-lab must be there, and each release in its virtual environment. */
export default async function setup(): Promise<void> {
  console.log(`airflow-lab: ${labPath()}`);
  if (!existsSync(new URL('../../dist/cli/main.js', import.meta.url))) {
    throw new Error('dist/cli/main.js is missing: run npm run build first.');
  }
  // One after the other: they share pip's and uv's caches, and the first one may have to install uv.
  for (const release of selectReleases(process.env.AIRFLOW_VERSIONS)) {
    const started = performance.now();
    await install(release);
    console.log(`Airflow ${release} installed (${((performance.now() - started) / 1000).toFixed(0)} s)`);
  }
}
