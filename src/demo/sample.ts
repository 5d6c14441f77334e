import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import type { ClientBase } from 'pg';
import { LifeboatError } from '../errors.ts';
import { loadSqlDump } from './sql-dump.ts';

/** Release of the Airflow that wrote the samples. */
export const SAMPLE_AIRFLOW = '2.8.1';

/** Fernet key of that Airflow. Public, as every secret in the samples is fake. */
export const SAMPLE_FERNET_KEY = 'Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMDA=';

/** data: filled by running DAGs, some killed in flight · fresh: just migrated, nothing run. */
export async function loadSample(client: ClientBase, kind: 'data' | 'fresh'): Promise<void> {
  // From src/demo and from dist/demo it is the same way.
  const path = fileURLToPath(
    new URL(`../../test/fixtures/airflow/${kind}-${SAMPLE_AIRFLOW}.sql.gz`, import.meta.url),
  );
  await stat(path).catch((error: unknown) => {
    throw new LifeboatError('failed', `The sample database of the demo is missing: ${path}.`, {
      next: 'Install the package again; it ships with it.',
      cause: error,
    });
  });
  const sql = createGunzip();
  const file = createReadStream(path);
  file.on('error', (error) => sql.destroy(error));
  await loadSqlDump(client, file.pipe(sql));
}
