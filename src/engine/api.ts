import type { DatabaseTarget } from '../db/target.ts';
import type { Storage } from '../storage/storage.ts';
import type { Report } from './events.ts';
import type { ImportNote } from './import/notes.ts';
import type { Manifest } from './manifest.ts';
import type { InFlightResult } from './in-flight/in-flight.ts';
import type {
  CleanupPlan,
  InFlightPolicy,
  MergeStrategy,
  PauseState,
  PrunePlan,
  RestorePlan,
} from './plans.ts';

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

/** A run, by the names that Airflow's users and its interface have for it. */
export interface RunName {
  readonly dagId: string;
  readonly runId: string;
}

/** The task of an Airflow that this process runs in. */
export interface CarryingTask extends RunName {
  readonly taskId: string;
}

export interface BackupRequest {
  readonly environment: DatabaseTarget;
  readonly tables?: readonly string[];
  readonly excludeTables?: readonly string[];
  readonly jobs: number;
  readonly compression: Compression;
  readonly label?: string;
  /** The task that this process runs in; the manifest names it when the source has its run. */
  readonly carriedBy?: CarryingTask;
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
  /** Default: resume. */
  readonly inFlight?: InFlightPolicy;
  readonly tables?: readonly string[];
  /** Shell-style patterns over DAG ids: only the history of these DAGs. All when absent. */
  readonly dags?: readonly string[];
  /** Shell-style patterns over DAG ids: not the history of these. */
  readonly excludeDags?: readonly string[];
  /** Milliseconds before the backup's snapshot: only runs that started since then, or had not ended. All when absent. */
  readonly since?: number;
  /** Keys of the target, first key first. */
  readonly fernetKeys: readonly string[];
  /** Keys of the source, for secrets that the target's do not read. */
  readonly sourceFernetKeys?: readonly string[];
  /** What happens to secrets that no known key reads when the target has another key. Default refuse. */
  readonly unreadable?: 'refuse' | 'keep';
  /** Encrypt secrets that the source stored in clear. */
  readonly encryptClear?: boolean;
  /** Runs of the target that survive, with everything that hangs on them. One that is not there is refused. */
  readonly keepRuns?: readonly RunName[];
  /** The task that this process runs in; its run survives like those of keepRuns, if the target has it. */
  readonly carriedBy?: CarryingTask;
  /** Go on although tasks of the target are running or queued. Default false: refused, with their names. */
  readonly ignoreRunning?: boolean;
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
    /** What became of the backup's unfinished runs; null when this restore brought none of their tables. */
    readonly inFlight: InFlightResult | null;
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
    /** Runs of the target that survived, as DAG_ID/RUN_ID. */
    readonly keptRuns: readonly string[];
    /** Runs of the backup that were not loaded, because a surviving one has their name or date. */
    readonly leftOutRuns: readonly string[];
    /** DAGs that carry backups or restores: they kept the pause state that they had in the target. */
    readonly carryingDags: readonly string[];
    /** The run that made the backup, stored as success; null when no run of the backup did. */
    readonly endedRun: string | null;
    /** How long the target was held up. */
    readonly locks: {
      /** Until all table locks were held at once, in attempts of 0.4 s. */
      readonly waitedSeconds: number;
      /** From then to the commit: whoever writes to these tables waits at most this long, and one attempt. */
      readonly heldSeconds: number;
    };
    readonly seconds: number;
  };
}

export interface CleanupRequest {
  readonly environment: DatabaseTarget;
  /** As in RestoreRequest. */
  readonly keepRuns?: readonly RunName[];
  readonly carriedBy?: CarryingTask;
  readonly ignoreRunning?: boolean;
  readonly dryRun: boolean;
  readonly confirm: Confirm<CleanupPlan>;
}

