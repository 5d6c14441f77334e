/**
 * Plans are pure data: what a command is going to do, before it does anything. `--dry-run` prints them, `--json`
 * sends them as they are, and the executor follows them.
 */

/** Something that stops the command (exit 14), known before a byte moves. */
export interface Blocker {
  readonly code: string;
  readonly message: string;
  readonly next: string;
}

export interface PlanWarning {
  readonly code: string;
  readonly message: string;
  readonly next?: string;
}

/** The environment on the other end, as found. */
export interface EnvironmentFacts {
  /** host:port/database, without user and password. */
  readonly name: string;
  readonly schema: string;
  /** Airflow minor, or the range of releases that share this schema, such as "2.10.3–2.11". */
  readonly airflow: string;
  readonly alembicHead: string;
  readonly postgres: string;
  /** ISO time of the newest scheduler heartbeat; null when no scheduler ever ran. */
  readonly schedulerHeartbeat: string | null;
}

export interface BackupPlanTable {
  readonly table: string;
  readonly parts: number;
  readonly estimatedBytes: number;
  /** Taken along because a chosen table refers to it. */
  readonly addedFor?: string;
}

export interface LeftOut {
  readonly table: string;
  /** Absent: the whole table. */
  readonly columns?: readonly string[];
  /** Only some rows of the table; with `columns`, the rows are there and lack these values. */
  readonly rows?: number;
  /** What these rows are called, at most 100 of them. */
  readonly names?: readonly string[];
  readonly reason: string;
}

export interface BackupPlanSecrets {
  readonly mode: 'ciphertext' | 'sealed' | 'omit';
  /** Whom they are sealed for. */
  readonly recipients: readonly string[];
  /** What makes the secrets of this backup restorable when the source is gone; none: nothing that Lifeboat knows of. */
  readonly recoverableWith: 'identity' | 'kept key' | 'nothing needed' | 'none';
  /** The same as a sentence. */
  readonly says: string;
}

export interface BackupPlan {
  readonly kind: 'backup';
  readonly backupId: string;
  readonly source: EnvironmentFacts;
  readonly jobs: number;
  readonly compression: string;
  /** Bytes a second that all connections together read at most, before compression; null: no limit. */
  readonly maxRate: number | null;
  readonly tables: readonly BackupPlanTable[];
  readonly leftOut: readonly LeftOut[];
  readonly secrets: BackupPlanSecrets;
  readonly warnings: readonly PlanWarning[];
}

/** An environment that is reached through its REST API. */
export interface RestEnvironmentFacts {
  /** The host, or mwaa://NAME (REGION). */
  readonly name: string;
  readonly airflow: string;
  readonly api: 'v1' | 'v2';
  readonly via: 'http' | 'invoke' | 'web';
}

/** A backup through the REST API. */
export interface RestBackupPlan {
  readonly kind: 'rest-backup';
  readonly backupId: string;
  readonly source: RestEnvironmentFacts;
  readonly compression: string;
  /** Null: only reading tells how many. */
  readonly tables: readonly { readonly table: string; readonly rows: number | null }[];
  readonly leftOut: readonly LeftOut[];
  /** Of a dry run: the secrets that the API masks. */
  readonly masked?: readonly LeftOut[];
  readonly secrets: BackupPlanSecrets;
  readonly warnings: readonly PlanWarning[];
}

export interface RestorePlanTable {
  readonly table: string;
  /** load: rows are added with their ids · merge: matched by a natural key · lookup: only used to translate ids. */
  readonly action: 'load' | 'merge' | 'lookup';
  /** Rows of the target that cleanup deletes. */
  readonly deletes: number;
  /** Rows of the backup that go in (for merge: that are offered). */
  readonly loads: number;
  /** Fewer may go in: which ones are chosen is known when they are read. */
  readonly atMost?: true;
  /** Rows of the target that stay. */
  readonly keeps: number;
  readonly note?: string;
}

/** A time limit that wall-clock time may have passed while the environment was down. */
export interface TimeLimit {
  readonly dagId: string;
  readonly runId: string;
  /** Absent: the limit is of the whole run. */
  readonly taskId?: string;
  readonly mapIndex?: number;
  /** dagrun: dagrun_timeout of the run · trigger: trigger_timeout of a deferred task · sensor: the task's own timeout. */
  readonly kind: 'dagrun' | 'trigger' | 'sensor';
  /** When it ran out; for a sensor, whose timeout stands in its code alone, when it began to wait. ISO, UTC. */
  readonly at: string;
}

