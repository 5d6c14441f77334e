/** Minors of Airflow whose metadata database Lifeboat reads and writes. */
export type Minor = '2.5' | '2.6' | '2.7' | '2.8' | '2.9' | '2.10' | '2.11';

/** Families of PostgreSQL types: within one, values travel as text without loss; between two, nothing is assumed. */
export type ColumnType =
  'integer' | 'bigint' | 'float' | 'boolean' | 'text' | 'timestamp' | 'timestamptz' | 'bytea' | 'json';

export interface ColumnSpec {
  readonly name: string;
  readonly type: ColumnType;
  /** First minor that has the column; all when absent. */
  readonly since?: Minor;
  /** First minor that no longer has it (or has it with another type). */
  readonly until?: Minor;
  /**
   * What Airflow's migration to `since` gave the rows that were there: a SQL constant, as PostgreSQL prints a column's
   * default. Absent: NULL.
   */
  readonly migrated?: string;
}

/** Short form: `'dag_id text'`. */
export type ColumnEntry =
  | `${string} ${ColumnType}`
  | {
      readonly column: `${string} ${ColumnType}`;
      readonly since?: Minor;
      readonly until?: Minor;
      readonly migrated?: string;
    };

/**
 * How rows of a table come back.
 * - history: rows of the past. Cleanup deletes them, restore loads them with their ids.
 * - merge: rows that the target may have too; matched by a natural key, never deleted.
 * - lookup: never written; its rows only translate ids (users of notes).
 */
export type RestoreRule =
  | { readonly kind: 'history' }
  | {
      readonly kind: 'merge';
      readonly by: readonly string[];
      /** What a matching row of the target becomes; 'strategy' is chosen by the user, 'schedule' is for dag. */
      readonly existing: 'keep' | 'replace' | 'strategy' | 'schedule';
    }
  | { readonly kind: 'lookup'; readonly by: readonly string[] };

export interface LeftOutColumn {
  readonly name: string;
  readonly reason: string;
}

/** A value changed while a row is loaded. Both are SQL over the row's own columns; :snapshot is the backup's moment. */
export interface LoadRewrite {
  readonly column: string;
  readonly when: string;
  readonly to: string;
  /**
   * First minor in which the column means something else. Absent: the change is always made; present: only on the way
   * from a backup of an earlier minor into this one or a later.
   */
  readonly entering?: Minor;
}

export interface SecretColumn {
  readonly column: string;
  /** Boolean column that says whether the value is a Fernet token; absent: the value's own form says it. */
  readonly flag?: string;
  /** First minor that encrypts it; on the way from an earlier one Airflow's migration encrypts what was in clear. */
  readonly since?: Minor;
}

/** Where a task token of Step Functions stands when a run was triggered with one. */
export interface TaskTokenColumn {
  readonly column: string;
  readonly type: 'bytea' | 'text';
  /** What is stored in its place: a SQL constant. */
  readonly emptied: string;
}

/**
 * How rows belong to a run, directly or through another table: the values of `own` are among those of `theirs` in the
 * rows of `of` that belong to it.
 * - part: of the run itself; without it the row means nothing, and it comes and goes with it.
 * - about: tells of the run; kept with a live one, and worth keeping without it.
 * - held: what a part points to; it has to stay as long as the part does.
 */
export interface RunLink {
  readonly own: readonly string[];
  readonly of: string;
  readonly theirs: readonly string[];
  readonly as: 'part' | 'about' | 'held';
}

/**
 * Which rows are chosen when a restore is of some DAGs or of the runs since some time.
 * - dag: those whose `column` names a chosen DAG. With a link to dag_run in `ofRun`, their run has to be chosen too; where
 *   `happened` is given, a row that tells of no chosen run counts by that time. `evenHeld`: also what chosen rows point to.
 * - parents: those whose every one of these references leads to a chosen row.
 * - referrers: those that chosen rows refer to: by id (`references`), or by name in the given columns of other tables.
 * - environment: all; they belong to no DAG.
 */
export type ChosenBy =
  | {
      readonly by: 'dag';
      readonly column: string;
      readonly happened?: string;
      readonly evenHeld?: true;
    }
  | { readonly by: 'parents'; readonly columns: readonly string[] }
  | {
      readonly by: 'referrers';
      readonly named?: { readonly own: string; readonly in: Readonly<Record<string, string>> };
    }
  | { readonly by: 'environment' };

/** A table over all versions: data only. `tablesFor(version)` in src/versions makes it one version's table. */
export interface TableSpec {
  readonly name: string;
  readonly since?: Minor;
  /** Primary key, or another key that names a row. */
  readonly key: readonly string[];
  readonly columns: readonly ColumnEntry[];
  readonly leftOutColumns?: readonly LeftOutColumn[];
  readonly restore: RestoreRule;
  /** Column fed by a sequence. */
  readonly serial?: string;
  /** Ids that the target's sequence ever issued are not used again: live processes know rows by id alone. */
  readonly neverReuseIds?: boolean;
  /** Foreign-key parents that `references` does not name. */
  readonly after?: readonly string[];
  /** Column → table whose id it holds, also where PostgreSQL has no foreign key. */
  readonly references?: Readonly<Record<string, string>>;
  readonly secrets?: readonly SecretColumn[];
  readonly taskTokens?: TaskTokenColumn;
  /** Rows here make a target one "with history", which only --clean may empty. */
  readonly countsAsHistory?: boolean;
  /** SQL predicate: rows of the target that cleanup and restore leave alone. */
  readonly liveRows?: string;
  readonly chosen: ChosenBy;
  /**
   * Rows equal in these columns tell of the same fact, whatever their ids: a restore of a part of a backup into the
   * environment that it came from meets them, and must not tell of them twice. The first one is a time.
   */
  readonly sameFact?: readonly string[];
  /** How rows belong to a run; dag_run itself is where these links end. Links over columns that a version lacks are dropped. */
  readonly ofRun?: readonly RunLink[];
  /** Live processes write here all the time: restore and cleanup lock rows of it, in their last moments, and never the table. */
  readonly neverLocked?: boolean;
  /** SQL predicate: only these rows are backed up. {schema} stands for the quoted schema. */
  readonly only?: string;
  readonly rewrites?: readonly LoadRewrite[];
}

export interface LeftOutTable {
  readonly name: string;
  readonly reason: string;
}
