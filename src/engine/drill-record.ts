import type { ErrorKind } from '../errors.ts';
import { isLifeboatError, LifeboatError } from '../errors.ts';
import type { Storage } from '../storage/storage.ts';
import type { InFlightResult } from './in-flight/in-flight.ts';
import { backupTime, drillIdOf, drillKey, DRILLS } from './layout.ts';
import { readSmall } from './read-small.ts';
import type { DanglingReference } from './shadow/references.ts';

const DRILL_FORMAT = 1;
/** A record is some kilobytes; more is something else. */
const MAX_BYTES = 16 * 1024 * 1024;
/** Records that are read in search of one that passed: more cost seconds on S3, and prove what is too old. */
const LOOK_BACK = 100;

/** Steps of a drill, in their order. */
export type DrillPhase = 'plan' | 'load' | 'settle' | 'check' | 'drop';

export interface DrillTable {
  readonly table: string;
  /** In the backup. */
  readonly stored: number;
  /** Counted where they would be restored from. Fewer than stored: the rest is left out, as a restore leaves it out. */
  readonly rows: number;
  /** Rows that could not keep their id. */
  readonly moved: number;
}

/** What one drill found, as it lies in drills/<drillId>.json. */
export interface DrillRecord {
  readonly formatVersion: number;
  readonly drillId: string;
  readonly tool: { readonly name: string; readonly version: string };
  /** Null when not even the manifest could be read. */
  readonly backupId: string | null;
  /** As it was asked for: an id, `latest`, `latest-verified`. */
  readonly requested: string;
  /** The moment that the backup shows. */
  readonly snapshotTime: string | null;
  /** host:port/database */
  readonly target: string;
  /** Airflow minor of the target; null when nobody got that far. */
  readonly airflow: string | null;
  readonly startedAt: string;
  readonly seconds: number;
  readonly phases: readonly { readonly phase: DrillPhase; readonly seconds: number }[];
  readonly result: 'passed' | 'failed';
  readonly failure: {
    readonly kind: ErrorKind;
    readonly message: string;
    readonly next: string | null;
    /** The step that it failed in. */
    readonly phase: DrillPhase | null;
  } | null;
  /** Empty when it failed before they were counted. */
  readonly tables: readonly DrillTable[];
  readonly rows: number;
  /** Foreign keys to live tables, which are asked for and not made; null when it did not come to that. */
  readonly references: {
    readonly checked: number;
    readonly dangling: readonly DanglingReference[];
  } | null;
  /** What would become of unfinished runs; null when it did not come to that. */
  readonly inFlight: InFlightResult | null;
  readonly unfinishedRuns: Readonly<Record<string, number>>;
  readonly unfinishedTasks: Readonly<Record<string, number>>;
  /** Secrets that would be written anew for the target's key; null when it did not come to that. */
  readonly secrets: { readonly reencrypted: number; readonly encrypted: number } | null;
  /** Names of secrets that the target would not read; null: no key of the target is known, or it did not come to that. */
  readonly unreadableSecrets: readonly string[] | null;
}

export type DrillFindings = Omit<DrillRecord, 'formatVersion'>;

/** Stores what a drill found. Never over another one: a record is not changed. */
export async function writeDrill(
  storage: Storage,
  findings: DrillFindings,
  signal: AbortSignal,
): Promise<void> {
  const record: DrillRecord = { formatVersion: DRILL_FORMAT, ...findings };
  const body = Buffer.from(`${JSON.stringify(record, null, 2)}\n`);
  await storage.write(drillKey(findings.drillId), body, { createOnly: true, signal });
}

export interface LastDrill {
  readonly drillId: string;
  readonly startedAt: string | null;
  readonly backupId: string | null;
  readonly target: string | null;
  /** unreadable: the record is damaged, or of a newer Lifeboat. */
  readonly result: 'passed' | 'failed' | 'unreadable';
  readonly seconds: number | null;
  /** Why it failed or cannot be read. */
  readonly problem: string | null;
}

