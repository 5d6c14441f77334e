import type { RestClient } from '../../rest/client.ts';
import type { CleanupRequest, Confirm } from '../api.ts';
import type { RestCleanupPlan } from '../plans.ts';
import type { Refusal } from '../rest-restore/api.ts';

/** As in CleanupRequest, of an Airflow whose API is all that is reached. */
export interface RestCleanupRequest extends Pick<
  CleanupRequest,
  'keepRuns' | 'carriedBy' | 'ignoreRunning' | 'dryRun'
> {
  /** Connected; the caller closes it. */
  readonly client: RestClient;
  /** How the API is reached. */
  readonly via: 'http' | 'invoke' | 'web';
  /** hold: the newest scheduled run of each DAG stays, or its schedule would begin anew. */
  readonly catchup: 'hold' | 'start';
  /** Nothing else writes through the API meanwhile: the context has a storage, in which the lock lies. */
  readonly lock: boolean;
  readonly confirm: Confirm<RestCleanupPlan>;
}

export interface RestCleanupResult {
  readonly plan: RestCleanupPlan;
  readonly requests: number;
  /** Absent after a dry run. */
  readonly cleaned?: {
    readonly runs: number;
    /** Of these, had not ended, and were ended as failed first. */
    readonly ended: number;
    /** Somebody else deleted them since the plan was made. */
    readonly gone: number;
    /** Begun again since the plan was made, and left alone. */
    readonly begunAgainRuns: number;
    /** DAG_ID/RUN_ID of them, at most 100. */
    readonly begunAgain: readonly string[];
    readonly queuedEvents: number;
    /** What Airflow did not delete, in its words; of runs the first thousand. */
    readonly refused: readonly Refusal[];
    readonly refusedRuns: number;
    readonly seconds: number;
  };
}
