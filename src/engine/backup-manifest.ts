import type { BackupRequest, CarryingTask, EngineContext } from './api.ts';
import type { DetectedEnvironment } from './detect.ts';
import type { Unfinished } from './in-flight/unfinished.ts';
import { manifestKey, partKey } from './layout.ts';
import { encodeManifest } from './manifest-text.ts';
import type { UnsealedManifest } from './manifest-text.ts';
import { FORMAT_VERSION } from './manifest.ts';
import type { Manifest, ManifestPart, ManifestTable } from './manifest.ts';
import type { BackupPlan } from './plans.ts';
import { objectsOf } from './sealed/fields.ts';
import type { PlannedSecrets } from './sealed/plan-secrets.ts';
import type { Selection } from './selection.ts';
import { TOOL } from './tool.ts';
import type { CopyItem } from './work.ts';

/** A backup that is planned and not yet copied. */
export interface Prepared {
  readonly backupId: string;
  readonly detected: DetectedEnvironment;
  readonly selection: Selection;
  readonly items: readonly CopyItem[];
  readonly plan: BackupPlan;
  readonly carriedBy: CarryingTask | undefined;
  readonly carryingDags: readonly string[];
  readonly secrets: PlannedSecrets;
}

/** Table → serial column → its largest value inside the snapshot. */
export type MaxIds = ReadonlyMap<string, Readonly<Record<string, number | null>>>;

export function compressionName({ compression }: Pick<BackupRequest, 'compression'>): string {
  return `${compression.codec}:${compression.level}`;
}

/** Writes the manifest: the last object, create-only. From then on the backup exists. */
export async function publish(
  ctx: EngineContext,
  request: BackupRequest,
  prepared: Prepared,
  done: {
    parts: ReadonlyMap<string, ManifestPart>;
    maxIds: MaxIds;
    unfinished: Unfinished | undefined;
    snapshotTime: string;
    started: Date;
  },
): Promise<Manifest> {
  const { backupId, detected, selection, plan } = prepared;
  const tables = selection.tables.map((table): ManifestTable => {
    const live = detected.live.tables.get(table.name);
    const parts = prepared.items
      .filter((item) => item.table.name === table.name)
      .map((item) => done.parts.get(partKey(backupId, table.name, item.part, request.compression.codec)))
      .filter((part) => part !== undefined);
    const fields = prepared.secrets.sealing?.fields.get(table.name) ?? [];
    const sealed = fields.map(({ column }) => column);
    const names = table.columns.map((column) => column.name).filter((column) => !sealed.includes(column));
    return {
      name: table.name,
      columns: names,
      ...(sealed.length === 0 ? {} : { sealed }),
      types: Object.fromEntries(table.columns.map(({ name }) => [name, live?.columns.get(name)?.type ?? ''])),
      rows: parts.reduce((sum, part) => sum + part.rows, 0),
      maxIds: done.maxIds.get(table.name) ?? {},
      parts,
    };
  });
  const unsealed: UnsealedManifest = {
    formatVersion: FORMAT_VERSION,
    backupId,
    label: request.label ?? null,
    tool: TOOL,
    source: {
      kind: 'database',
      environment: detected.facts.name,
      schema: detected.facts.schema,
      airflow: detected.facts.airflow,
      alembicHead: detected.facts.alembicHead,
      postgres: detected.facts.postgres,
      ...(prepared.carriedBy === undefined ? {} : { carriedBy: prepared.carriedBy }),
      ...(prepared.carryingDags.length === 0 ? {} : { carryingDags: prepared.carryingDags }),
    },
    snapshotTime: done.snapshotTime,
    compression: compressionName(request),
    secrets: prepared.secrets.manifest,
    ...(done.unfinished === undefined ? {} : { unfinished: done.unfinished }),
    tables,
    leftOut: plan.leftOut,
    totals: totalsOf(tables),
    durationSeconds: (ctx.now().getTime() - done.started.getTime()) / 1000,
  };
  return writeManifest(ctx, unsealed);
}

export function totalsOf(tables: readonly ManifestTable[]): Manifest['totals'] {
  const objects = tables.flatMap((table) => table.parts.flatMap(objectsOf));
  return {
    tables: tables.length,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    parts: objects.length,
    bytes: objects.reduce((sum, object) => sum + object.bytes, 0),
  };
}

/** Create-only: of two writers of one id exactly one succeeds. */
export async function writeManifest(ctx: EngineContext, unsealed: UnsealedManifest): Promise<Manifest> {
  const bytes = encodeManifest(unsealed);
  ctx.signal.throwIfAborted();
  await ctx.storage.write(manifestKey(unsealed.backupId), bytes, { createOnly: true, signal: ctx.signal });
  return JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
}
