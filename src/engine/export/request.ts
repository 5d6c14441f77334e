/** json, yaml: Airflow's own files for variables, connections and pools · csv: any table. */
export type ExportFormat = 'json' | 'yaml' | 'csv';

export interface ExportRequest {
  readonly backup: string;
  /** Directory for the files; made when it is missing. */
  readonly to: string;
  readonly format: ExportFormat;
  /** Default: variable, connection and slot_pool for json and yaml, every table of the backup for csv. */
  readonly tables?: readonly string[];
  /** Write secrets in clear. Without it they are left out: see ExportLeftOut. */
  readonly withSecrets: boolean;
  /** Keys that may read the secrets, in any order: the source's. */
  readonly fernetKeys: readonly string[];
  /** Identities of age, for secrets that are sealed; KMS keys need none. */
  readonly identities?: readonly string[];
}

export interface ExportLeftOut {
  readonly table: string;
  /** Absent: whole rows. */
  readonly columns?: readonly string[];
  /** Rows concerned. */
  readonly rows: number;
  /** What the rows are called, at most 100 of them; absent for whole columns. */
  readonly names?: readonly string[];
  readonly reason: string;
}

export interface ExportResult {
  readonly backupId: string;
  readonly format: ExportFormat;
  readonly directory: string;
  readonly withSecrets: boolean;
  readonly files: readonly {
    readonly file: string;
    readonly table: string;
    readonly rows: number;
    readonly bytes: number;
  }[];
  readonly leftOut: readonly ExportLeftOut[];
  /** Secrets that no key reads; their rows are left out. Names only. */
  readonly unreadableSecrets: readonly string[];
  readonly seconds: number;
}
