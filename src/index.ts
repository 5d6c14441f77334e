export { activate } from './engine/activate.ts';
export { backup } from './engine/backup.ts';
export { listBackups, resolveBackup } from './engine/catalog.ts';
export { cleanup } from './engine/cleanup.ts';
export { drill } from './engine/drill.ts';
export { exportBackup } from './engine/export/export.ts';
export { diff } from './engine/diff/diff.ts';
export { importBackup } from './engine/import/import.ts';
export { prune } from './engine/prune.ts';
export { restore } from './engine/restore.ts';
export { status } from './engine/status.ts';
export { verify } from './engine/verify.ts';
export { openStorage } from './storage/open.ts';
export { parseAirflowUrl as openEnvironment } from './db/url.ts';
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
export type { Manifest, ManifestPart, ManifestSource, ManifestTable } from './engine/manifest.ts';
export type * from './engine/plans.ts';
export type { StatusRequest, StatusResult } from './engine/status.ts';
export type { DatabaseTarget } from './db/target.ts';
export type { ErrorKind } from './errors.ts';
export type { ReadOptions, Storage, StoredObject, WriteBody, WriteOptions } from './storage/storage.ts';
export type { S3Options } from './storage/options.ts';
