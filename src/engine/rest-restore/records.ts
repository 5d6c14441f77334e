import { UNREADABLE_COLUMN } from '../../versions/rest-tables.ts';
import type { EngineContext } from '../api.ts';
import { readRows } from '../export/rows.ts';
import { createSecretReader, rowName, secretFields, type SecretReader } from '../export/secrets.ts';
import { type Manifest, type ManifestTable, storedTable } from '../manifest.ts';
import { wholeTable } from '../sealed/fields.ts';
import { unsealForReading } from '../sealed/open-backup.ts';
import type { Unsealing } from '../sealed/read.ts';

/** A row of the backup by its columns, as COPY wrote it. */
export type StoredRecord = Readonly<Record<string, string | null>>;

/** A row that lacks something of itself, and what. */
export interface LackingRow {
  readonly name: string;
  readonly reason: string;
}

export interface StoredRows {
  readonly records: readonly StoredRecord[];
  /** Rows whose secrets nobody reads: written without them they would be other rows. */
  readonly lacking: readonly LackingRow[];
}

/** Rows of a backup, secrets in clear. */
export interface BackupReader {
  /** One after the other, without secrets of their own. */
  records(table: string): AsyncGenerator<StoredRecord, void, undefined>;
  /** All of a table that may hold secrets. */
  settings(table: 'slot_pool' | 'variable' | 'connection'): Promise<StoredRows>;
  /** Secrets were stored, and not one could be read: the keys are another environment's. */
  wrongKeys(): readonly string[];
}

export interface ReaderOptions {
  readonly fernetKeys: readonly string[];
  readonly identities: readonly string[];
}

const SETTINGS = ['variable', 'connection'];

/** @throws LifeboatError 'refused' when secrets are sealed and no identity opens them */
export async function openBackupReader(
  ctx: EngineContext,
  manifest: Manifest,
  { fernetKeys, identities }: ReaderOptions,
): Promise<BackupReader> {
  const secret = manifest.tables.filter(({ name }) => SETTINGS.includes(name));
  const unsealing = await unsealForReading(ctx, manifest, secret, identities);
  const secrets = createSecretReader(unsealing ? [...fernetKeys, unsealing.key] : fernetKeys);
  let readable = 0;
  return {
    async *records(table) {
      const stored = storedTable(manifest, table);
      if (stored !== undefined) yield* recordsOf(ctx, stored);
    },
    async settings(table) {
      const source = storedTable(manifest, table);
      if (source === undefined) return { records: [], lacking: [] };
      const rows = await readSettings(ctx, source, { unsealing, secrets });
      readable += rows.records.filter((record) => mayHoldSecrets(table, record)).length;
      return rows;
    },
    wrongKeys: () => (readable === 0 ? secrets.unreadable() : []),
  };
}

/** Rows of a table, one after the other, without secrets of their own. */
export async function* recordsOf(
  ctx: EngineContext,
  stored: ManifestTable,
): AsyncGenerator<StoredRecord, void, undefined> {
  for await (const row of readRows(ctx, stored, () => undefined)) yield byColumn(stored, row);
}

function mayHoldSecrets(table: string, record: StoredRecord): boolean {
  return (
    table !== 'slot_pool' && ['val', 'password', 'extra'].some((column) => (record[column] ?? '') !== '')
  );
}

async function readSettings(
  ctx: EngineContext,
  source: ManifestTable,
  { unsealing, secrets }: { readonly unsealing: Unsealing | undefined; readonly secrets: SecretReader },
): Promise<StoredRows> {
  const stored = unsealing ? wholeTable(source) : source;
  const reveal = secretFields(stored).length === 0 ? undefined : secrets.table(stored);
  const records: StoredRecord[] = [];
  const lacking: LackingRow[] = [];
  for await (const row of readRows(ctx, source, () => undefined, unsealing)) {
    const name = rowName(stored, row);
    const lacked = row[stored.columns.indexOf(UNREADABLE_COLUMN)] ?? '';
    const clear = reveal ? reveal(row) : row;
    if (lacked !== '') {
      lacking.push({ name, reason: `the backup has no ${lacked.replaceAll(',', ' and no ')} of it` });
    } else if (clear === undefined) lacking.push({ name, reason: NO_KEY });
    else records.push(byColumn(stored, clear));
  }
  return { records, lacking };
}

const NO_KEY = 'no known Fernet key reads its secrets';

function byColumn(stored: ManifestTable, row: readonly (string | null)[]): StoredRecord {
  return Object.fromEntries(stored.columns.map((column, at) => [column, row[at] ?? null]));
}
