import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import { beginSnapshot, joinSnapshot } from '../db/snapshot.ts';
import { createThrottle } from '../db/throttle.ts';
import type { Throttle } from '../db/throttle.ts';
import type { BackupRequest, BackupResult, CarryingTask, EngineContext } from './api.ts';
import { compressionName, publish } from './backup-manifest.ts';
import type { MaxIds, Prepared } from './backup-manifest.ts';
import { planBackup } from './backup-plan.ts';
import { readCarryingDags } from './carriers.ts';
import { reportDebris } from './debris.ts';
import { detectEnvironment } from './detect.ts';
import { readUnfinished } from './in-flight/unfinished.ts';
import { makeBackupId, manifestKey, partKey, sealedKey } from './layout.ts';
import { findLiveRuns } from './live-rows.ts';
import type { ManifestPart } from './manifest.ts';
import { writePart } from './part-writer.ts';
import { createProgress } from './progress.ts';
import { createMeeting, inStep, raceAll } from './race.ts';
import { selectTables } from './selection.ts';
import { planSecrets, secretsMode } from './sealed/plan-secrets.ts';
import { writeSealedPart } from './sealed/write.ts';
import { withSession } from './session.ts';
import { withholdTaskTokens } from './task-tokens.ts';
import { copyItems, largestFirst } from './work.ts';
import type { CopyItem } from './work.ts';

/** For taking back the parts of a failed backup; the user waits for it. */
const REMOVE_TIMEOUT_MS = 10_000;

/**
 * Streams one consistent backup into the storage: one REPEATABLE READ snapshot, shared by all connections; data first,
 * the manifest last. The source is only read.
 *
 * @throws LifeboatError; whatever fails, no manifest is left and no earlier backup is touched.
 */
export async function backup(ctx: EngineContext, request: BackupRequest): Promise<BackupResult> {
  const started = ctx.now();
  secretsMode(request);
  const debris = await reportDebris(ctx);
  const { environment, jobs } = request;
  const lead = {
    purpose: 'backup',
    begin: async (client: Client, settings: readonly string[]) => ({
      settings,
      snapshot: await beginSnapshot(client, settings, { exported: jobs > 1 }),
    }),
  };
  return withSession(ctx, environment, lead, async (client, { snapshot }) => {
    const prepared = await prepare(request, client, started);
    ctx.report({ event: 'plan', plan: prepared.plan });
    const { backupId, plan } = prepared;
    const said = { backupId, secrets: plan.secrets, debris, maxRate: plan.maxRate };
    if (request.dryRun) return said;
    // The plan of a backup that is made is not shown: who does not read it must hear this.
    for (const warning of prepared.secrets.warnings) ctx.report({ event: 'warning', ...warning });
    const maxIds = await readMaxIds(client, environment.schema, prepared);
    const unfinished = holdsRuns(prepared) ? await readUnfinished(client, environment.schema) : undefined;
    const join = { purpose: 'backup', begin: joining(snapshot.id ?? '') };
    const worker: Worker = (work, signal) =>
      withSession(ctx, environment, { ...join, signal }, (other) => work(other));
    try {
      const parts = await copyAll(ctx, request, prepared, client, Array<Worker>(jobs - 1).fill(worker));
      const manifest = await publish(ctx, request, prepared, {
        parts,
        maxIds,
        unfinished,
        snapshotTime: snapshot.time,
        started,
      });
      return { ...said, manifest };
    } catch (error) {
      await removeRemains(ctx, request, prepared);
      throw error;
    }
  });
}

function holdsRuns({ selection }: Prepared): boolean {
  const needed = ['dag_run', 'task_instance', 'task_reschedule'];
  return needed.every((name) => selection.tables.some((table) => table.name === name));
}

function joining(snapshotId: string): (client: Client, settings: readonly string[]) => Promise<void> {
  return (client, settings) => joinSnapshot(client, snapshotId, settings);
}

/**
 * A backup that failed takes its parts back, as far as the storage lets it. Without a manifest they are no backup in any
 * case; this only saves the space until the next prune. The signal may be aborted already, so it is not used.
 */
async function removeRemains(ctx: EngineContext, request: BackupRequest, prepared: Prepared): Promise<void> {
  const { backupId, items } = prepared;
  const keys = items.map((item) => partKey(backupId, item.table.name, item.part, request.compression.codec));
  const signal = AbortSignal.timeout(REMOVE_TIMEOUT_MS);
  try {
    // First the manifest: the answer to its write may be what got lost, and a manifest without parts would be a lie.
    await ctx.storage.remove([manifestKey(backupId)], signal);
    await ctx.storage.remove(prepared.secrets.sealing ? [...keys, ...keys.map(sealedKey)] : keys, signal);
  } catch {
    // The error that ended the backup is the one to tell.
  }
}

async function prepare(request: BackupRequest, lead: Client, started: Date): Promise<Prepared> {
  const detected = await detectEnvironment(lead, request.environment);
  const { live, serverVersion } = detected;
  const chosen = selectTables(detected.tables, live.foreignKeys, {
    include: request.tables,
    exclude: request.excludeTables,
  });
  const backupId = makeBackupId(started, randomBytes(3).toString('hex'));
  const secrets = await planSecrets(request, lead, detected, chosen.tables, backupId);
  const carriedBy = await findCarrier(lead, request);
  const carryingDags = await readCarryingDags(lead, live.schema, carriedBy ? [carriedBy.dagId] : []);
  const withheld = await withholdTaskTokens(lead, live.schema, secrets.tables, carryingDags);
  const selection = { ...chosen, tables: withheld.tables };
  const items = selection.tables.flatMap((table) => {
    const found = live.tables.get(table.name);
    return found ? copyItems(table, found, live.schema, serverVersion) : [];
  });
  const plan = planBackup({
    backupId,
    detected,
    chosen,
    selection,
    items,
    jobs: request.jobs,
    compression: compressionName(request),
    maxRate: request.maxRate ?? null,
    secrets,
    withheld: withheld.leftOut,
  });
  return { backupId, detected, selection, items, plan, secrets, carriedBy, carryingDags };
}

