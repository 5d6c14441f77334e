import type { Minor } from '../../tables/spec.ts';
import type { LeftOut } from '../plans.ts';

/** One row by column, each value as COPY writes it; null is NULL. */
export type Row = Record<string, string | null>;

export interface ForeignTable {
  readonly name: string;
  /** What the file has, in our names; anything that the version's spec does not know is left out by then. */
  readonly columns: readonly string[];
  /** Reads the file from its beginning, each time. */
  rows(signal: AbortSignal): AsyncIterable<Row>;
}

/** A backup of another tool, opened: its tables as rows of one Airflow version. */
export interface ForeignBackup {
  /** For people, such as "mwaa_dr". */
  readonly tool: string;
  readonly minor: Minor;
  /** Where it lies, without credentials. */
  readonly location: string;
  readonly tables: ReadonlyMap<string, ForeignTable>;
  /** False: ids of runs, triggers, jobs and log entries are not in the files, and everything that holds one dangles. */
  readonly keepsIds: boolean;
  /** Variables and connections are decrypted in the files. */
  readonly clearSecrets: boolean;
  /** DAGs that were active and not paused; undefined when the tables hold `dag` itself. */
  readonly unpaused?: ReadonlySet<string>;
  /** Unfinished tasks are missing for which reason. */
  readonly unfinishedTasks: string;
  readonly leftOut: readonly LeftOut[];
}
