import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { LoadContext } from '../load-context.ts';
import { parentIds } from '../load-context.ts';
import { mapName, stageName } from '../stage.ts';

/**
 * Maps rows that tell what a row of the target tells already to that row, and makes way with all others that have a
 * taken id. Deleting a run or a DAG in Airflow leaves its log entries, dataset events and jobs: whoever brings the runs
 * back does not want them twice.
 */
export async function mapSameFacts(
  load: LoadContext,
  table: ResolvedTable,
  same: readonly string[],
  ids: { readonly issued: number; readonly base: number },
): Promise<number> {
  const id = quoteIdent(table.serial ?? 'id');
  const target = quoteTable(load.state.live.schema, table.name);
  const joins: string[] = [];
  const [time = '', ...others] = same.map((column) => ({
    column,
    value: translated(load, table, column, joins),
  }));
  if (time === '') throw new Error(`${table.name} names no columns that tell its facts apart.`);
  const equal = others.map(
    ({ column, value }) => `(${value})::text IS NOT DISTINCT FROM (t.${quoteIdent(column)})::text`,
  );
  const there = `EXISTS (SELECT 1 FROM ${target} t WHERE t.${id} = s.${id})`;
  const taken = table.neverReuseIds ? `s.${id} <= ${ids.issued} OR ${there}` : there;
  await load.client.query(
    `CREATE TEMPORARY TABLE ${mapName(table.name).replace('pg_temp.', '')} ON COMMIT DROP AS
       WITH matched AS (
         SELECT s.${id} AS old, pg_catalog.min(t.${id}) AS new FROM ${stageName(table.name)} s ${joins.join(' ')}
           JOIN ${target} t ON ${time.value} = t.${quoteIdent(time.column)} AND ${equal.join(' AND ')} GROUP BY s.${id}
       ), fresh AS (
         SELECT s.${id} AS old, ${taken} AS taken FROM ${stageName(table.name)} s
          WHERE NOT EXISTS (SELECT 1 FROM matched m WHERE m.old = s.${id})
       )
       SELECT old::int8 AS lb_old, new::int8 AS lb_new, true AS lb_matched FROM matched
       UNION ALL
       SELECT old::int8, CASE WHEN taken THEN ${ids.base}::int8 + pg_catalog.row_number() OVER (PARTITION BY taken ORDER BY old) ELSE old END, false
         FROM fresh`,
  );
  const result = await load.client.query<{ moved: string }>(
    `SELECT pg_catalog.count(*) FILTER (WHERE lb_new <> lb_old AND NOT lb_matched) AS moved FROM ${mapName(table.name)}`,
  );
  return Number(result.rows[0]?.moved ?? 0);
}

/** A column of the stage as it will be in the target. */
function translated(load: LoadContext, table: ResolvedTable, column: string, joins: string[]): string {
  const own = `s.${quoteIdent(column)}`;
  const parent = table.references[column];
  const ids = parent === undefined ? 'kept' : parentIds(load, parent);
  if (parent === undefined || ids === 'kept' || ids === 'absent') return own;
  const alias = quoteIdent(`same_${column}`);
  joins.push(`LEFT JOIN ${mapName(parent)} ${alias} ON ${alias}.lb_old = ${own}`);
  return `coalesce(${alias}.lb_new, ${own})`;
}
