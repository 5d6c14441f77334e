import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import { LifeboatError } from '../errors.ts';
import type { AddedColumn, ResolvedTable } from '../versions/registry.ts';

/** PostgreSQL's integer, which all of Airflow 2's ids are. */
const LARGEST_ID = 2147483647;

/** Temporary table with the rows of the backup, dropped with the transaction. */
export function stageName(table: string): string {
  return `pg_temp.${quoteIdent(`lifeboat_stage_${table}`)}`;
}

/** Temporary table (lb_old, lb_new, lb_matched): what became of ids that did not stay as they were. */
export function mapName(table: string): string {
  return `pg_temp.${quoteIdent(`lifeboat_map_${table}`)}`;
}

/**
 * Creates the stage with the target's own column types, so that nothing is converted twice. Columns that the backup's
 * minor did not have are filled with what Airflow's migration would have given them: from here on a row is one of the
 * target's minor.
 */
export async function createStage(
  client: Client,
  schema: string,
  table: string,
  stored: readonly string[],
  added: readonly AddedColumn[] = [],
): Promise<void> {
  const columns = [...stored, ...added.map(({ name }) => name)];
  await client.query(
    `CREATE TEMPORARY TABLE ${stageName(table).replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT ${columns.map(quoteIdent).join(', ')} FROM ${quoteTable(schema, table)} WITH NO DATA`,
  );
  for (const { name, value } of added) {
    await client.query(
      `ALTER TABLE ${stageName(table)} ALTER COLUMN ${quoteIdent(name)} SET DEFAULT ${value}`,
    );
  }
}

export interface TakenIds {
  /** Largest id that the target's sequence ever gave, or may give while the restore is at work. */
  readonly issued: number;
  /** Above every id on either side. */
  readonly base: number;
  /** SQL over a row s of the stage: its id is taken. Absent: when the target's table has it. */
  readonly taken?: string;
}

/**
 * Ids of the past that cannot stay: another row of the target has them, or its sequence once issued them and a live
 * process may still know a row by that number. They move above everything on either side; all others stay. Where ids are
 * never used again the map holds every row of the backup: an id that is not in it is of a row that is gone, and in the
 * target it may be that of a live one.
 *
 * @returns how many moved
 */
export async function mapCollidingIds(
  client: Client,
  schema: string,
  table: ResolvedTable,
  { issued, base, taken: other }: TakenIds,
): Promise<number> {
  const id = quoteIdent(table.serial ?? 'id');
  const there = other ?? `EXISTS (SELECT 1 FROM ${quoteTable(schema, table.name)} t WHERE t.${id} = s.${id})`;
  const taken = table.neverReuseIds ? `s.${id} <= ${issued} OR ${there}` : there;
  await client.query(
    `CREATE TEMPORARY TABLE ${mapName(table.name).replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT old AS lb_old, CASE WHEN taken THEN ${base}::int8 + pg_catalog.row_number() OVER (PARTITION BY taken ORDER BY old) ELSE old END AS lb_new,
              false AS lb_matched
         FROM (SELECT s.${id}::int8 AS old, ${taken} AS taken FROM ${stageName(table.name)} s) ids
        ${table.neverReuseIds ? '' : 'WHERE taken'}`,
  );
  const result = await client.query<{ moved: string }>(
    `SELECT pg_catalog.count(*) AS moved FROM ${mapName(table.name)} WHERE lb_new <> lb_old`,
  );
  const moved = Number(result.rows[0]?.moved ?? 0);
  refuseOverflow(table.name, base + moved, moved);
  return moved;
}

/**
 * Rows of a merged table: those that the target has already (by natural key) take the target's id, the others keep
 * theirs, or move when it is taken.
 *
 * @returns how many ids changed
 */
export async function mapMatchedIds(
  client: Client,
  schema: string,
  table: ResolvedTable,
  by: readonly string[],
  base: number,
): Promise<number> {
  const id = quoteIdent(table.serial ?? 'id');
  const target = quoteTable(schema, table.name);
  await client.query(
    `CREATE TEMPORARY TABLE ${mapName(table.name).replace('pg_temp.', '')} ON COMMIT DROP AS
       WITH matched AS (
         SELECT s.${id} AS old, pg_catalog.min(t.${id}) AS new
           FROM ${stageName(table.name)} s JOIN ${target} t ON ${sameKey(by)} GROUP BY s.${id}
       ), fresh AS (
         SELECT s.${id} AS old, EXISTS (SELECT 1 FROM ${target} t WHERE t.${id} = s.${id}) AS taken
           FROM ${stageName(table.name)} s WHERE NOT EXISTS (SELECT 1 FROM matched m WHERE m.old = s.${id})
       )
       SELECT old::int8 AS lb_old, new::int8 AS lb_new, true AS lb_matched FROM matched
       UNION ALL
       SELECT old::int8, CASE WHEN taken THEN ${base}::int8 + pg_catalog.row_number() OVER (PARTITION BY taken ORDER BY old) ELSE old END, false
         FROM fresh`,
  );
  const result = await client.query<{ moved: string; largest: string | null }>(
    `SELECT pg_catalog.count(*) FILTER (WHERE lb_new <> lb_old) AS moved, pg_catalog.max(lb_new) AS largest FROM ${mapName(table.name)}`,
  );
  const moved = Number(result.rows[0]?.moved ?? 0);
  refuseOverflow(table.name, Number(result.rows[0]?.largest ?? 0), moved);
  return moved;
}

/** Rows that only translate ids: each gets the id of its namesake in the target, or NULL. */
export async function mapLookups(
  client: Client,
  schema: string,
  table: ResolvedTable,
  by: readonly string[],
): Promise<void> {
  await client.query(
    `CREATE TEMPORARY TABLE ${mapName(table.name).replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT s.id::int8 AS lb_old, t.id::int8 AS lb_new, true AS lb_matched
         FROM ${stageName(table.name)} s LEFT JOIN ${quoteTable(schema, table.name)} t ON ${sameKey(by)}`,
  );
}

/** NULL equals NULL here, in a form that PostgreSQL can hash (IS NOT DISTINCT FROM cannot be). */
function sameKey(by: readonly string[]): string {
  return by
    .map(quoteIdent)
    .map((c) => `coalesce(s.${c}, '') = coalesce(t.${c}, '') AND (s.${c} IS NULL) = (t.${c} IS NULL)`)
    .join(' AND ');
}

function refuseOverflow(table: string, largest: number, moved: number): void {
  if (moved === 0 || largest <= LARGEST_ID) return;
  throw new LifeboatError(
    'failed',
    `${moved} rows of ${table} need new ids, and there are none left below ${LARGEST_ID}.`,
    {
      next: 'Restore into a fresh environment, where ids can stay as they were.',
    },
  );
}