export interface CleanupResult {
  readonly plan: CleanupPlan;
  /** How long the target was held up, as in RestoreResult; absent after a dry run. */
  readonly locks?: { readonly waitedSeconds: number; readonly heldSeconds: number };
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

/** json, yaml: Airflow's own files for variables, connections and pools · csv: any table. */
export type ExportFormat = 'json' | 'yaml' | 'csv';

export interface ExportRequest {
  readonly backup: string;
  /** Directory for the files; made when it is missing. */
  readonly to: string;
  readonly format: ExportFormat;
  /** Default: variable, connection and slot_pool for json and yaml, every table of the backup for csv. */
  readonly tables?: readonly string[];
  /** Write secrets in clear. Without it they are left out: see ExportLeftOut. */
  readonly withSecrets: boolean;
  /** Keys that may read the secrets, in any order: the source's. */
  readonly fernetKeys: readonly string[];
}

export interface ExportLeftOut {
  readonly table: string;
  /** Absent: whole rows. */
  readonly columns?: readonly string[];
  /** Rows concerned. */
  readonly rows: number;
  /** What the rows are called, at most 100 of them; absent for whole columns. */
  readonly names?: readonly string[];
  readonly reason: string;
}

export interface ExportResult {
  readonly backupId: string;
  readonly format: ExportFormat;
  readonly directory: string;
  readonly withSecrets: boolean;
  readonly files: readonly {
    readonly file: string;
    readonly table: string;
    readonly rows: number;
    readonly bytes: number;
  }[];
  readonly leftOut: readonly ExportLeftOut[];
  /** Secrets that no key reads; their rows are left out. Names only. */
  readonly unreadableSecrets: readonly string[];
  readonly seconds: number;
}

export interface DiffRequest {
  readonly backup: string;
  /** What the backup is compared with: a database, or another backup of the same storage. */
  readonly other: { readonly environment: DatabaseTarget } | { readonly backup: string };
  /** Tables to compare; all when absent. */
  readonly tables?: readonly string[];
  /** Every known key, of either side: secrets are compared by what they hold, as far as they can be read. */
  readonly fernetKeys: readonly string[];
}

export interface DiffTable {
  readonly table: string;
  /** Rows in the backup. */
  readonly rows: number;
  readonly otherRows: number;
  /** In the backup only: what the other side has lost. */
  readonly missing: number;
  /** On the other side only. */
  readonly added: number;
  /** On both sides, with different content. */
  readonly changed: number;
  /** Equal but for stored secrets that differ and that no known key reads. */
  readonly notComparable: number;
  /** Names of some rows of each kind; none for tables whose rows have only an id. */
  readonly examples: Readonly<Record<'missing' | 'added' | 'changed' | 'notComparable', readonly string[]>>;
  /** Missing rows of the DAGs that miss most; only for tables with a dag_id. */
  readonly missingByDag?: readonly { readonly dag: string; readonly rows: number }[];
  /** Ids, references that only an id could tell apart, and columns that one side lacks. */
  readonly columnsNotCompared: readonly string[];
}

export interface DiffResult {
  readonly backupId: string;
  /** The other side, for people. */
  readonly other: string;
  /** Only when the other side is a backup. */
  readonly otherBackupId?: string;
  /** False: everything that was compared is equal. */
  readonly different: boolean;
  readonly tables: readonly DiffTable[];
  readonly notCompared: readonly { readonly table: string; readonly reason: string }[];
  readonly seconds: number;
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
  /** DAGs that carry backups or restores, left as they are although the backup has another state. */
  readonly carrying: readonly string[];
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

export interface ImportRequest {
  /** Where the other tool's backup lies. */
  readonly from: Storage;
  readonly format: 'mwaa-dr' | 'glue';
  /** Minor of the Airflow that was backed up, where the format does not say. */
  readonly airflowVersion?: string;
  readonly compression: Compression;
  readonly label?: string;
  /** The first encrypts what the other tool stored in clear. */
  readonly fernetKeys: readonly string[];
  /** Keys that the source had, for what is encrypted in its files. */
  readonly sourceFernetKeys?: readonly string[];
}

export interface ImportResult {
  readonly backupId: string;
  readonly manifest: Manifest;
  /** What is lost, mended or doubtful; the same stands in the manifest. */
  readonly notes: readonly ImportNote[];
}
