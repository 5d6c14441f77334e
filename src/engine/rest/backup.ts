import { randomBytes } from 'node:crypto';
import type { EngineContext } from '../api.ts';
import { compressionName, totalsOf, writeManifest } from '../backup-manifest.ts';
import { reportDebris } from '../debris.ts';
import { makeBackupId, manifestKey, partKey, sealedKey } from '../layout.ts';
import { REST_FORMAT_VERSION, type Manifest, type ManifestTable } from '../manifest.ts';
import { createProgress } from '../progress.ts';
import { TOOL } from '../tool.ts';
import type { RestBackupRequest, RestBackupResult } from './api.ts';
import { createGaps } from './gaps.ts';
import { planRestBackup, type PlannedRestBackup } from './plan.ts';
import { readLists, readPer } from './read-lists.ts';
import { readRuns, type RunsRead } from './read-runs.ts';
import type { OpenTable, Reading } from './reading.ts';
import { createTableWriter } from './table-writer.ts';

/** For taking back the parts of a failed backup; the user waits for it. */
const REMOVE_TIMEOUT_MS = 10_000;

/**
 * Backs an Airflow up through its REST API alone: rows of the API, stored as those of a database are, data first and the
 * manifest last. The API has no snapshot; the manifest has the span in which it was read, and names what it could not
 * give. The source is only read.
 *
 * @throws LifeboatError; whatever fails, no manifest is left and no earlier backup is touched.
 */
export async function backupThroughRest(
  ctx: EngineContext,
  request: RestBackupRequest,
): Promise<RestBackupResult> {
  const started = ctx.now();
  const debris = await reportDebris(ctx);
  const backupId = makeBackupId(started, randomBytes(3).toString('hex'));
  const gaps = createGaps();
  const planned = await planRestBackup(ctx, request, backupId, gaps);
  ctx.report({ event: 'plan', plan: planned.plan });
  const said = { backupId, secrets: planned.secrets.plan, debris };
  const { client } = request;
  const traffic = (): Pick<RestBackupResult, 'requests' | 'receivedBytes'> => ({
    requests: client.requests(),
    receivedBytes: client.receivedBytes(),
  });
  if (request.dryRun) return { ...said, ...traffic() };
  for (const warning of planned.plan.warnings) ctx.report({ event: 'warning', ...warning });
  try {
    const { tables, runs } = await readAll(ctx, request, planned, { backupId, started });
    const manifest = await publish(ctx, request, planned, { backupId, started, tables, runs });
    return { ...said, manifest, ...traffic() };
  } catch (error) {
    await removeRemains(ctx, request, planned, backupId);
    throw error;
  }
}

interface Begun {
  readonly backupId: string;
  readonly started: Date;
}

async function readAll(
  ctx: EngineContext,
  request: RestBackupRequest,
  planned: PlannedRestBackup,
  { backupId, started }: Begun,
): Promise<{ readonly tables: readonly ManifestTable[]; readonly runs: RunsRead | undefined }> {
  const { client, compression } = request;
  const progress = createProgress(ctx, 'backup', { totalRows: planned.totalRows });
  ctx.report({
    event: 'phase',
    phase: 'backup',
    message: `Reading ${planned.tables.length} tables through the API of Airflow ${client.airflow}`,
  });
  const tables = new Map<string, OpenTable>();
  for (const table of planned.tables) {
    const { name } = table.table;
    const options = {
      backupId,
      name,
      columns: table.columns,
      compression,
      seal: planned.secrets.seal,
      progress,
    };
    tables.set(name, { ...table, writer: createTableWriter(ctx, options) });
  }
  const reading: Reading = { ctx, client, gaps: planned.gaps, tables };
  try {
    const seen = await readLists(reading);
    await readPer(reading, 'perAsset', () => seen.awaitedAssets);
    const all = request.xcoms !== 'unfinished';
    const runs = tables.has('dag_run') ? await readRuns(reading, started, all) : undefined;
    await readPer(reading, 'perDag', (list) =>
      list === 'backfills' ? (runs?.backfilled ?? []) : seen.waitingDags,
    );
    const done = await Promise.all([...tables.values()].map(({ writer }) => writer.end()));
    const read = done.find(({ name }) => name === 'xcom')?.rows;
    if (!all && read !== undefined && planned.xcoms !== null && planned.xcoms > read) {
      planned.gaps.rows('xcom', planned.xcoms - read, 'of runs that have ended, not chosen (--xcoms)');
    }
    progress.end();
    return { tables: done, runs };
  } catch (error) {
    await Promise.all([...tables.values()].map(({ writer }) => writer.abandon()));
    throw error;
  }
}

async function publish(
  ctx: EngineContext,
  request: RestBackupRequest,
  planned: PlannedRestBackup,
  { backupId, started, tables, runs }: Begun & Awaited<ReturnType<typeof readAll>>,
): Promise<Manifest> {
  const ended = ctx.now();
  const { client, via } = request;
  const manifest = await writeManifest(ctx, {
    formatVersion: REST_FORMAT_VERSION,
    backupId,
    label: request.label ?? null,
    tool: TOOL,
    source: {
      kind: 'rest',
      environment: client.name,
      airflow: client.airflow,
      api: client.dialect.api,
      via,
      span: {
        from: started.toISOString(),
        to: ended.toISOString(),
        changed: [...(runs?.restless ?? []), ...(runs?.changed ?? [])],
      },
    },
    snapshotTime: started.toISOString(),
    compression: compressionName(request),
    secrets: planned.secrets.manifest,
    ...(runs === undefined
      ? {}
      : {
          unfinished: {
            runs: runs.unfinished,
            backfillRuns: runs.backfillRuns,
            tasks: runs.unfinishedTasks,
            limits: [],
          },
        }),
    tables,
    leftOut: planned.gaps.list(),
    totals: totalsOf(tables),
    durationSeconds: (ended.getTime() - started.getTime()) / 1000,
  });
  const restless = runs?.restless.length ?? 0;
  if (restless > 0) {
    ctx.report({
      event: 'warning',
      code: 'rest-changing',
      message: `${restless} runs changed each time they were read: each is in the backup as it was at the last.`,
    });
  }
  return manifest;
}

/** Without a manifest the parts are no backup in any case; this only saves the space until the next prune. */
async function removeRemains(
  ctx: EngineContext,
  request: RestBackupRequest,
  planned: PlannedRestBackup,
  backupId: string,
): Promise<void> {
  const keys = planned.tables.map(({ table }) => partKey(backupId, table.name, 1, request.compression.codec));
  const signal = AbortSignal.timeout(REMOVE_TIMEOUT_MS);
  try {
    await ctx.storage.remove([manifestKey(backupId)], signal);
    await ctx.storage.remove([...keys, ...keys.map(sealedKey)], signal);
  } catch {
    // The error that ended the backup is the one to tell.
  }
}