export interface InFlightPlan {
  readonly policy: InFlightPolicy;
  /** Unfinished runs of the backup by state; null when the backup does not say (an older one, or an imported one). */
  readonly runs: Readonly<Record<string, number>> | null;
  /** Of them, runs of type backfill: no scheduler goes on with these. */
  readonly backfillRuns: number;
  readonly tasks: Readonly<Record<string, number>> | null;
  /** Limits that are passed already: Airflow ends these runs and tasks when it sees them. */
  readonly passedLimits: readonly TimeLimit[];
}

/** What a restore of a part of a backup has chosen. */
export interface ChosenPart {
  /** Patterns as given; empty: all DAGs. */
  readonly dags: readonly string[];
  readonly excludeDags: readonly string[];
  /** ISO time; null: runs of any age. */
  readonly since: string | null;
  /** Ids of the DAGs of the backup that the patterns choose, sorted; at most 200 of them. */
  readonly dagIds: readonly string[];
  readonly dagCount: number;
  /** Runs that are chosen, and all in the backup. */
  readonly runs: number;
  readonly runsInBackup: number;
}

/**
 * shadow: into tables beside the live ones, exchanged in the last moments · in-place: into the live tables, which are
 * locked meanwhile.
 */
export type RestoreWay = 'shadow' | 'in-place';

export interface RestorePlan {
  readonly kind: 'restore';
  readonly backupId: string;
  readonly snapshotTime: string;
  readonly source: { readonly environment: string; readonly airflow: string; readonly alembicHead: string };
  readonly target: EnvironmentFacts;
  readonly via: RestoreWay;
  /** Why this way. */
  readonly viaReason: string;
  /** Bytes that the target's disk should have free, estimated from the stored size: see space.ts. */
  readonly spaceBytes: number;
  readonly clean: boolean;
  readonly variables: MergeStrategy;
  readonly connections: MergeStrategy;
  readonly pauseState: PauseState;
  /** Runs of the target that survive with everything that hangs on them: DAG_ID/RUN_ID. */
  readonly keepRuns: readonly string[];
  readonly inFlight: InFlightPlan;
  /** Null: the whole backup. */
  readonly chosen: ChosenPart | null;
  readonly tables: readonly RestorePlanTable[];
  readonly blockers: readonly Blocker[];
  readonly warnings: readonly PlanWarning[];
}

/** What becomes of pools, variables or connections in a restore through the REST API. */
export interface RestSettingsPlan {
  readonly table: 'slot_pool' | 'variable' | 'connection';
  readonly strategy: MergeStrategy;
  readonly inBackup: number;
  readonly adds: number;
  readonly replaces: number;
  /** The target has them as they are in the backup. */
  readonly same: number;
  /** The target keeps its own, or has none and gets none. */
  readonly keeps: number;
  /** The backup, or the target, cannot have them whole: they stay as they are in the target. */
  readonly lacking: number;
}

export interface HeldDag {
  readonly dagId: string;
  /** Scheduled runs that would start at once; null: nobody knows how many. */
  readonly runs: number | null;
}

/** Pause states in a restore through the REST API, by DAG id. */
export interface RestDagsPlan {
  readonly unpause: readonly string[];
  readonly pause: readonly string[];
  readonly unchanged: number;
  /** They stay paused: with catchup, runs of the past would start. */
  readonly held: readonly HeldDag[];
  /** Among those to unpause, the ones whose latest scheduled run starts at once: the target does not know that it has been. */
  readonly startsOne: readonly string[];
  /** The target has not parsed them. */
  readonly missing: readonly string[];
  /** They carry backups or restores, and keep the state of the target. */
  readonly carrying: readonly string[];
}

/** Unfinished runs in a restore through the REST API. */
export interface RestRunsPlan {
  readonly policy: InFlightPolicy;
  readonly inBackup: number;
  /** They are made again, as runs that were asked for. */
  readonly restores: number;
  /** Of them, with another id: theirs is one that only a scheduler may give. */
  readonly renamed: number;
  /** Their finished tasks, whose states are set so that they do not run again. */
  readonly finishedTasks: number;
  readonly xcoms: number;
  /** Tasks that had ended and run again all the same, since their XComs cannot be written: DAG_ID/RUN_ID/TASK_ID. */
  readonly tasksAgain: readonly string[];
  /** Runs whose data interval this Airflow's API does not take: it infers one from the logical date. */
  readonly withoutInterval: number;
}

