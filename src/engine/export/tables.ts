import { LifeboatError } from '../../errors.ts';
import type { ExportLeftOut, ExportRequest } from '../api.ts';
import { csvHeader, writeCsv } from './csv.ts';
import { rowName, secretFields, type SecretReader } from './secrets.ts';
import { SETTINGS_FILES, settingsEntry, type SettingsEntry } from './settings.ts';
import type { StoredRow } from './rows.ts';
import { UNREADABLE_COLUMN } from '../../versions/rest-tables.ts';
import type { Manifest, ManifestTable } from '../manifest.ts';

const NAMES_KEPT = 100;

/**
 * The tables to export, those with secrets first: a wrong key is found before a large table was written.
 *
 * @throws LifeboatError 'usage' for tables that the format or the backup does not have.
 */
export function tablesToExport(
  manifest: Manifest,
  { format, tables }: Pick<ExportRequest, 'format' | 'tables'>,
): readonly ManifestTable[] {
  const known = manifest.tables.filter((table) => format === 'csv' || table.name in SETTINGS_FILES);
  const names = new Set(tables ?? known.map((table) => table.name));
  const noFile = format === 'csv' ? [] : [...names].filter((name) => !(name in SETTINGS_FILES));
  if (noFile.length > 0) {
    throw new LifeboatError('usage', `Airflow has no ${format} file for ${noFile.join(', ')}.`, {
      next: `Use --format csv, or choose from ${Object.keys(SETTINGS_FILES).join(', ')}.`,
    });
  }
  const missing = [...names].filter((name) => known.every((table) => table.name !== name));
  if (missing.length > 0 || known.length === 0) {
    const what = known.length === 0 ? 'none of the tables to export' : `no table ${missing.join(', ')}`;
    throw new LifeboatError('usage', `Backup ${manifest.backupId} has ${what}.`, {
      next: `It has: ${manifest.tables
        .map((table) => table.name)
        .sort()
        .join(', ')}.`,
    });
  }
  const chosen = known.filter((table) => names.has(table.name));
  const secret = (table: ManifestTable): boolean => secretFields(table).length > 0;
  return [...chosen.filter(secret), ...chosen.filter((table) => !secret(table))];
}

/** Rows left out, by reason. */
export interface LeftOutRows {
  add(reason: string, name: string): void;
  list(table: string): readonly ExportLeftOut[];
}

export function createLeftOutRows(): LeftOutRows {
  const byReason = new Map<string, { rows: number; names: string[] }>();
  return {
    add: (reason, name) => {
      const found = byReason.get(reason) ?? { rows: 0, names: [] };
      found.rows += 1;
      if (found.names.length < NAMES_KEPT) found.names.push(name);
      byReason.set(reason, found);
    },
    list: (table) => [...byReason].map(([reason, found]) => ({ table, ...found, reason })),
  };
}

const UNREADABLE = 'no known Fernet key reads its secrets';
export const NOT_ASKED = 'it holds secrets, and --with-secrets was not given';

/** The entries of one of Airflow's files, and how many have a description. `leftOut` gets every row that is not among them. */
export async function settingsEntries(
  stored: ManifestTable,
  rows: AsyncIterable<StoredRow>,
  secrets: SecretReader | undefined,
  leftOut: LeftOutRows,
): Promise<{ readonly entries: readonly SettingsEntry[]; readonly described: number }> {
  const entries: SettingsEntry[] = [];
  let described = 0;
  const describedAt = stored.columns.indexOf('description');
  const fields = secretFields(stored);
  const reveal = secrets?.table(stored);
  const lackedAt = stored.columns.indexOf(UNREADABLE_COLUMN);
  for await (const row of rows) {
    const lacked = row[lackedAt] ?? '';
    if (lacked !== '') {
      leftOut.add(`the backup has no ${lacked} of it`, rowName(stored, row));
      continue;
    }
    // An entry without its secrets would be worse than none: `airflow connections import --overwrite` empties `extra`,
    // and a connection without its password stands in the way of the whole one later.
    const hidden = stored.sealed !== undefined || fields.some(({ at }) => (row[at] ?? '') !== '');
    const clear = reveal ? reveal(row) : hidden ? NOT_ASKED : row;
    const entry = typeof clear === 'string' ? clear : clear ? settingsEntry(stored, clear) : UNREADABLE;
    if (typeof entry === 'string') {
      leftOut.add(entry, rowName(stored, row));
      continue;
    }
    entries.push(entry);
    if ((row[describedAt] ?? '') !== '') described += 1;
  }
  return { entries, described };
}

/** A table with secrets as CSV: in clear, or without their columns. */
export function secretCsv(
  stored: ManifestTable,
  rows: AsyncIterable<StoredRow>,
  secrets: SecretReader | undefined,
  leftOut: LeftOutRows,
): AsyncGenerator<string> {
  const hidden = new Set(secrets ? [] : secretFields(stored).map(({ at }) => at));
  const shown = <T>(values: readonly T[]): T[] => values.filter((_, at) => !hidden.has(at));
  const reveal = secrets?.table(stored) ?? ((row: StoredRow) => row);
  async function* clear(): AsyncGenerator<StoredRow> {
    for await (const row of rows) {
      const revealed = reveal(row);
      if (revealed) yield shown(revealed);
      else leftOut.add(UNREADABLE, rowName(stored, row));
    }
  }
  return writeCsv(shown(stored.columns), clear());
}

/** A table without secrets as CSV: the stored bytes under a line of names. */
export async function* plainCsv(
  stored: ManifestTable,
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<string | Uint8Array> {
  yield csvHeader(stored.columns);
  yield* bytes;
}