/** The task that makes this backup, if it is one of the source: a task of another Airflow says nothing about this one. */
async function findCarrier(lead: Client, request: BackupRequest): Promise<CarryingTask | undefined> {
  const { carriedBy, environment } = request;
  if (!carriedBy) return undefined;
  const { live } = await findLiveRuns(lead, environment.schema, { carriedBy });
  return live.length > 0 ? carriedBy : undefined;
}

/** Read inside the snapshot: a restore needs them before it has seen a row. */
async function readMaxIds(lead: Client, schema: string, { selection }: Prepared): Promise<MaxIds> {
  const found = new Map<string, Record<string, number | null>>();
  for (const table of selection.tables) {
    if (table.serial === undefined) continue;
    const result = await lead.query<{ max: string | null }>(
      `SELECT pg_catalog.max(${quoteIdent(table.serial)})::text AS max FROM ${quoteTable(schema, table.name)}`,
    );
    const max = result.rows[0]?.max ?? null;
    found.set(table.name, { [table.serial]: max === null ? null : Number(max) });
  }
  return found;
}

type Worker = (work: (client: Client) => Promise<void>, signal: AbortSignal) => Promise<void>;

async function copyAll(
  ctx: EngineContext,
  request: BackupRequest,
  prepared: Prepared,
  lead: Client,
  workers: readonly Worker[],
): Promise<ReadonlyMap<string, ManifestPart>> {
  const { backupId, items } = prepared;
  const totalBytes = items.reduce((sum, item) => sum + item.estimatedBytes, 0);
  const progress = createProgress(ctx, 'backup', { totalBytes });
  const tables = createTableReport(ctx, items);
  const parts = new Map<string, ManifestPart>();
  const throttle = throttleOf(ctx, request);
  const queue = largestFirst(items).values();
  const { sealing } = prepared.secrets;
  const { compression } = request;
  // The server formats the next part while the last one is compressed, written and flushed to the disk.
  const work = (client: Client, signal: AbortSignal): Promise<void> =>
    inStep(queue, async (item, onCopied) => {
      signal.throwIfAborted();
      const key = partKey(backupId, item.table.name, item.part, compression.codec);
      tables.start(item);
      const job = { key, sql: item.sql, compression, onCopied, ...(throttle ? { throttle } : {}) };
      const onBytes = (bytes: number): void => {
        progress.add(item.table.name, 0, bytes);
      };
      const fields = sealing?.fields.get(item.table.name);
      const { rawBytes, ...part } =
        sealing && fields
          ? await writeSealedPart(client, ctx.storage, job, { ...sealing, fields }, onBytes, signal)
          : await writePart(client, ctx.storage, job, onBytes, signal);
      progress.add(item.table.name, part.rows, 0);
      tables.done(item, part.rows, rawBytes);
      parts.set(key, part);
    });
  ctx.report({
    event: 'phase',
    phase: 'backup',
    message: `Copying ${prepared.selection.tables.length} tables`,
  });
  // The snapshot lives as long as the lead's transaction: whoever joined it late, after the lead had failed, would fail
  // for that reason, and its error would hide the lead's.
  const joined = createMeeting(workers.length);
  await raceAll(ctx.signal, [
    async (signal) => {
      await joined.complete(signal);
      await work(lead, signal);
    },
    ...workers.map(
      (worker) => (signal: AbortSignal) =>
        worker((client) => {
          joined.arrive();
          return work(client, signal);
        }, signal),
    ),
  ]);
  await throttle?.settle(ctx.signal);
  progress.end();
  return parts;
}

/** One for the run: what one connection reads is not left for the others. */
function throttleOf({ now }: EngineContext, { maxRate }: BackupRequest): Throttle | undefined {
  return maxRate === undefined ? undefined : createThrottle({ bytesPerSecond: maxRate, now });
}

/** One `table` event when the last part of a table is done. */
function createTableReport(
  ctx: EngineContext,
  items: readonly CopyItem[],
): { start(item: CopyItem): void; done(item: CopyItem, rows: number, bytes: number): void } {
  const open = new Map<string, { left: number; rows: number; bytes: number; started: number }>();
  for (const { table } of items) {
    const state = open.get(table.name) ?? { left: 0, rows: 0, bytes: 0, started: 0 };
    open.set(table.name, { ...state, left: state.left + 1 });
  }
  return {
    start: ({ table }) => {
      const state = open.get(table.name);
      if (state?.started === 0) state.started = ctx.now().getTime();
    },
    done: ({ table }, rows, bytes) => {
      const state = open.get(table.name);
      if (!state) return;
      state.left -= 1;
      state.rows += rows;
      state.bytes += bytes;
      if (state.left > 0) return;
      const seconds = (ctx.now().getTime() - state.started) / 1000;
      ctx.report({
        event: 'table',
        phase: 'backup',
        table: table.name,
        rows: state.rows,
        bytes: state.bytes,
        seconds,
      });
    },
  };
}
