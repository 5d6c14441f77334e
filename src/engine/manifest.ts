import { LifeboatError } from '../errors.ts';
import type { Unfinished } from './in-flight/unfinished.ts';
import type { LeftOut } from './plans.ts';

/** Of a backup of a database. */
export const FORMAT_VERSION = 1;
/** Of a backup through the REST API, which readers of 1 cannot understand. */
export const REST_FORMAT_VERSION = 2;
/** The newest that is read. */
export const NEWEST_FORMAT_VERSION: number = Math.max(FORMAT_VERSION, REST_FORMAT_VERSION);

export interface ManifestPart {
  /** Key in the storage: backups/<backupId>/tables/<table>/<part>.csv.gz */
  readonly key: string;
  readonly rows: number;
  /** Size as stored. */
  readonly bytes: number;
  /** Of the bytes as stored, lower-case hex. */
  readonly sha256: string;
  /** The secrets of the same rows, sealed with age; present in tables with `sealed` columns. */
  readonly sealed?: SealedPart;
}

export interface SealedPart {
  /** The part's key with .age behind it. */
  readonly key: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface ManifestTable {
  readonly name: string;
  /** In the order of the CSV fields. */
  readonly columns: readonly string[];
  /** PostgreSQL type of each column in the source, such as "character varying(250)". */
  readonly types: Readonly<Record<string, string>>;
  /** Columns that are not in the parts but in their sealed ones, in that order; their types are among `types`. */
  readonly sealed?: readonly string[];
  readonly rows: number;
  /** Largest value of each serial column, null when the table is empty. */
  readonly maxIds: Readonly<Record<string, number | null>>;
  readonly parts: readonly ManifestPart[];
}

export type ManifestSource = DatabaseSource | RestSource;

/** An Airflow of which only the API was reached. Its tables have the database's names; see src/versions/rest-tables.ts. */
export interface RestSource {
  readonly kind: 'rest';
  /** The host, or mwaa://NAME (REGION). */
  readonly environment: string;
  /** The release, such as "3.0.6". */
  readonly airflow: string;
  readonly api: 'v1' | 'v2';
  readonly via: 'http' | 'invoke' | 'web';
  /** The API has no snapshot: what was read lies between these moments, ISO 8601, UTC. */
  readonly span: {
    readonly from: string;
    readonly to: string;
    /** Runs, as DAG_ID/RUN_ID, that changed while or after they were read. */
    readonly changed: readonly string[];
  };
}

export interface DatabaseSource {
  readonly kind: 'database';
  /** host:port/database */
  readonly environment: string;
  readonly schema: string;
  /** Airflow minor, or the releases that share this schema, such as "2.10.3–2.11". */
  readonly airflow: string;
  readonly alembicHead: string;
  readonly postgres: string;
  /** The task of the source itself that made the backup; absent when nothing of the source did. */
  readonly carriedBy?: { readonly dagId: string; readonly runId: string; readonly taskId: string };
  /** DAGs of the source that carry backups or restores; absent in older and in imported backups, and when there is none. */
  readonly carryingDags?: readonly string[];
}

export type SecretsMode = 'ciphertext' | 'sealed' | 'omit';

export interface UnreadableAtBackup {
  readonly count: number;
  /** At most 100 of them. */
  readonly names: readonly string[];
}

export interface Manifest {
  readonly formatVersion: number;
  readonly backupId: string;
  readonly label: string | null;
  readonly tool: { readonly name: string; readonly version: string };
  readonly source: ManifestSource;
  /** The moment the backup shows: ISO 8601, UTC, taken from the database server inside the snapshot. */
  readonly snapshotTime: string;
  readonly compression: string;
  readonly secrets: {
    /** ciphertext: as the database has them · sealed: for `recipients` · omit: left out, see `leftOut`. */
    readonly mode: SecretsMode;
    /** Fingerprints of the source's Fernet keys, first key first; empty when none was known. */
    readonly fernetKeys: readonly string[];
    /** Whom the secrets are sealed for: age recipients and awskms:// keys. Only when they are sealed. */
    readonly recipients?: readonly string[];
    /** Secrets that the known keys did not read at backup; null or absent: nobody looked, or no key was known. */
    readonly unreadable?: UnreadableAtBackup | null;
  };
  /** Runs and tasks that had not ended; absent in older and in imported backups, and when their tables are not in it. */
  readonly unfinished?: Unfinished;
  readonly tables: readonly ManifestTable[];
  readonly leftOut: readonly LeftOut[];
  readonly totals: {
    readonly tables: number;
    readonly rows: number;
    readonly parts: number;
    readonly bytes: number;
  };
  readonly durationSeconds: number;
  /** SHA-256 of the manifest's own bytes with these 64 digits replaced by zeros. */
  readonly checksum: string;
}

/** Undefined: the backup does not have the table. */
export function storedTable(manifest: Manifest, name: string): ManifestTable | undefined {
  return manifest.tables.find((table) => table.name === name);
}

/**
 * The source of a backup that goes into a database.
 *
 * @throws LifeboatError 'unsupported' for one that was made through the REST API: it lacks most of what a database needs
 */
export function databaseSource({ backupId, source }: Manifest): DatabaseSource {
  if (source.kind === 'database') return source;
  throw new LifeboatError(
    'unsupported',
    `Backup ${backupId} was made through the REST API of ${source.environment}, and does not hold what a metadata database needs.`,
    {
      next: 'Use a backup of the database, or export variables, connections and pools from this one.',
    },
  );
}