/** A restore through the REST API: nothing of it is atomic, and all of it can be done again. */
export interface RestRestorePlan {
  readonly kind: 'rest-restore';
  readonly backupId: string;
  readonly snapshotTime: string;
  readonly source: {
    readonly kind: 'database' | 'rest';
    readonly environment: string;
    readonly airflow: string;
  };
  readonly target: RestEnvironmentFacts;
  readonly pauseState: PauseState;
  readonly settings: readonly RestSettingsPlan[];
  /** Null: the backup has no DAGs. */
  readonly dags: RestDagsPlan | null;
  /** Null: the backup does not have what it takes. */
  readonly runs: RestRunsPlan | null;
  /** Assets (datasets) of which an event is made again, with the DAGs that wait with it for others. */
  readonly queued: readonly { readonly uri: string; readonly dags: readonly string[] }[];
  /** Rows that are in the backup and do not get into the target, by name and with the reason. */
  readonly leftOut: readonly LeftOut[];
  readonly blockers: readonly Blocker[];
  readonly warnings: readonly PlanWarning[];
}

export interface CleanupPlan {
  readonly kind: 'cleanup';
  readonly target: EnvironmentFacts;
  readonly tables: readonly { readonly table: string; readonly deletes: number; readonly keeps: number }[];
  /** Tables that cleanup never touches. */
  readonly untouched: readonly string[];
  /** Runs that survive with everything that hangs on them: DAG_ID/RUN_ID. */
  readonly keepRuns: readonly string[];
  readonly blockers: readonly Blocker[];
  readonly warnings: readonly PlanWarning[];
}

/** Why a cleanup through the REST API leaves runs alone. */
export type KeptBecause =
  | 'carries' // it is the run of this very cleanup
  | 'named' // the user keeps it
  | 'lifeboat' // it is under way, and its DAG carries backups or restores
  | 'schedule'; // the newest scheduled one of its DAG, from which Airflow knows where the schedule stands

export interface KeptRuns {
  readonly because: KeptBecause;
  readonly runs: number;
  /** DAG_ID/RUN_ID, at most 100 of them. */
  readonly names: readonly string[];
}

/** What is deleted of one DAG. */
export interface RestCleanupDag {
  readonly dagId: string;
  readonly deletes: number;
  /** Those that stay, for whatever reason. */
  readonly keeps: number;
}

/** A cleanup through the REST API: runs, with all that hangs on them, and queued events. */
export interface RestCleanupPlan {
  readonly kind: 'rest-cleanup';
  readonly target: RestEnvironmentFacts & {
    /** ISO time; null: none ever, or the API does not tell. */
    readonly schedulerHeartbeat: string | null;
  };
  readonly deletes: number;
  /** Of them, those that had not ended: they are ended as failed first. */
  readonly ends: number;
  readonly dags: readonly RestCleanupDag[];
  readonly keeps: readonly KeptRuns[];
  /** Events of assets (datasets) that DAGs wait with: they are deleted. */
  readonly queuedEvents: number;
  /** DAGs that are not paused and whose schedule begins anew, since nothing tells how far it was. */
  readonly startsAgain: readonly string[];
  /** What the API has no way to delete. */
  readonly leftOut: readonly LeftOut[];
  readonly blockers: readonly Blocker[];
  readonly warnings: readonly PlanWarning[];
}

export interface PrunePlan {
  readonly kind: 'prune';
  readonly keep: readonly { readonly backupId: string; readonly reasons: readonly string[] }[];
  readonly remove: readonly string[];
  /** Folders without a manifest, older than a day: what killed backups left. */
  readonly debris: readonly string[];
  /** Folders without a manifest that may be a backup under way. */
  readonly underWay: readonly string[];
  /** Backups whose manifest cannot be read: neither counted nor removed. */
  readonly unreadable: readonly string[];
  /** Writes begun more than a day ago and never finished: temporary files, uploads that were not completed. */
  readonly leftovers: readonly string[];
}

/** What becomes of runs and tasks that had not ended at the moment of the backup. */
export type InFlightPolicy = 'resume' | 'fail' | 'exclude';
export type MergeStrategy = 'skip' | 'append' | 'replace';
export type PauseState = 'backup' | 'paused' | 'unchanged';
