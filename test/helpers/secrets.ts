import { fernetDecrypt } from '../../src/secrets/fernet.ts';
import { createDatabase, type TestDatabase } from './databases.ts';
import type { FixtureVersion } from './fixtures.ts';

/** Every secret's clear bytes by name, whether or not it is stored as a token; `?` where no key reads it. */
export async function clearTexts(
  database: TestDatabase,
  keys: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const client = await database.client();
  const { rows } = await client.query<{ name: string; value: string; token: boolean | null }>(
    `SELECT 'variable ' || coalesce(key, '-') AS name, val AS value, is_encrypted AS token FROM variable WHERE val <> ''
     UNION ALL SELECT 'password ' || conn_id, password, is_encrypted FROM connection WHERE password <> ''
     UNION ALL SELECT 'extra ' || conn_id, extra, is_extra_encrypted FROM connection WHERE extra <> ''
     UNION ALL SELECT 'trigger ' || classpath, kwargs::text, kwargs::text NOT LIKE '{%' FROM trigger`,
  );
  await client.end();
  return new Map(
    rows.map(({ name, value, token }) => [
      name,
      token === true
        ? (fernetDecrypt(keys, value)?.toString('latin1') ?? '?')
        : Buffer.from(value).toString('latin1'),
    ]),
  );
}

/** Connections that `airflow db init` made would be kept by append. */
export async function freshTarget(version: FixtureVersion): Promise<TestDatabase> {
  const target = await createDatabase({ from: 'fresh', version });
  const client = await target.client();
  await client.query('DELETE FROM connection; DELETE FROM variable');
  await client.end();
  return target;
}
