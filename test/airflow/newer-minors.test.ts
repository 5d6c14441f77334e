import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { fernetDecrypt } from '../../src/secrets/fernet.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { snapshotTables } from '../helpers/compare.ts';
import type { DatabaseSnapshot } from '../helpers/compare.ts';
import { openFixture } from '../helpers/fixtures.ts';
import type { FixtureKind, FixtureVersion } from '../helpers/fixtures.ts';
import { diffContent, expectedContent, resolveIds } from '../integration/expected.ts';
import type { Content, NamedRow } from '../integration/expected.ts';
import { canonical } from './dump.ts';
import { emptyEnvironment, query, withClient } from './environment.ts';
import { airflow, environmentOnly, FERNET_KEY } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import { endAll } from './run.ts';
import { olderReleases } from './versions.ts';

const release = inject('airflowRelease') as FixtureVersion;
const older = olderReleases(release, process.env.AIRFLOW_VERSIONS) as readonly FixtureVersion[];

interface Intended {
  readonly reason: string;
  /** What both sides show in place of these rows. */
  readonly show: (content: Content) => Content;
}

/** Rows of a table that stay, each as it is shown. */
const inTable =
  (table: string, change: (row: NamedRow) => NamedRow | undefined) =>
  (content: Content): Content =>
    new Map([...content, [table, (content.get(table) ?? []).map(change).filter((row) => row !== undefined)]]);

/**
 * Where Airflow's migration and a restore differ on purpose, besides what a restore within one minor does (DIFFERENCES in
 * test/integration/expected.ts, also with reasons).
 */
const INTENDED: readonly Intended[] = [
  {
    reason: 'The migration writes itself into the audit log.',
    show: inTable('log', (row) =>
      /^cli_(upgradedb|migratedb|upgrade|migrate)$/.test(row.event ?? '') ? undefined : row,
    ),
  },
  {
    reason: 'A log template has the time at which its own environment made it, and is there once.',
    show: (content) =>
      new Map([
        ...content,
        [
          'log_template',
          [
            ...new Map(
              (content.get('log_template') ?? []).map((row) => [
                canonical([row.filename, row.elasticsearch_id]),
                row,
              ]),
            ).values(),
          ].map(({ filename = null, elasticsearch_id = null }) => ({ filename, elasticsearch_id })),
        ],
      ]),
  },
  {
    reason:
      'Runs in flight are not finished data: the restore ends or resumes them itself, and counts the tries that Airflow’s migration to 2.10 leaves one behind.',
    show: (content) => {
      const finished = new Set(
        (content.get('dag_run') ?? []).filter(isFinished).map((row) => canonical([row.dag_id, row.run_id])),
      );
      const kept = (row: NamedRow): boolean =>
        (row.run_id ?? null) === null ||
        finished.has(canonical([row.dag_id ?? row.source_dag_id, row.run_id]));
      return new Map(
        [...content].map(([table, rows]) => [table, OF_RUNS.includes(table) ? rows.filter(kept) : rows]),
      );
    },
  },
];

const OF_RUNS = [
  'dag_run',
  'task_instance',
  'task_instance_history',
  'task_fail',
  'task_reschedule',
  'task_map',
  'xcom',
  'rendered_task_instance_fields',
  'task_instance_note',
];

const isFinished = (row: NamedRow): boolean => row.state === 'success' || row.state === 'failed';

const asShown = (content: Content): Content => INTENDED.reduce((shown, { show }) => show(shown), content);

/** Tokens of one text differ; what is compared is what the trigger is given. */
function decrypted(snapshot: DatabaseSnapshot): DatabaseSnapshot {
  const trigger = snapshot.get('trigger');
  const at = trigger?.columns.findIndex(({ name }) => name === 'kwargs') ?? -1;
  if (!trigger) return snapshot;
  const rows = trigger.rows.map((row) =>
    row.map((value, index) => {
      if (index !== at || value === null) return value;
      const clear = value.startsWith('{') ? value : fernetDecrypt([FERNET_KEY], value)?.toString('utf8');
      return canonical(JSON.parse(clear ?? '"unreadable"'));
    }),
  );
  return new Map([...snapshot, ['trigger', { ...trigger, rows }]]);
}

const snapshot = (at: LabHome): Promise<DatabaseSnapshot> =>
  withClient(at.database, async (client) => decrypted(await snapshotTables(client)));

describe.runIf(older.length > 0)(`into Airflow ${release}`, () => {
  const releasers: (() => Promise<void>)[] = [];
  let folder: string;
  let server: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `lifeboat-newer-${release}-`));
    releasers.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const embedded = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    server = embedded.url;
    releasers.push(() => embedded.stop(), endAll);
  });

  afterAll(async () => {
    for (const free of releasers.reverse()) await free();
  });

  async function loaded(name: string, kind: FixtureKind, version: FixtureVersion): Promise<LabHome> {
    const made = await emptyEnvironment(server, folder, version, name);
    await withClient(made.database, (client) => loadSqlDump(client, openFixture(kind, version)));
    return made;
  }

  it.each(older)('%s: through Lifeboat as through Airflow’s own migration', async (from) => {
    const name = from.replaceAll('.', '_');
    const source = await loaded(`source_${name}`, 'data', from);
    const storage = join(folder, `storage_${name}`);
    await mkdir(storage);
    const at = ['--storage', pathToFileURL(storage).href];
    await lifeboat(['backup', '--airflow', source.database, ...at]);
    const backups = await readdir(join(storage, 'backups'));
    const manifest = JSON.parse(
      await readFile(join(storage, 'backups', String(backups[0]), 'manifest.json'), 'utf8'),
    ) as { readonly snapshotTime: string };

    const target = await loaded(`target_${name}`, 'fresh', release);
    const before = await snapshot(target);
    await lifeboat(['restore', 'latest', '--airflow', target.database, ...at, '--yes']);

    // The very database that was backed up, by the newer Airflow itself; its DAGs are not parsed, as in a restore.
    const migrated: LabHome = { ...source, release, home: join(folder, `migrated_${name}`) };
    await environmentOnly(migrated);
    const command = release === '2.6.3' ? 'upgrade' : 'migrate';
    await airflow(migrated, 'db', command, '--no-reserialize-dags');
    expect(await query(migrated, 'SELECT version_num FROM alembic_version')).toEqual(
      await query(target, 'SELECT version_num FROM alembic_version'),
    );

    const expected = expectedContent(await snapshot(migrated), before, {
      clean: false,
      snapshotTime: manifest.snapshotTime,
    });
    const [own, ours] = [asShown(expected), asShown(resolveIds(await snapshot(target)))];
    for (const table of ['dag_run', 'task_instance', 'xcom', 'log', 'trigger', 'log_template']) {
      expect(own.get(table)?.length, table).toBeGreaterThan(0);
    }
    expect(diffContent(own, ours)).toEqual([]);
    const rows = [...own.values()].reduce((sum, table) => sum + table.length, 0);
    console.log(`${from} → ${release}: ${rows} rows of ${own.size} tables are equal`);
  });
});