/** What a passed drill proved. */
export interface ProvenBackup {
  readonly backupId: string;
  /** The drill that proved it. */
  readonly drillId: string;
  /** The moment that the backup shows. */
  readonly snapshotTime: string;
}

export interface Drills {
  /** The newest drill, readable or not; null: there was none. */
  readonly last: LastDrill | null;
  /** Of backups that are there, the one whose own newest drill passed last; null: the last hundred have none. */
  readonly proven: ProvenBackup | null;
}

/**
 * What a storage knows of drills.
 *
 * @param isThere whether a backup can still be restored: one that was pruned proves nothing any more
 */
export async function readDrills(
  storage: Storage,
  signal: AbortSignal,
  isThere: (backupId: string) => boolean,
): Promise<Drills> {
  const ids: string[] = [];
  for await (const { key } of storage.list(DRILLS, signal)) {
    const id = drillIdOf(key);
    if (id !== undefined) ids.push(id);
  }
  ids.sort().reverse();
  let last: LastDrill | null = null;
  const drilled = new Set<string>();
  for (const id of ids.slice(0, LOOK_BACK)) {
    const record = await tryRecord(storage, id, signal);
    last ??= summaryOf(id, record);
    if (record instanceof LifeboatError || record.backupId === null) continue;
    const { backupId, result } = record;
    // What its newest drill says of a backup counts: it may have been damaged since an older one.
    if (!drilled.has(backupId) && result === 'passed' && isThere(backupId)) {
      const snapshotTime = record.snapshotTime ?? new Date(backupTime(backupId)).toISOString();
      return { last, proven: { backupId, drillId: id, snapshotTime } };
    }
    drilled.add(backupId);
  }
  return { last, proven: null };
}

/** The record, or why it cannot be read. A storage that does not answer is thrown. */
async function tryRecord(
  storage: Storage,
  drillId: string,
  signal: AbortSignal,
): Promise<DrillRecord | LifeboatError> {
  try {
    return await readRecord(storage, drillId, signal);
  } catch (error) {
    if (isLifeboatError(error, 'integrity') || isLifeboatError(error, 'unsupported')) return error;
    throw error;
  }
}

function summaryOf(drillId: string, record: DrillRecord | LifeboatError): LastDrill {
  if (record instanceof LifeboatError) {
    const unknown = { startedAt: null, backupId: null, target: null, seconds: null };
    return { drillId, ...unknown, result: 'unreadable', problem: record.message };
  }
  const { startedAt, backupId, target, result, seconds, failure } = record;
  return { drillId, startedAt, backupId, target, result, seconds, problem: failure?.message ?? null };
}

async function readRecord(storage: Storage, drillId: string, signal: AbortSignal): Promise<DrillRecord> {
  const bytes = await readSmall(storage, drillKey(drillId), signal, {
    maxBytes: MAX_BYTES,
    tooLarge: () => damaged(drillId),
  });
  return decode(drillId, bytes.toString('utf8'));
}

function decode(drillId: string, text: string): DrillRecord {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw damaged(drillId);
  }
  const record = parsed as Partial<DrillRecord> | null;
  if (typeof record?.formatVersion === 'number' && record.formatVersion > DRILL_FORMAT) {
    throw new LifeboatError('unsupported', `The record of drill ${drillId} is of a newer Lifeboat.`);
  }
  const whole =
    record?.drillId === drillId &&
    (record.result === 'passed' || record.result === 'failed') &&
    typeof record.startedAt === 'string' &&
    typeof record.target === 'string' &&
    typeof record.seconds === 'number' &&
    (record.backupId === null || typeof record.backupId === 'string') &&
    (record.snapshotTime === null || typeof record.snapshotTime === 'string') &&
    (record.result === 'passed' || typeof record.failure?.message === 'string');
  if (!whole) throw damaged(drillId);
  return record as DrillRecord;
}

function damaged(drillId: string): LifeboatError {
  return new LifeboatError('integrity', `The record of drill ${drillId} is damaged.`);
}
