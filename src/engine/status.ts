import { LifeboatError } from '../errors.ts';
import type { EngineContext } from './api.ts';
import { listBackups } from './catalog.ts';
import { readDrills } from './drill-record.ts';
import type { LastDrill, ProvenBackup } from './drill-record.ts';
import { backupTime } from './layout.ts';

export interface StatusRequest {
  /** Milliseconds that the newest complete backup may be old; no limit when absent. */
  readonly maxAge?: number;
}

export interface StatusResult {
  /** The newest complete backup that can be read. */
  readonly backupId: string;
  /** The moment it shows: what happened after it would be lost. */
  readonly snapshotTime: string;
  readonly ageSeconds: number;
  readonly maxAgeSeconds: number | null;
  readonly overdue: boolean;
  readonly backups: number;
  /** Newer ones that do not count, because their manifest cannot be read. */
  readonly unreadable: readonly string[];
  /** Ids without a manifest: under way, or debris. */
  readonly incomplete: readonly string[];
  /** The newest drill that this storage knows of; null: none. */
  readonly lastDrill: LastDrill | null;
  /** Of the backups that are there, the one whose own newest drill passed last; null: none did. */
  readonly provenBackup: (ProvenBackup & { readonly ageSeconds: number }) | null;
}

/**
 * How much would be lost if the environment were gone now: the age of the newest complete backup. A backup whose
 * manifest is damaged protects nothing, so it does not count.
 *
 * @throws LifeboatError 'not-found' when there is no backup, 'integrity' when none can be read
 */
export async function status(
  ctx: Pick<EngineContext, 'storage' | 'signal' | 'now'>,
  request: StatusRequest,
): Promise<StatusResult> {
  const { entries, incomplete } = await listBackups(ctx.storage, ctx.signal);
  if (entries.length === 0) {
    throw new LifeboatError('not-found', `There is no backup in ${ctx.storage.location}.`, {
      next: 'Check --storage, or make one with `lifeboat backup`.',
      details: { incomplete },
    });
  }
  const at = entries.findIndex((entry) => entry.manifest !== undefined);
  const newest = entries[at];
  if (newest?.manifest === undefined) {
    throw new LifeboatError(
      'integrity',
      `None of the ${entries.length} backups in ${ctx.storage.location} can be read.`,
      {
        next: 'Run `lifeboat list` to see what is wrong with each, and make a new one.',
      },
    );
  }
  const age = ageOf(ctx.now(), newest.manifest.snapshotTime, newest.backupId);
  const restorable = new Set(entries.flatMap((one) => (one.manifest === undefined ? [] : [one.backupId])));
  const { last, proven } = await readDrills(ctx.storage, ctx.signal, (id) => restorable.has(id));
  return {
    backupId: newest.backupId,
    snapshotTime: newest.manifest.snapshotTime,
    ageSeconds: Math.round(age / 1000),
    maxAgeSeconds: request.maxAge === undefined ? null : request.maxAge / 1000,
    overdue: request.maxAge !== undefined && age > request.maxAge,
    backups: entries.length,
    unreadable: entries.slice(0, at).map((entry) => entry.backupId),
    incomplete,
    lastDrill: last,
    provenBackup: proven && {
      ...proven,
      ageSeconds: Math.round(ageOf(ctx.now(), proven.snapshotTime, proven.backupId) / 1000),
    },
  };
}

/** Milliseconds since the moment that a backup shows. */
function ageOf(now: Date, snapshotTime: string, backupId: string): number {
  return Math.max(0, now.getTime() - (Date.parse(snapshotTime) || backupTime(backupId)));
}
