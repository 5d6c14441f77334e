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
 * were asked for, and no key reads a single one).
 */
export async function exportBackup(ctx: EngineContext, request: ExportRequest): Promise<ExportResult> {
  const started = ctx.now().getTime();
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  const tables = tablesToExport(manifest, request);
  const secrets = request.withSecrets ? createSecretReader(request.fernetKeys) : undefined;
  const names = tables.map((table) => fileName(table, request));
  ctx.report({
    event: 'phase',
    phase: 'export',
    message: `Exporting ${tables.length} tables of backup ${backupId}`,
  });
  const done = await withExportFiles(request.to, names, async (files) => {
    const result = await writeTables(ctx, request, tables, files, secrets);
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
  files: ExportFiles,
  secrets: SecretReader | undefined,
): Promise<Written> {
  const written: ExportResult['files'][number][] = [];
  const leftOut: ExportLeftOut[] = [];
  const progress = createProgress(ctx, 'export', {
    totalRows: tables.reduce((sum, table) => sum + table.rows, 0),
    totalBytes: tables.flatMap((table) => table.parts).reduce((sum, part) => sum + part.bytes, 0),
  });
  for (const stored of tables) {
    // Those with secrets come first: a wrong key ends the export before the large tables.
    if (secretFields(stored).length === 0) secrets?.refuseWrongKey();
    const onBytes = (bytes: number): void => {
      progress.add(stored.name, 0, bytes);
    };
    const write = request.format === 'csv' ? writeTable : writeSettings;
    const result = await write({ ctx, request, stored, files, secrets, onBytes });
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
  readonly stored: ManifestTable;
  readonly files: ExportFiles;
  readonly secrets: SecretReader | undefined;
  readonly onBytes: (storedBytes: number) => void;
}

async function writeTable(work: TableWork): Promise<Written> {
  const { ctx, request, stored, files, secrets, onBytes } = work;
  const left = createLeftOutRows();
  const fields = secretFields(stored);
  const body =
    fields.length === 0
      ? plainCsv(stored, readCsv(ctx, stored, onBytes))
      : secretCsv(stored, readRows(ctx, stored, onBytes), secrets, left);
  const file = fileName(stored, request);
  const bytes = await files.write(file, body, ctx.signal);
  const hidden: ExportLeftOut[] =
    secrets || fields.length === 0
      ? []
      : [
          {
            table: stored.name,
            columns: fields.map(({ column }) => column),
            rows: stored.rows,
            reason: NOT_ASKED,
          },
        ];
  const leftOut = [...hidden, ...left.list(stored.name)];
  const rows = stored.rows - left.list(stored.name).reduce((sum, one) => sum + one.rows, 0);
  return { files: [{ file, table: stored.name, rows, bytes }], leftOut };
}

async function writeSettings(work: TableWork): Promise<Written> {
  const { ctx, request, stored, files, secrets, onBytes } = work;
  const left = createLeftOutRows();
  const rows = readRows(ctx, stored, onBytes);
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
