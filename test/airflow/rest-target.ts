import { loadedEnvironment } from './api.ts';
import { putDags } from './dag-files.ts';
import { emptyEnvironment, query } from './environment.ts';
import { airflow, create } from './lab.ts';
import type { CreateOptions, LabHome } from './lab.ts';
import { isRestOnly } from './versions.ts';

/** Not the sources' Fernet key. */
const OTHER_KEY = 'T3RoZXJPdGhlck90aGVyT3RoZXJPdGhlck90aGVyMDA=';

/** An Airflow without history that has parsed the DAGs, all of them paused. */
export async function emptyTarget(server: string, folder: string, release: string): Promise<LabHome> {
  const settings = { AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION: 'True' };
  const at = await withoutDags(server, folder, release, { fernetKey: OTHER_KEY, settings });
  await putDags(at);
  await airflow(at, 'dags', 'reserialize');
  return at;
}

/** Of 3.x from a fixture, which spares the migrations; those of 2.x have no users. */
async function withoutDags(
  server: string,
  folder: string,
  release: string,
  options: CreateOptions,
): Promise<LabHome> {
  if (isRestOnly(release)) {
    const at = await loadedEnvironment(server, folder, release, 'target', 'fresh', options);
    // Airflow's examples, encrypted with the key of the fixture.
    await query(at, 'DELETE FROM connection');
    return at;
  }
  const at = await emptyEnvironment(server, folder, release, 'target');
  await create(at, options);
  // Airflow's examples: up to 2.6 they come with the schema, and have the names of those of the source.
  await query(at, 'DELETE FROM connection');
  return at;
}
