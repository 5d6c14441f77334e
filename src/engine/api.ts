import type { DatabaseTarget } from '../db/target.ts';
import type { Storage } from '../storage/storage.ts';
import type { DrillFindings } from './drill-record.ts';
import type { Report } from './events.ts';
import type { InFlightResult } from './in-flight/in-flight.ts';
import type { Manifest, SecretsMode } from './manifest.ts';
import type { ApiTarget } from './rest/api.ts';
import type {
  BackupPlanSecrets,
  CleanupPlan,
  InFlightPolicy,
  MergeStrategy,
  PauseState,
  PrunePlan,
  RestorePlan,
  RestoreWay,
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
  /** Bytes a second that all connections together read from the server at most, before compression; no limit when absent. */
  readonly maxRate?: number;
  readonly label?: string;
  /** The task that this process runs in; the manifest names it when the source has its run. */
  readonly carriedBy?: CarryingTask;
  /** The source's Fernet keys as far as known; only their fingerprints are stored. */
  readonly fernetKeys: readonly string[];
  /** True: the keys are the running Airflow's own setting, which ends with it. Then the backup warns. */
  readonly fernetKeysLent?: boolean;
  /** How secrets are stored. Default: ciphertext, or sealed when there are recipients. */
  readonly secrets?: SecretsMode;
  /** Recipients of sealed secrets: age1…, awskms://KEY?region=REGION. */
  readonly sealTo?: readonly string[];
  readonly dryRun: boolean;
}

export interface BackupResult {
  readonly backupId: string;
  /** Absent after a dry run. */
  readonly manifest?: Manifest;
  /** How secrets are stored, and what makes them restorable when the source is gone. */
  readonly secrets: BackupPlanSecrets;
  /** Ids of incomplete backups seen in the storage. */
  readonly debris: readonly string[];
  /** Bytes a second that were read at most; null: no limit. */
  readonly maxRate: number | null;
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
  /** Keys of variables that stay as the target has them, and are not added where it has none. */
  readonly keepVariables?: readonly string[];
  /** Identities of age, for a backup whose secrets are sealed; KMS keys need none. */
  readonly identities?: readonly string[];
  /** Runs of the target that survive, with everything that hangs on them. One that is not there is refused. */
  readonly keepRuns?: readonly RunName[];
  /** The task that this process runs in; its run survives like those of keepRuns, if the target has it. */
  readonly carriedBy?: CarryingTask;
  /** Go on although tasks of the target are running or queued. Default false: refused, with their names. */
  readonly ignoreRunning?: boolean;
  /** How the history gets into the target; absent: the plan chooses. */
  readonly via?: RestoreWay;
  /** Connections that load beside each other, via shadow. Default 2. */
  readonly jobs?: number;
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
    /** Dataset events that were left out, because the backup does not have their dataset. */
    readonly eventsWithoutDataset: number;
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

/** As in RestoreRequest; nothing is asked, because nothing changes. */
export type DrillRequest = Pick<
  RestoreRequest,
  | 'environment'
  | 'backup'
  | 'variables'
  | 'connections'
  | 'inFlight'
  | 'fernetKeys'
  | 'sourceFernetKeys'
  | 'unreadable'
  | 'encryptClear'
  | 'identities'
  | 'carriedBy'
  | 'jobs'
>;

export interface DrillResult extends DrillFindings {
  /** False: the storage would not have it. */
  readonly recorded: boolean;
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
  /** Also compare row counts with this database, or with what this API counts. */
  readonly environment?: DatabaseTarget | ApiTarget;
  /** Open sealed secrets too, and count their rows; without them only their stored bytes are checked. */
  readonly identities?: readonly string[];
}

export interface VerifyResult {
  readonly backupId: string;
  readonly parts: number;
  readonly rows: number;
  readonly bytes: number;
  /** Only for backups with sealed secrets: whether they were opened too, or their stored bytes checked alone. */
  readonly sealed?: 'opened' | 'not opened';
  readonly seconds: number;
  /** Tables whose row count differs from the environment's (`database`); only when one was given. */
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
  /** DAGs that carry backups or restores, left as they are although the backup has another state. */
  readonly carrying: readonly string[];
  /** DAGs of the backup that the target does not have. */
  readonly missing: readonly string[];
}

export interface DoctorRequest {
  readonly environment?: DatabaseTarget;
  readonly fernetKeys: readonly string[];
  /** True: the keys are the running Airflow's own setting, which ends with it. */
  readonly fernetKeysLent?: boolean;
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

export type { ImportRequest, ImportResult } from './import/request.ts';
export type { ExportFormat, ExportLeftOut, ExportRequest, ExportResult } from './export/request.ts';
export type { DiffRequest, DiffResult, DiffTable } from './diff/request.ts';
