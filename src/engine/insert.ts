import { quoteIdent, quoteLiteral, quoteTable } from '../db/introspect.ts';
import type { LoadRewrite } from '../tables/spec.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { mapName, stageName } from './stage.ts';

/** What happened to the ids of a parent table. */
export type ParentIds =
  /** All stayed: references are copied. */
  | 'kept'
  /** Some changed: references go through the map, others are copied. */
  | 'mapped'
  /** Only known ones may be named: everything else becomes NULL. */
  | 'looked-up'
  /** The table is not part of this restore: what its ids mean in the target is anybody's guess. */
  | 'absent';

export interface InsertInput {
  readonly schema: string;
  readonly table: ResolvedTable;
  readonly columns: readonly string[];
  /** Columns of the target that must not be NULL. */
  readonly notNull: ReadonlySet<string>;
  readonly parentIds: (parent: string) => ParentIds;
  /** The table's own serial goes through its map. */
  readonly mapOwnId: boolean;
  /** Leave out rows that the map says the target has. */
  readonly onlyUnmatched: boolean;
  readonly snapshotTime: string;
  /** Column → SQL that replaces the row's own value. */
  readonly overrides?: Readonly<Record<string, string>>;
}

/** INSERT … SELECT from the stage, with every id and reference translated. Pure: returns the statement. */
export function insertStatement(input: InsertInput): string {
  const { schema, table, columns } = input;
  // Only the primary key or another unique key can be in the way, and then the target's row is the one that stays.
  return `INSERT INTO ${quoteTable(schema, table.name)} (${columns.map(quoteIdent).join(', ')})
    ${comingRows(input)}`;
}

/** The rows as they go in: a SELECT of the columns, in their order and without names. Pure. */
export function comingRows(input: InsertInput): string {
  const { table, columns } = input;
  const joins: string[] = [];
  if (input.mapOwnId) {
    joins.push(`LEFT JOIN ${mapName(table.name)} own ON own.lb_old = s.${quoteIdent(table.serial ?? 'id')}`);
  }
  const expressions = columns.map((column) => {
    const override = input.overrides?.[column];
    if (override !== undefined) return override;
    if (input.mapOwnId && column === table.serial) return `coalesce(own.lb_new, s.${quoteIdent(column)})`;
    return rewritten(input, column, referenceExpression(input, column, joins));
  });
  const where = input.onlyUnmatched ? 'WHERE NOT coalesce(own.lb_matched, false)' : '';
  return `SELECT ${expressions.join(', ')} FROM ${stageName(table.name)} s ${joins.join(' ')} ${where}`;
}

function referenceExpression(input: InsertInput, column: string, joins: string[]): string {
  const own = `s.${quoteIdent(column)}`;
  const parent = input.table.references[column];
  if (parent === undefined) return own;
  const ids = input.parentIds(parent);
  if (ids === 'kept') return own;
  if (ids === 'absent') return input.notNull.has(column) ? own : 'NULL';
  const alias = quoteIdent(`ref_${column}`);
  joins.push(`LEFT JOIN ${mapName(parent)} ${alias} ON ${alias}.lb_old = ${own}`);
  return ids === 'looked-up' ? `${alias}.lb_new` : `coalesce(${alias}.lb_new, ${own})`;
}

function rewritten(input: InsertInput, column: string, expression: string): string {
  const rewrite = input.table.rewrites.find((one) => one.column === column);
  return rewrite ? rewriteCase(rewrite, input.snapshotTime, expression) : expression;
}

function rewriteCase(rewrite: LoadRewrite, snapshotTime: string, otherwise: string): string {
  const snapshot = `${quoteLiteral(snapshotTime)}::timestamptz`;
  return `CASE WHEN ${rewrite.when} THEN ${rewrite.to.replaceAll(':snapshot', snapshot)} ELSE ${otherwise} END`;
}

/** SET and WHERE of an UPDATE that does to loaded rows what an INSERT from the stage would have done; undefined: nothing. */
export function rewriteSql(table: ResolvedTable, snapshotTime: string): string | undefined {
  if (table.rewrites.length === 0) return undefined;
  const changes = table.rewrites.map((one) => {
    const column = quoteIdent(one.column);
    return `${column} = ${rewriteCase(one, snapshotTime, column)}`;
  });
  return `${changes.join(', ')} WHERE ${table.rewrites.map(({ when }) => `(${when})`).join(' OR ')}`;
}
