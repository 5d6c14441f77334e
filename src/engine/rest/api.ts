import type { RestClient } from '../../rest/client.ts';
import type { BackupRequest, BackupResult } from '../api.ts';
import type { Manifest } from '../manifest.ts';
import type { GivenSecrets } from './given.ts';

/** An Airflow whose API is all that is reached. */
export interface ApiTarget {
  /** Connected; the caller closes it. */
  readonly client: RestClient;
  /** How the API is reached. */
  readonly via: 'http' | 'invoke' | 'web';
}

/** As in BackupRequest. */
export interface RestBackupRequest
  extends
    ApiTarget,
    Pick<
      BackupRequest,
      | 'tables'
      | 'excludeTables'
      | 'compression'
      | 'label'
      | 'fernetKeys'
      | 'fernetKeysLent'
      | 'secrets'
      | 'sealTo'
      | 'dryRun'
    > {
  /** Stored where the API masks. */
  readonly given?: GivenSecrets;
  /** Each value is a request of its own; those of unfinished runs are what these need to go on. All when absent. */
  readonly xcoms?: XcomChoice;
}

export type XcomChoice = 'all' | 'unfinished';

export interface RestBackupResult extends Pick<BackupResult, 'backupId' | 'secrets' | 'debris'> {
  /** Absent after a dry run. */
  readonly manifest?: Manifest;
  readonly requests: number;
  /** Bytes of the API's answers. */
  readonly receivedBytes: number;
}
