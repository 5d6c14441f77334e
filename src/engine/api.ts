import type { DatabaseTarget } from '../db/target.ts';
import type { Storage } from '../storage/storage.ts';
import type { Report } from './events.ts';
import type { Manifest } from './manifest.ts';
import type { CleanupPlan, MergeStrategy, PauseState, PrunePlan, RestorePlan } from './plans.ts';

/** What every engine function gets passed in: nothing in the engine reads the environment, the clock or argv. */
export interface EngineContext {
  readonly storage: Storage;
  readonly report: Report;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  /** Who works, for whoever meets our lock: "pid 4711 on host". */
  readonly origin?: string;
  /** Milliseconds of silence before a connection is suspected to be dead; the watchdog's own default without it. */
  readonly stallMs?: number;
}

export interface Compression {
  readonly codec: 'gzip' | 'zstd';
  readonly level: number;
}

export interface BackupRequest {
  readonly environment: DatabaseTarget;
  readonly tables?: readonly string[];
  readonly excludeTables?: readonly string[];
  readonly jobs: number;
  readonly compression: Compression;
  readonly label?: string;
  /** The source's Fernet keys as far as known; only their fingerprints are stored. */
  readonly fernetKeys: readonly string[];
  readonly dryRun: boolean;
}

export interface BackupResult {
  readonly backupId: string;
  /** Absent after a dry run. */
  readonly manifest?: Manifest;
  /** Ids of incomplete backups seen in the storage. */
  readonly debris: readonly string[];
}

/** Asked once, after the plan was reported and before anything changes; false refuses (14). */
export type Confirm<Plan> = (plan: Plan) => Promise<boolean>;

export interface RestoreRequest {
  readonly environment: DatabaseTarget;
  /** Backup id, unique prefix, `latest` or `latest-verified`. */
  readonly backup: string;
  readonly clean: boolean;
  readonly variables: MergeStrategy;
  readonly connections: MergeStrategy;
  readonly pauseState: PauseState;
  readonly tables?: readonly string[];
  /** Keys of the target, first key first. */
  readonly fernetKeys: readonly string[];
  /** Keys of the source, for secrets that the target's do not read. */
  readonly sourceFernetKeys?: readonly string[];
  /** What happens to secrets that no known key reads when the target has another key. Default refuse. */
  readonly unreadable?: 'refuse' | 'keep';
  /** Encrypt secrets that the source stored in clear. */
  readonly encryptClear?: boolean;
  readonly dryRun: boolean;
  readonly confirm: Confirm<RestorePlan>;
}

export interface MergeCounts {
  readonly added: number;
  readonly replaced: number;
  readonly kept: number;
  /** Keys that exist on both sides with different content, where the target's stayed (at most 100 names). */
  readonly keptDifferent: readonly string[];
}

export interface RestoreResult {
  readonly backupId: string;
  readonly plan: RestorePlan;
  /** Absent after a dry run. */
  readonly loaded?: {
    readonly tables: readonly { readonly table: string; readonly rows: number; readonly moved: number }[];
    readonly rows: number;
    readonly deleted: number;
    readonly variables: MergeCounts;
    readonly connections: MergeCounts;
    /** Unfinished runs in the target now, by state. */
    readonly unfinishedRuns: Readonly<Record<string, number>>;
    readonly unfinishedTasks: Readonly<Record<string, number>>;
    /** Restored secrets that the target's Fernet keys cannot read: names only. Null: no key of the target is known. */
    readonly unreadableSecrets: readonly string[] | null;
    /** Secrets written anew for the target's first Fernet key, and those that were stored in clear before. */
    readonly secrets: { readonly reencrypted: number; readonly encrypted: number };
    /** Pools that restored tasks name and the target does not have. */
    readonly missingPools: readonly string[];
    /** DAGs with restored runs that the target has not parsed. */
    readonly unparsedDags: readonly string[];
    /** Notes whose author the target does not know. */
    readonly notesWithoutUser: number;
    readonly seconds: number;
  };
}

export interface CleanupRequest {
  readonly environment: DatabaseTarget;
  readonly dryRun: boolean;
  readonly confirm: Confirm<CleanupPlan>;
}

export interface CleanupResult {
  readonly plan: CleanupPlan;
  /** Rows deleted by table; absent after a dry run. */
  readonly deleted?: Readonly<Record<string, number>>;
}

export interface VerifyRequest {
  readonly backup: string;
  /** Also compare row counts with this database. */
  readonly environment?: DatabaseTarget;
}

export interface VerifyResult {
  readonly backupId: string;
  readonly parts: number;
  readonly rows: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Tables whose row count differs from the database; only when one was given. */
  readonly differences?: readonly {
    readonly table: string;
    readonly backup: number;
    readonly database: number;
  }[];
}

export interface PruneRequest {
  readonly keepLast?: number;
  /** Milliseconds. */
  readonly keepWithin?: number;
  readonly keepHourly?: number;
  readonly keepDaily?: number;
  readonly keepWeekly?: number;
  readonly keepMonthly?: number;
  readonly keepYearly?: number;
  readonly minBackups: number;
  readonly dryRun: boolean;
  readonly confirm: Confirm<PrunePlan>;
}

export interface PruneResult {
  readonly plan: PrunePlan;
  /** Absent after a dry run. */
  readonly removed?: {
    readonly backups: number;
    readonly debris: number;
    /** Writes that were never finished. */
    readonly leftovers: number;
    readonly objects: number;
    readonly bytes: number;
  };
}

export interface ActivateRequest {
  readonly environment: DatabaseTarget;
  readonly backup: string;
  /** Shell-style pattern over DAG ids; all when absent. */
  readonly dags?: string;
  readonly dryRun: boolean;
}

export interface ActivateResult {
  readonly backupId: string;
  readonly unpaused: readonly string[];
  readonly paused: readonly string[];
  readonly unchanged: number;
  /** DAGs of the backup that the target does not have. */
  readonly missing: readonly string[];
}

export interface DoctorRequest {
  readonly environment?: DatabaseTarget;
  readonly fernetKeys: readonly string[];
  /** False when no storage was named: its checks are left out. */
  readonly checkStorage: boolean;
}

export interface DoctorCheck {
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'failed';
  readonly found: string;
  /** What to do; present unless the status is ok. */
  readonly fix?: string;
}

export interface CatalogEntry {
  readonly backupId: string;
  readonly manifest?: Manifest;
  /** Why the manifest cannot be used. */
  readonly problem?: string;
}
