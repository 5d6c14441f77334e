import { quoteIdent, quoteLiteral } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { RestoreRequest } from '../api.ts';
import { globToRegExp } from '../glob.ts';
import type { Manifest } from '../manifest.ts';

/** The part of a backup that a restore is asked for. */
export interface Choice {
  /** Shell-style patterns; empty: every DAG, and what belongs to none. */
  readonly dags: readonly string[];
  readonly excludeDags: readonly string[];
  /** ISO time. */
  readonly since?: string;
}

/** Undefined: all of it. `--since` counts back from the snapshot, so that the answer does not change with the day. */
export function choiceOf(
  manifest: Pick<Manifest, 'snapshotTime'>,
  request: Pick<RestoreRequest, 'dags' | 'excludeDags' | 'since'>,
): Choice | undefined {
  const { dags = [], excludeDags = [], since } = request;
  if (dags.length === 0 && excludeDags.length === 0 && since === undefined) return undefined;
  const start = Date.parse(manifest.snapshotTime) - (since ?? 0);
  return { dags, excludeDags, ...(since === undefined ? {} : { since: new Date(start).toISOString() }) };
}

/** SQL over the column that names a DAG. */
export function dagCondition(choice: Choice, column: string): string {
  const matches = (globs: readonly string[]): string =>
    `${quoteIdent(column)} ~ ANY (ARRAY[${globs.map((glob) => quoteLiteral(globToRegExp(glob))).join(', ')}]::text[])`;
  const included = choice.dags.length === 0 ? 'true' : matches(choice.dags);
  return choice.excludeDags.length === 0
    ? included
    : `${included} AND (${matches(choice.excludeDags)}) IS NOT TRUE`;
}

/**
 * SQL over the columns of dag_run. The start decides, as for `airflow db clean` (airflow/utils/db_cleanup.py: recency
 * column start_date): the logical date of a backfill may lie years before it. A run that waits has no start yet, and one
 * that had not ended is chosen whenever it started: it is what has to go on.
 */
export function runCondition(choice: Choice): string {
  const dag = dagCondition(choice, 'dag_id');
  if (choice.since === undefined) return dag;
  return `${dag} AND (coalesce(start_date, queued_at, execution_date) >= ${time(choice.since)}
    OR state IS NULL OR state NOT IN ('success', 'failed'))`;
}

/** Where rows are looked at: the stage, or the target. */
export interface Side {
  readonly tables: readonly ResolvedTable[];
  /** Qualified and quoted. */
  readonly name: (table: string) => string;
  /** Tables that hold chosen rows only. */
  readonly reduced: (table: string) => boolean;
}

/**
 * SQL over a table's own columns: its rows that are chosen, in the backup's stage. 'true' when all are. Pure; the
 * tables that it depends on have to be reduced before.
 */
export function chosenCondition(choice: Choice, side: Side, table: ResolvedTable): string {
  const { chosen } = table;
  if (chosen.by === 'environment') return 'true';
  if (chosen.by === 'parents') return leadsToChosen(choice, side, table, chosen.columns);
  const held = referrersOf(side.tables, table).map(
    ({ child, column, own }) =>
      `${quoteIdent(own)} IN (SELECT ${quoteIdent(column)} FROM ${side.name(child.name)} WHERE ${nested(choice, side, child)})`,
  );
  if (chosen.by === 'referrers') return held.length === 0 ? 'false' : held.join(' OR ');
  const own = ofDagCondition(choice, side, table, chosen);
  return chosen.evenHeld ? [`(${own})`, ...held].join(' OR ') : own;
}

/**
 * SQL over a table's own columns: its rows in the target that make way for the chosen part of a backup, or undefined
 * when none do. What rows of other DAGs or runs point to stays.
 */
export function clearedCondition(choice: Choice, side: Side, table: ResolvedTable): string | undefined {
  const { chosen } = table;
  if (table.restore.kind !== 'history') return undefined;
  if (chosen.by === 'parents') return leadsToChosen(choice, side, table, chosen.columns);
  if (chosen.by !== 'dag') return undefined;
  const own = ofDagCondition(choice, side, table, chosen);
  if (!chosen.evenHeld) return own;
  const free = referrersOf(side.tables, table).map(
    ({ child, column, own: id }) =>
      `(${quoteIdent(id)} IN (SELECT ${quoteIdent(column)} FROM ${side.name(child.name)}
        WHERE (${clearedCondition(choice, side, child) ?? 'false'}) IS NOT TRUE)) IS NOT TRUE`,
  );
  return [`(${own})`, ...free].join(' AND ');
}

interface Referrer {
  readonly child: ResolvedTable;
  readonly column: string;
  /** Column of the table that is referred to. */
  readonly own: string;
}

/** What brings rows of a table along: references of others, but for those whose rows come along with its own. */
export function referrersOf(tables: readonly ResolvedTable[], table: ResolvedTable): readonly Referrer[] {
  const { chosen } = table;
  const named = chosen.by === 'referrers' ? chosen.named : undefined;
  return tables.flatMap((child): readonly Referrer[] => {
    if (child.name === table.name) return [];
    const through = child.chosen.by === 'parents' ? child.chosen.columns : [];
    const byId = Object.entries(child.references)
      .filter(([column, parent]) => parent === table.name && !through.includes(column))
      .map(([column]) => ({ child, column, own: table.serial ?? 'id' }));
    const column = named?.in[child.name];
    return named && column !== undefined ? [...byId, { child, column, own: named.own }] : byId;
  });
}

function leadsToChosen(choice: Choice, side: Side, table: ResolvedTable, columns: readonly string[]): string {
  return columns
    .flatMap((column) => {
      const parent = side.tables.find(({ name }) => name === table.references[column]);
      // A parent that is not part of this restore chooses nothing.
      return parent
        ? `${quoteIdent(column)} IN (SELECT ${quoteIdent(parent.serial ?? 'id')} FROM ${side.name(parent.name)} WHERE ${nested(choice, side, parent)})`
        : 'false';
    })
    .join(' AND ');
}

function ofDagCondition(
  choice: Choice,
  side: Side,
  table: ResolvedTable,
  chosen: { readonly column: string; readonly happened?: string },
): string {
  if (table.name === 'dag_run') return runCondition(choice);
  const dag = dagCondition(choice, chosen.column);
  const run = side.tables.find(({ name }) => name === 'dag_run');
  const links = table.ofRun.filter((link) => link.of === 'dag_run' && link.as !== 'held');
  if (choice.since === undefined || links.length === 0) return dag;
  const ways = run
    ? links.map(({ own, theirs }) => {
        const there = `SELECT ${theirs.map(quoteIdent).join(', ')} FROM ${side.name(run.name)}`;
        return `(${own.map(quoteIdent).join(', ')}) IN (${there} WHERE ${nested(choice, side, run)})`;
      })
    : [];
  if (chosen.happened !== undefined) ways.push(`${quoteIdent(chosen.happened)} >= ${time(choice.since)}`);
  return `(${dag}) AND (${ways.length === 0 ? 'false' : ways.join(' OR ')})`;
}

function nested(choice: Choice, side: Side, table: ResolvedTable): string {
  return side.reduced(table.name) ? 'true' : (clearedCondition(choice, side, table) ?? 'false');
}

function time(iso: string): string {
  return `${quoteLiteral(iso)}::timestamptz`;
}
