import type { RestClient } from '../../rest/client.ts';
import type { BackupRequest, BackupResult } from '../api.ts';
import type { Manifest } from '../manifest.ts';
import type { GivenSecrets } from './given.ts';

/** As in BackupRequest, of an Airflow whose API is all that is reached. */
export interface RestBackupRequest extends Pick<
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
  /** Connected; the caller closes it. */
  readonly client: RestClient;
  /** How the API is reached. */
  readonly via: 'http' | 'invoke' | 'web';
  /** Stored where the API masks. */
  readonly given?: GivenSecrets;
}

export interface RestBackupResult extends Pick<BackupResult, 'backupId' | 'secrets' | 'debris'> {
  /** Absent after a dry run. */
  readonly manifest?: Manifest;
  readonly requests: number;
}
