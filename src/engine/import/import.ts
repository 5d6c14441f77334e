import { randomBytes } from 'node:crypto';
import { LifeboatError } from '../../errors.ts';
import type { Minor } from '../../tables/spec.ts';
import { SUPPORTED_RELEASES } from '../../versions/heads.ts';
import { MINORS } from '../../versions/minors.ts';
import { tablesFor } from '../../versions/registry.ts';
import type { EngineContext, ImportRequest, ImportResult } from '../api.ts';
import { compressionName, totalsOf, writeManifest } from '../backup-manifest.ts';
import { makeBackupId, manifestKey } from '../layout.ts';
import { FORMAT_VERSION } from '../manifest.ts';
import type { ManifestTable } from '../manifest.ts';
import { createSeal } from '../../secrets/seal.ts';
import { createProgress } from '../progress.ts';
import { objectsOf } from '../sealed/fields.ts';
import { TOOL } from '../tool.ts';
import { dagTable } from './dag-rows.ts';
import type { ForeignBackup, ForeignTable } from './foreign.ts';
import { openGlue } from './glue.ts';
import { addedColumns, fixedNotes, lostColumns } from './losses.ts';
import { createMending } from './mend.ts';
import { createNewest } from './moments.ts';
import { openMwaaDr } from './mwaa-dr.ts';
import { createNotes, noteAsLeftOut } from './notes.ts';
import type { Notes } from './notes.ts';
import { scanTasks } from './scan.ts';
import { createSealer, noKey } from './secrets.ts';
import type { Sealer } from './secrets.ts';
import { storeTable } from './store-table.ts';

/** For taking back the parts of a failed import; the user waits for it. */
const REMOVE_TIMEOUT_MS = 10_000;
const KEY_BYTES = 32;

/**
 * Makes a backup of another tool one of ours: parts first, the manifest last, as for any backup. What the other format
 * destroyed is mended where the data allows it; everything else stands in the manifest and in the result.
 *
 * Tables are streamed. In memory are the run ids (some 200 bytes a run) and a hash of each task instance (11 to 32 bytes).
 *
 * @throws LifeboatError: not-found, usage, unsupported, integrity, refused (clear secrets and no key), interrupted, failed
 */
export async function importBackup(ctx: EngineContext, request: ImportRequest): Promise<ImportResult> {
  const started = ctx.now();
  const asked = request.airflowVersion === undefined ? undefined : parseMinor(request.airflowVersion);
  const backup = await open(request, asked, ctx.signal);
  const sealTo = request.sealTo ?? [];
  // What is to be sealed travels as tokens of a key that lives as long as this import.
  const own = sealTo.length > 0 ? [`${randomBytes(KEY_BYTES).toString('base64url')}=`] : request.fernetKeys;
  const keys = [...new Set([...own, ...request.fernetKeys, ...(request.sourceFernetKeys ?? [])])];
  if (backup.clearSecrets && own.length === 0) await refuseClearSecrets(backup, ctx.signal);

  const backupId = makeBackupId(started, randomBytes(3).toString('hex'));
  const seal = sealTo.length > 0 ? await createSeal(sealTo, backupId) : undefined;
  const written: string[] = [];
  try {
    const scan = await scanTasks(backup, keys, ctx.signal);
    const notes = createNotes();
    const sealer = createSealer(own.length === 0 ? [] : keys, started);
    const mending = createMending({ backup, scan, sealer, keys, notes });
    const sources = new Map(backup.tables);
    if (backup.unpaused) {
      sources.set(
        'dag',
        dagTable(backup.minor, () => mending.dagIds, backup.unpaused),
      );
    }
    const newest = createNewest();
    const progress = createProgress(ctx, 'backup');
    ctx.report({
      event: 'phase',
      phase: 'backup',
      message: `Importing ${sources.size} tables of ${backup.tool}`,
    });

    const tables: ManifestTable[] = [];
    for (const table of readingOrder(backup)) {
      const source = sources.get(table.name);
      if (!source) continue;
      const stored = await storeTable(ctx, backupId, source, table, {
        columns: storedColumns(
          backup,
          source,
          table.columns.map((column) => column.name),
        ),
        compression: request.compression,
        sealing: seal && { seal, keys },
        mend: mending.tables[table.name],
        see: newest.see,
        progress,
      });
      tables.push(stored);
      written.push(...stored.parts.flatMap(objectsOf).map((object) => object.key));
    }
    progress.end();
    for (const note of fixedNotes(backup, tables)) notes.add(note);
    const snapshot = new Date(Math.min(newest.newest() ?? started.getTime(), started.getTime()));
    return await finish(ctx, request, { backup, backupId, tables, notes, sealer, snapshot, started });
  } catch (error) {
    await takeBack(ctx, [manifestKey(backupId)], written);
    throw error;
  }
}

