import type { Manifest, ManifestSource } from '../../engine/manifest.ts';
import { leftOutText } from './left-out.ts';
import { sections } from './plan.ts';
import { restFacts, type Fact } from './rest.ts';
import type { Style } from './style.ts';
import { facts, names, table } from './table.ts';
import { age, bytes, count, counted, duration, time } from './units.ts';

/** One backup for people: where it is from, what is in it, what is not and why. */
export function manifestText(manifest: Manifest, style: Style): string {
  const { totals } = manifest;
  const head = facts([
    ['Backup', manifest.backupId],
    ['Label', manifest.label ?? undefined],
    ['Moment', `${time(manifest.snapshotTime)} (${age(new Date(manifest.snapshotTime), style.now())})`],
    ...sourceFacts(manifest.source),
    ['Secrets', secretsText(manifest)],
    ['Stored', `${bytes(totals.bytes)} in ${counted(totals.parts, 'part')}, ${manifest.compression}`],
    ['Rows', `${count(totals.rows)} in ${counted(totals.tables, 'table')}`],
    ['Took', duration(manifest.durationSeconds)],
    ['Made by', `${manifest.tool.name} ${manifest.tool.version}, format ${String(manifest.formatVersion)}`],
  ]);
  return sections([head, tablesText(manifest, style), leftOutText(manifest.leftOut, style)]);
}

function sourceFacts(source: ManifestSource): readonly Fact[] {
  if (source.kind === 'rest') return restFacts(source);
  return [
    ['Source', `${source.environment}, schema ${source.schema}`],
    ['Airflow', `${source.airflow} (Alembic ${source.alembicHead}), PostgreSQL ${source.postgres}`],
  ];
}

function secretsText(manifest: Manifest): string {
  const { mode, recipients = [], unreadable } = manifest.secrets;
  const lost =
    (unreadable?.count ?? 0) === 0
      ? ''
      : `; ${count(unreadable?.count ?? 0)} that no key of the source read: ${names(unreadable?.names ?? [])}`;
  if (mode === 'sealed') return `sealed for ${recipients.join(', ')}${lost}`;
  if (mode === 'omit') return 'left out';
  return `${ciphertextText(manifest)}${lost}`;
}

function ciphertextText(manifest: Manifest): string {
  const keys = manifest.secrets.fernetKeys;
  const known =
    keys.length === 0 ? 'the Fernet key of the source was not known' : `Fernet key ${keys.join(', ')}`;
  return `as in the database (ciphertext), ${known}`;
}

function tablesText(manifest: Manifest, style: Style): string {
  const columns = [
    { title: 'Table' },
    { title: 'Rows', align: 'right' },
    { title: 'Bytes', align: 'right' },
    { title: 'Parts', align: 'right' },
  ] as const;
  const rows = manifest.tables.map((one) => [
    one.name,
    count(one.rows),
    bytes(one.parts.reduce((sum, part) => sum + part.bytes + (part.sealed?.bytes ?? 0), 0)),
    count(one.parts.length * (one.sealed === undefined ? 1 : 2)),
  ]);
  return table(columns, rows, style);
}
