import type { RestClient } from '../../rest/client.ts';
import type { Confirm, RestoreRequest } from '../api.ts';
import type { LeftOut, RestRestorePlan } from '../plans.ts';
import type { SettingsWritten } from './write-settings.ts';

/** As in RestoreRequest, into an Airflow whose API is all that is reached. */
export interface RestRestoreRequest extends Pick<
  RestoreRequest,
  | 'backup'
  | 'variables'
  | 'connections'
  | 'pauseState'
  | 'inFlight'
  | 'dags'
  | 'excludeDags'
  | 'keepVariables'
  | 'identities'
  | 'unreadable'
  | 'dryRun'
> {
  /** mark: finished runs are made again in their final state. keep, when absent: they stay in the backup. */
  readonly history?: 'keep' | 'mark';
  /** Of the finished runs those that began at most so many milliseconds before the backup was made. */
  readonly since?: number;
  /** Ids of connections that stay as the target has them, and are not added. */
  readonly keepConnections?: readonly string[];
  /** Connected; the caller closes it. */
  readonly client: RestClient;
  /** How the API is reached. */
  readonly via: 'http' | 'invoke' | 'web';
  /** That read the secrets of the backup. The target encrypts by itself. */
  readonly fernetKeys: readonly string[];
  /** hold: DAGs whose catchup would start runs of the past stay paused. */
  readonly catchup: 'hold' | 'start';
  readonly confirm: Confirm<RestRestorePlan>;
}

/** What became of pools, variables or connections. */
export interface RestSettingsResult extends SettingsWritten {
  readonly table: 'slot_pool' | 'variable' | 'connection';
  readonly same: number;
  /** The target's stayed although the backup has another value, as far as the API lets that be seen. */
  readonly keptDifferent: readonly string[];
}

export interface Refusal {
  readonly table: string;
  readonly name: string;
  /** Airflow's words. */
  readonly message: string;
}

/** What became of unfinished runs, as DAG_ID/RUN_ID in the target. */
export interface RestRunsResult {
  readonly made: readonly string[];
  /** Made by an earlier try of this restore, and left alone. */
  readonly before: readonly string[];
  /** The target has a run of this name that is none of ours, and keeps it. */
  readonly others: readonly string[];
  readonly tasksSet: number;
  readonly xcomsWritten: number;
  /** Tasks that had ended and run again: DAG_ID/RUN_ID/TASK_ID of the backup. */
  readonly again: readonly string[];
  /** What Airflow did not do for a run that is there. */
  readonly problems: readonly string[];
}

/** What became of finished runs. */
export interface RestHistoryResult {
  readonly made: number;
  /** Made by an earlier try of this restore. */
  readonly before: number;
  /** Tasks whose state is set, since it is not what follows from their run’s. */
  readonly tasksSet: number;
  /** Tasks that are not as they were: the API does not let that state in, or the new run does not have the task. */
  readonly tasksDifferent: number;
  /** Runs that were not made, by name and with the reason. */
  readonly notMarked: readonly LeftOut[];
}

export interface RestRestoreResult {
  readonly backupId: string;
  readonly plan: RestRestorePlan;
  readonly requests: number;
  /** Absent after a dry run. */
  readonly restored?: {
    readonly settings: readonly RestSettingsResult[];
    readonly unpaused: readonly string[];
    readonly paused: readonly string[];
    /** Null: the plan has no runs. */
    readonly runs: RestRunsResult | null;
    /** Null: finished runs stay in the backup. */
    readonly history: RestHistoryResult | null;
    /** URIs of assets (datasets) of which an event was made again, since DAGs wait with it. */
    readonly events: readonly string[];
    /** What Airflow did not take. */
    readonly refused: readonly Refusal[];
    readonly seconds: number;
  };
}
