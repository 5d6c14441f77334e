import type { EngineContext, ExportLeftOut, ExportRequest, ExportResult } from '../api.ts';
import { resolveBackup } from '../catalog.ts';
import { withExportFiles, type ExportFiles } from './files.ts';
import { settingsJson, settingsYaml } from './format.ts';
import { readCsv, readRows } from './rows.ts';
import { createSecretReader, secretFields, type SecretReader } from './secrets.ts';
import { SETTINGS_FILES, sortEntries } from './settings.ts';
import {
  createLeftOutRows,
  NOT_ASKED,
  plainCsv,
  secretCsv,
  settingsEntries,
  tablesToExport,
} from './tables.ts';
import type { ManifestTable } from '../manifest.ts';
import { createProgress } from '../progress.ts';
import { objectsOf, wholeTable } from '../sealed/fields.ts';
import { unsealForReading } from '../sealed/open-backup.ts';
import type { Unsealing } from '../sealed/read.ts';

const NO_DESCRIPTIONS =
  'the import of Airflow 2 has no place for the description of a variable, and empties that of an existing one';

/**
 * Writes tables of a backup as files for other programs: Airflow's own JSON or YAML of variables, connections and
 * pools, or CSV of any table. All files appear together, and only when every part that was read is what was written.
 *
 * Secrets are written in clear `withSecrets`, and otherwise left out so that nothing can be imported without them. A row
 * whose secrets no key reads is left out and named.
 *
 * CSV is streamed. The entries of one JSON or YAML file are sorted by name, and so held in memory.
 *
 * @throws LifeboatError 'usage' (unknown tables, a file that exists), 'integrity' (a part is damaged), 'refused' (secrets
 * were asked for, and no key reads a single one, or no identity opens what is sealed).
 */
export async function exportBackup(ctx: EngineContext, request: ExportRequest): Promise<ExportResult> {
  const started = ctx.now().getTime();
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  const tables = tablesToExport(manifest, request);
  const unsealing = request.withSecrets
    ? await unsealForReading(ctx, manifest, tables, request.identities ?? [])
    : undefined;
  const keys = unsealing ? [...request.fernetKeys, unsealing.key] : request.fernetKeys;
  const secrets = request.withSecrets ? createSecretReader(keys) : undefined;
  const names = tables.map((table) => fileName(table, request));
  ctx.report({
    event: 'phase',
    phase: 'export',
    message: `Exporting ${tables.length} tables of backup ${backupId}`,
  });
  const done = await withExportFiles(request.to, names, async (files) => {
    const result = await writeTables(ctx, request, tables, { files, secrets, unsealing });
    await files.publish();
    return result;
  });
  const unreadableSecrets = secrets?.unreadable() ?? [];
  warnAbout(ctx, done.leftOut, unreadableSecrets);
  return {
    backupId,
    format: request.format,
    directory: request.to,
    withSecrets: request.withSecrets,
    ...done,
    unreadableSecrets,
    seconds: (ctx.now().getTime() - started) / 1000,
  };
}

type Written = Pick<ExportResult, 'files' | 'leftOut'>;

function fileName(stored: ManifestTable, { format }: Pick<ExportRequest, 'format'>): string {
  return format === 'csv' ? `${stored.name}.csv` : `${SETTINGS_FILES[stored.name] ?? stored.name}.${format}`;
}

async function writeTables(
  ctx: EngineContext,
  request: ExportRequest,
  tables: readonly ManifestTable[],
  shared: Pick<TableWork, 'files' | 'secrets' | 'unsealing'>,
): Promise<Written> {
  const { secrets, unsealing } = shared;
  const written: ExportResult['files'][number][] = [];
  const leftOut: ExportLeftOut[] = [];
  const progress = createProgress(ctx, 'export', {
    totalRows: tables.reduce((sum, table) => sum + table.rows, 0),
    totalBytes: tables
      .flatMap((table) => table.parts.flatMap((part) => (unsealing ? objectsOf(part) : [part])))
      .reduce((sum, object) => sum + object.bytes, 0),
  });
  for (const source of tables) {
    const stored = unsealing ? wholeTable(source) : source;
    // Those with secrets come first: a wrong key ends the export before the large tables.
    if (secretFields(stored).length === 0) secrets?.refuseWrongKey();
    const onBytes = (bytes: number): void => {
      progress.add(stored.name, 0, bytes);
    };
    const write = request.format === 'csv' ? writeTable : writeSettings;
    const result = await write({ ctx, request, source, stored, ...shared, onBytes });
    progress.add(stored.name, stored.rows, 0);
    written.push(...result.files);
    leftOut.push(...result.leftOut);
  }
  secrets?.refuseWrongKey();
  progress.end();
  return { files: written, leftOut };
}

