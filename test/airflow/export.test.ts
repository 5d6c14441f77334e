import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { openFixture } from '../helpers/fixtures.ts';
import type { FixtureKind, FixtureVersion } from '../helpers/fixtures.ts';
import { emptyEnvironment, query, withClient } from './environment.ts';
import { airflow, dump, environmentOnly } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import { endAll } from './run.ts';

const release = inject('airflowRelease') as FixtureVersion;

/** Airflow's import has no place for a variable's description, and encrypts what it reads. */
const DIFFERS: Readonly<Record<string, readonly string[]>> = {
  variable: ['description', 'is_encrypted'],
  connection: ['is_encrypted', 'is_extra_encrypted'],
};

/** Since 2.6 the import of connections skips other names (validate_key in airflow/utils/helpers.py), and says so. */
const isImported = (connId: string): boolean =>
  release === '2.5.1' || /^[\p{L}\p{N}_.-]{1,200}$/u.test(connId);

describe(`Airflow ${release} imports what was exported`, () => {
  let folder: string;
  let server: string;
  let source: LabHome;
  const releasers: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `lifeboat-export-${release}-`));
    releasers.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const embedded = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    server = embedded.url;
    releasers.push(() => embedded.stop(), endAll);
    source = await loaded('source', 'data');
    // Neither NULL nor what no key reads has a place in Airflow's files: the export says so and ends with 3.
    await query(source, "DELETE FROM variable WHERE key IN ('lab_null_val', 'lab_other_fernet_key')");
  });

  afterAll(async () => {
    for (const free of releasers.reverse()) await free();
  });

  async function loaded(name: string, kind: FixtureKind): Promise<LabHome> {
    const made = await emptyEnvironment(server, folder, release, name);
    await withClient(made.database, (client) => loadSqlDump(client, openFixture(kind, release)));
    await environmentOnly(made);
    return made;
  }

  it('variables, connections and pools read in Airflow as they did in the source', async () => {
    const at = ['--storage', pathToFileURL(join(folder, 'storage')).href];
    await lifeboat(['backup', '--airflow', source.database, ...at]);
    const made = join(folder, 'made');
    await lifeboat(['export', 'latest', ...at, '--to', made, '--with-secrets']);
    const target = await loaded('target', 'fresh');
    // What `airflow db init` made is not to be mistaken for what was imported.
    await query(target, 'DELETE FROM connection');
    for (const what of ['variables', 'connections', 'pools']) {
      await airflow(target, what, 'import', join(made, `${what}.json`));
    }
    const [there, here] = [await dump(source), await dump(target)];
    for (const [hook, differs] of Object.entries(DIFFERS)) {
      const wanted = Object.fromEntries(
        Object.entries(without(there.hooks[hook], differs)).filter(
          ([name]) => hook !== 'connection' || isImported(name),
        ),
      );
      expect(Object.keys(wanted).length, hook).toBeGreaterThan(10);
      expect(without(here.hooks[hook], differs), hook).toEqual(wanted);
    }
    expect(here.semantic.slot_pool).toEqual(there.semantic.slot_pool);
  });
});

function without(hook: unknown, columns: readonly string[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(hook as Record<string, Record<string, unknown>>).map(([name, row]) => [
      name,
      Object.fromEntries(Object.entries(row).filter(([column]) => !columns.includes(column))),
    ]),
  );
}
