/** Releases that airflow-lab sets up, oldest first; one for each minor whose database Lifeboat supports. */
const DATABASE_RELEASES: readonly string[] = [
  '2.5.1',
  '2.6.3',
  '2.7.2',
  '2.8.1',
  '2.9.2',
  '2.10.3',
  '2.11.0',
];

/** Of Airflow 3, which Lifeboat reaches through the REST API alone. */
const REST_RELEASES: readonly string[] = ['3.0.6', '3.2.1', '3.3.2'];

const RELEASES: readonly string[] = [...DATABASE_RELEASES, ...REST_RELEASES];

/** What runs when nobody chooses: MWAA's most used, the newest 2.x, and one Airflow 3. */
const DEFAULT_RELEASES: readonly string[] = ['2.8.1', '2.11.0', '3.2.1'];

/** Besides, the oldest and the newest API of Airflow 3: what is backed up and restored through it, and nothing else. */
const DEFAULT_LEAN_RELEASES: readonly string[] = ['3.0.6', '3.3.2'];
const LEAN_TESTS: readonly string[] = ['test/airflow/rest-restore.test.ts'];

/** Of Airflow 3, of which the tests of the database know nothing. */
export const isRestOnly = (release: string): boolean => REST_RELEASES.includes(release);

/** Tables in which the API shows each request that has read tasks: later versions count these to a DAG that there is not. */
export const growingTables = (release: string): readonly string[] =>
  release.startsWith('3.0.') ? ['log'] : [];

/** The test files of a release. */
export function testsOf(release: string, setting: string | undefined): readonly string[] {
  if (isDefault(setting) && DEFAULT_LEAN_RELEASES.includes(release)) return LEAN_TESTS;
  return isRestOnly(release) ? ['test/airflow/rest-*.test.ts'] : ['test/airflow/**/*.test.ts'];
}

/** AIRFLOW_VERSIONS: `all`, or releases separated by spaces or commas. */
export function selectReleases(setting: string | undefined): readonly string[] {
  if (isDefault(setting)) return [...DEFAULT_RELEASES, ...DEFAULT_LEAN_RELEASES];
  if (setting?.trim() === 'all') return RELEASES;
  const wanted = (setting ?? '').split(/[\s,]+/).filter((name) => name !== '');
  const unknown = wanted.filter((name) => !RELEASES.includes(name));
  if (unknown.length > 0) {
    throw new Error(
      `AIRFLOW_VERSIONS names ${unknown.join(', ')}; known are ${RELEASES.join(', ')} and all.`,
    );
  }
  return wanted;
}

/** Those of the selection whose database is backed up and restored. */
export function databaseReleases(setting: string | undefined): readonly string[] {
  return selectReleases(setting).filter((name) => !isRestOnly(name));
}

/**
 * Releases whose backups are restored into this one: those of the selection that are older. When nobody chooses, the
 * nearest of them alone, to stay within the time of a default run.
 */
export function olderReleases(release: string, setting: string | undefined): readonly string[] {
  const at = (name: string): number => DATABASE_RELEASES.indexOf(name);
  const older = databaseReleases(setting).filter((name) => at(name) < at(release));
  return isDefault(setting) ? older.slice(-1) : older;
}

/** On whose schedulers the project of a release runs the DAGs: its own, and when nobody chooses one more. */
export function liveReleases(release: string, setting: string | undefined): readonly string[] {
  const companion = { '2.8.1': '2.5.1', '2.11.0': '2.10.3' }[release];
  return isDefault(setting) && companion !== undefined ? [release, companion] : [release];
}

const isDefault = (setting: string | undefined): boolean => setting === undefined || setting.trim() === '';
