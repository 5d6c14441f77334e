import { createReadStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createGunzip } from 'node:zlib';
import type { Readable } from 'node:stream';

/** The releases of which real metadata lies in test/fixtures/airflow, one per supported minor. */
export const FIXTURE_VERSIONS = ['2.5.1', '2.6.3', '2.7.2', '2.8.1', '2.9.2', '2.10.3', '2.11.0'] as const;
/** Airflow 3, whose database only Airflow reads: in test/fixtures/airflow-3. */
type RestFixtureVersion = '3.0.6' | '3.2.1' | '3.3.2';
export type FixtureVersion = (typeof FIXTURE_VERSIONS)[number];

/** data: filled by running DAGs · fresh: just migrated, nothing run. */
export type FixtureKind = 'data' | 'fresh';

/** Fernet key of all fixtures; every secret in them is fake. */
export const FIXTURE_FERNET_KEY = 'Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMDA=';

function fixturePath(kind: FixtureKind, version: FixtureVersion | RestFixtureVersion): string {
  const folder = version.startsWith('2.') ? 'airflow' : 'airflow-3';
  return fileURLToPath(new URL(`../fixtures/${folder}/${kind}-${version}.sql.gz`, import.meta.url));
}

/** The fixture as SQL text. */
export function openFixture(kind: FixtureKind, version: FixtureVersion | RestFixtureVersion): Readable {
  const file = createReadStream(fixturePath(kind, version));
  const sql = createGunzip();
  file.on('error', (error) => sql.destroy(error));
  return file.pipe(sql);
}