interface TableWork {
  readonly ctx: EngineContext;
  readonly request: ExportRequest;
  /** As it lies in the storage. */
  readonly source: ManifestTable;
  /** As it is read: with its sealed columns, when they are opened. */
  readonly stored: ManifestTable;
  readonly files: ExportFiles;
  readonly secrets: SecretReader | undefined;
  readonly unsealing: Unsealing | undefined;
  readonly onBytes: (storedBytes: number) => void;
}

async function writeTable(work: TableWork): Promise<Written> {
  const { ctx, request, source, stored, files, secrets, unsealing, onBytes } = work;
  const left = createLeftOutRows();
  const fields = secretFields(stored);
  const columns = stored.sealed ?? fields.map(({ column }) => column);
  const body =
    fields.length === 0
      ? plainCsv(stored, readCsv(ctx, source, onBytes, unsealing))
      : secretCsv(stored, readRows(ctx, source, onBytes, unsealing), secrets, left);
  const file = fileName(stored, request);
  const bytes = await files.write(file, body, ctx.signal);
  const hidden: ExportLeftOut[] =
    secrets || columns.length === 0
      ? []
      : [
          {
            table: stored.name,
            columns,
            rows: stored.rows,
            reason: NOT_ASKED,
          },
        ];
  const leftOut = [...hidden, ...left.list(stored.name)];
  const rows = stored.rows - left.list(stored.name).reduce((sum, one) => sum + one.rows, 0);
  return { files: [{ file, table: stored.name, rows, bytes }], leftOut };
}

async function writeSettings(work: TableWork): Promise<Written> {
  const { ctx, request, source, stored, files, secrets, unsealing, onBytes } = work;
  const left = createLeftOutRows();
  const rows = readRows(ctx, source, onBytes, unsealing);
  const { entries, described } = await settingsEntries(stored, rows, secrets, left);
  const leftOut = [...left.list(stored.name)];
  // An empty file would say that there was nothing.
  if (entries.length === 0 && stored.rows > 0) return { files: [], leftOut };
  if (stored.name === 'variable' && described > 0) {
    leftOut.push({
      table: stored.name,
      columns: ['description'],
      rows: described,
      reason: NO_DESCRIPTIONS,
    });
  }
  const sorted = sortEntries(entries);
  const file = fileName(stored, request);
  const text = request.format === 'yaml' ? settingsYaml(sorted) : settingsJson(sorted);
  const bytes = await files.write(file, text, ctx.signal);
  return { files: [{ file, table: stored.name, rows: entries.length, bytes }], leftOut };
}

/** In short: the result has the names. */
function warnAbout(
  ctx: EngineContext,
  leftOut: readonly ExportLeftOut[],
  unreadable: readonly string[],
): void {
  const tables = leftOut.filter(({ reason }) => reason === NOT_ASKED).map(({ table }) => table);
  if (tables.length > 0) {
    ctx.report({
      event: 'warning',
      code: 'secrets-left-out',
      message: `Secrets of ${tables.join(', ')} are left out.`,
      next: 'Give --with-secrets to have them in clear.',
    });
  }
  if (unreadable.length > 0) {
    ctx.report({
      event: 'warning',
      code: 'unreadable-secrets',
      message: `No known Fernet key reads ${unreadable.length} secrets; their rows are left out.`,
      next: 'Give the key that they were written with in LIFEBOAT_SOURCE_FERNET_KEY.',
    });
  }
}