function open(request: ImportRequest, minor: Minor | undefined, signal: AbortSignal): Promise<ForeignBackup> {
  if (request.format === 'glue') return openGlue(request.from, minor, signal);
  if (minor !== undefined) return openMwaaDr(request.from, minor, signal);
  throw new LifeboatError('usage', 'The files of mwaa_dr do not say which Airflow they are from.', {
    next: 'Give the minor of the Airflow that was backed up, such as --airflow-version 2.8.',
  });
}

/** "2.8" or "2.8.1": the patch release makes no difference to the tables. */
function parseMinor(text: string): Minor {
  const found = /^(\d+\.\d+)(\.\d+)?$/.exec(text.trim())?.[1];
  const minor = MINORS.find((one) => one === found);
  if (minor !== undefined) return minor;
  const known = { next: `Lifeboat knows ${MINORS.join(', ')}.` };
  if (found === undefined) {
    throw new LifeboatError('usage', '--airflow-version is not a version such as 2.8.', known);
  }
  throw new LifeboatError('unsupported', `Backups of Airflow ${found} cannot be imported.`, known);
}

/** Before anything is written: no key, and there is a row that would need one. */
async function refuseClearSecrets(backup: ForeignBackup, signal: AbortSignal): Promise<void> {
  for (const name of ['variable', 'connection']) {
    const source = backup.tables.get(name);
    if (!source) continue;
    for await (const row of source.rows(signal)) {
      if (name === 'variable' || typeof row.password === 'string' || typeof row.extra === 'string') {
        throw noKey();
      }
    }
  }
}

/** Load order, but `dag` behind `dag_run`, whose rows name the DAGs. */
function readingOrder({ minor }: ForeignBackup): ReturnType<typeof tablesFor> {
  const tables = tablesFor(minor);
  const dag = tables.filter((table) => table.name === 'dag');
  return [...tables.filter((table) => table.name !== 'dag'), ...dag];
}

/** In the order of the spec; what dangles is left out. */
function storedColumns(
  backup: ForeignBackup,
  source: ForeignTable,
  spec: readonly string[],
): readonly string[] {
  const has = new Set([...source.columns, ...addedColumns(backup, source.name)]);
  const lost = new Set(lostColumns(backup, source.name));
  return spec.filter((column) => has.has(column) && !lost.has(column));
}

interface Work {
  readonly backup: ForeignBackup;
  readonly backupId: string;
  readonly tables: readonly ManifestTable[];
  readonly notes: Notes;
  readonly sealer: Sealer;
  readonly snapshot: Date;
  readonly started: Date;
}

async function finish(ctx: EngineContext, request: ImportRequest, work: Work): Promise<ImportResult> {
  const { backup, backupId, notes, started } = work;
  const { sealTo = [] } = request;
  const release = SUPPORTED_RELEASES.filter((one) => one.minors.includes(backup.minor)).at(-1);
  const order = tablesFor(backup.minor).map((table) => table.name);
  const tables = [...work.tables].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const manifest = await writeManifest(ctx, {
    formatVersion: FORMAT_VERSION,
    backupId,
    label: request.label ?? `imported from ${backup.tool}`,
    tool: TOOL,
    source: {
      kind: 'database',
      environment: `${backup.tool} in ${backup.location}`,
      schema: 'public',
      airflow: backup.minor,
      alembicHead: release?.head ?? '',
      postgres: 'unknown',
    },
    snapshotTime: work.snapshot.toISOString(),
    compression: compressionName(request),
    secrets:
      sealTo.length > 0
        ? { mode: 'sealed', fernetKeys: [], recipients: sealTo }
        : { mode: 'ciphertext', fernetKeys: work.sealer.fingerprints() },
    tables,
    leftOut: [...backup.leftOut, ...notes.all().map(noteAsLeftOut)],
    totals: totalsOf(tables),
    durationSeconds: (ctx.now().getTime() - started.getTime()) / 1000,
  });
  return { backupId, manifest, notes: notes.all() };
}

/** A failed import takes its parts back; without a manifest they are no backup in any case. */
async function takeBack(ctx: EngineContext, ...groups: readonly (readonly string[])[]): Promise<void> {
  const signal = AbortSignal.timeout(REMOVE_TIMEOUT_MS);
  try {
    for (const keys of groups) await ctx.storage.remove(keys, signal);
  } catch {
    // The error that ended the import is the one to tell.
  }
}
