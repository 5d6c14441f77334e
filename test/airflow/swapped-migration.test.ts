import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { openFixture } from '../helpers/fixtures.ts';
import type { FixtureKind } from '../helpers/fixtures.ts';
import { emptyEnvironment, query, withClient } from './environment.ts';
import { airflow, environmentOnly } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import { endAll } from './run.ts';

const FROM = '2.8.1';
const release = inject('airflowRelease');

/**
 * A migration names what it changes: indexes, constraints, types. It only works on tables that were exchanged if each
 * has the name and the owner that it had before.
 */
describe.runIf(release === '2.11.0')(`tables of ${FROM} that a restore exchanged`, () => {
  const releasers: (() => Promise<void>)[] = [];
  let folder: string;
  let server: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-swapped-'));
    releasers.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const embedded = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    server = embedded.url;
    releasers.push(() => embedded.stop(), endAll);
  });

  afterAll(async () => {
    for (const free of releasers.reverse()) await free();
  });

  async function loaded(name: string, kind: FixtureKind): Promise<LabHome> {
    const made = await emptyEnvironment(server, folder, FROM, name);
    await withClient(made.database, (client) => loadSqlDump(client, openFixture(kind, FROM)));
    return made;
  }

  async function migrated(at: LabHome): Promise<readonly string[]> {
    const newer: LabHome = { ...at, release, home: `${at.home}-migrated` };
    await environmentOnly(newer);
    await airflow(newer, 'db', 'migrate', '--no-reserialize-dags');
    await airflow(newer, 'db', 'check-migrations', '-t', '1');
    return (await withClient(newer.database, databaseFingerprint)).catalog;
  }

  it(`are migrated to ${release} by Airflow as any others`, async () => {
    const [untouched, target] = [await loaded('untouched', 'data'), await loaded('target', 'fresh')];
    const storage = join(folder, 'storage');
    await mkdir(storage);
    const at = ['--storage', pathToFileURL(storage).href];
    await lifeboat(['backup', '--airflow', untouched.database, ...at]);
    const oid = `SELECT 'dag_run'::regclass::oid::text AS oid`;
    const before = await query(target, oid);
    await lifeboat(['restore', 'latest', '--airflow', target.database, '--via', 'shadow', ...at, '--yes']);
    expect(await query(target, oid), 'the table is another one').not.toEqual(before);
    expect(await migrated(target)).toEqual(await migrated(untouched));
  });
});
