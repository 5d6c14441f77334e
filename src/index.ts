export { activate } from './engine/activate.ts';
export { backup } from './engine/backup.ts';
export { listBackups, resolveBackup } from './engine/catalog.ts';
export { cleanup } from './engine/cleanup.ts';
export { drill } from './engine/drill.ts';
export { exportBackup } from './engine/export/export.ts';
export { diff } from './engine/diff/diff.ts';
export { importBackup } from './engine/import/import.ts';
export { listRuns } from './engine/list-runs.ts';
export { prune } from './engine/prune.ts';
export { backupThroughRest } from './engine/rest/backup.ts';
export { restore } from './engine/restore.ts';
export { status } from './engine/status.ts';
export { verify } from './engine/verify.ts';
export { openStorage } from './storage/open.ts';
export { parseAirflowUrl as openEnvironment } from './db/url.ts';
export { openAirflow } from './rest/airflow.ts';
export { sendBulk } from './rest/bulk.ts';
export { RestError } from './rest/errors.ts';
export { allRows, pages } from './rest/pages.ts';
export { LifeboatError, ObjectExistsError, ObjectNotFoundError } from './errors.ts';
export type * from './engine/api.ts';
export type {
  DrillFindings,
  DrillRecord,
  DrillTable,
  LastDrill,
  ProvenBackup,
} from './engine/drill-record.ts';
export type { ImportNote } from './engine/import/notes.ts';
export type { LifeboatEvent, Phase, Report } from './engine/events.ts';
export type { ListRunsRequest, ListRunsResult, StoredRun } from './engine/list-runs.ts';
export type {
  DatabaseSource,
  Manifest,
  ManifestPart,
  ManifestSource,
  ManifestTable,
  RestSource,
} from './engine/manifest.ts';
export type * from './engine/plans.ts';
export type { ApiTarget, RestBackupRequest, RestBackupResult, XcomChoice } from './engine/rest/api.ts';
export type { StatusRequest, StatusResult } from './engine/status.ts';
export type { DatabaseTarget } from './db/target.ts';
export type { Airflow, OpenAirflowOptions } from './rest/airflow.ts';
export type { Assets, GivenAssetEvent } from './rest/assets.ts';
export type { BulkAction, BulkItemError, BulkOutcome } from './rest/bulk.ts';
export type { RestClient } from './rest/client.ts';
export type { DagRuns, GivenRun, RunChange, RunFilter } from './rest/dag-runs.ts';
export type { Dags } from './rest/dags.ts';
export type { RestErrorCode } from './rest/errors.ts';
export type { ListOptions, NamedResource, UpdateOptions } from './rest/named.ts';
export type { Listing, Page, Row } from './rest/pages.ts';
export type * from './rest/records.ts';
export type { RestAnswer, RestMethod, RestRequest } from './rest/transport.ts';
export type { ErrorKind } from './errors.ts';
export type { ReadOptions, Storage, StoredObject, WriteBody, WriteOptions } from './storage/storage.ts';
export type { S3Options } from './storage/options.ts';
