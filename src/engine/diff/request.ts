import type { DatabaseTarget } from '../../db/target.ts';
import type { ApiTarget } from '../rest/api.ts';

export interface DiffRequest {
  readonly backup: string;
  /** What the backup is compared with: a database, an Airflow through its API, or another backup of the same storage. */
  readonly other: { readonly environment: DatabaseTarget } | ApiTarget | { readonly backup: string };
  /** Tables to compare; all when absent. */
  readonly tables?: readonly string[];
  /** Every known key, of either side: secrets are compared by what they hold, as far as they can be read. */
  readonly fernetKeys: readonly string[];
  /** Identities of age, for sides whose secrets are sealed; without them these are not compared. */
  readonly identities?: readonly string[];
}

export interface DiffTable {
  readonly table: string;
  /** Rows in the backup. */
  readonly rows: number;
  readonly otherRows: number;
  /** In the backup only: what the other side has lost. */
  readonly missing: number;
  /** On the other side only. */
  readonly added: number;
  /** On both sides, with different content. */
  readonly changed: number;
  /** Equal but for stored secrets that differ and that no known key reads. */
  readonly notComparable: number;
  /** Names of some rows of each kind; none for tables whose rows have only an id. */
  readonly examples: Readonly<Record<'missing' | 'added' | 'changed' | 'notComparable', readonly string[]>>;
  /** Missing rows of the DAGs that miss most; only for tables with a dag_id. */
  readonly missingByDag?: readonly { readonly dag: string; readonly rows: number }[];
  /** Ids, references that only an id could tell apart, and columns that one side lacks. */
  readonly columnsNotCompared: readonly string[];
}

export interface DiffResult {
  readonly backupId: string;
  /** The other side, for people. */
  readonly other: string;
  /** Only when the other side is a backup. */
  readonly otherBackupId?: string;
  /** False: everything that was compared is equal. */
  readonly different: boolean;
  readonly tables: readonly DiffTable[];
  readonly notCompared: readonly { readonly table: string; readonly reason: string }[];
  readonly seconds: number;
}
