/** Releases that airflow-lab sets up, oldest first; one for each minor that Lifeboat supports. */
const RELEASES: readonly string[] = ['2.5.1', '2.6.3', '2.7.2', '2.8.1', '2.9.2', '2.10.3', '2.11.0'];

/** What runs when nobody chooses, side by side: MWAA's most used and the newest 2.x. */
const DEFAULT_RELEASES: readonly string[] = ['2.8.1', '2.11.0'];

/** AIRFLOW_VERSIONS: `all`, or releases separated by spaces or commas. */
export function selectReleases(setting: string | undefined): readonly string[] {
  if (setting === undefined || setting.trim() === '') return DEFAULT_RELEASES;
  if (setting.trim() === 'all') return RELEASES;
  const wanted = setting.split(/[\s,]+/).filter((name) => name !== '');
  const unknown = wanted.filter((name) => !RELEASES.includes(name));
  if (unknown.length > 0) {
    throw new Error(
      `AIRFLOW_VERSIONS names ${unknown.join(', ')}; known are ${RELEASES.join(', ')} and all.`,
    );
  }
  return wanted;
}

/**
 * Releases whose backups are restored into this one: those of the selection that are older. When nobody chooses, the
 * nearest of them alone, to stay within the time of a default run.
 */
export function olderReleases(release: string, setting: string | undefined): readonly string[] {
  const at = (name: string): number => RELEASES.indexOf(name);
  const older = selectReleases(setting).filter((name) => at(name) < at(release));
  const isDefault = setting === undefined || setting.trim() === '';
  return isDefault ? older.slice(-1) : older;
}

/** On whose schedulers the project of a release runs the DAGs: its own, and when nobody chooses one more. */
export function liveReleases(release: string, setting: string | undefined): readonly string[] {
  const isDefault = setting === undefined || setting.trim() === '';
  const companion = { '2.8.1': '2.5.1', '2.11.0': '2.10.3' }[release];
  return isDefault && companion !== undefined ? [release, companion] : [release];
}
