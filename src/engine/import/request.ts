import type { Storage } from '../../storage/storage.ts';
import type { Compression } from '../api.ts';
import type { Manifest } from '../manifest.ts';
import type { ImportNote } from './notes.ts';

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
  /** Recipients that secrets are sealed for, instead of being encrypted with a Fernet key. */
  readonly sealTo?: readonly string[];
}

export interface ImportResult {
  readonly backupId: string;
  readonly manifest: Manifest;
  /** What is lost, mended or doubtful; the same stands in the manifest. */
  readonly notes: readonly ImportNote[];
}
