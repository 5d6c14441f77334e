import type { Client } from 'pg';
import { quoteIdent, quoteLiteral, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { LeftOut } from './plans.ts';

/** The key of a run's conf that the DAGs read the token from. */
const KEY = quoteLiteral('task_token');
const REASON = 'a Step Functions task token stood there, and these rows have an empty one instead';

/**
 * Takes task tokens out of a backup: where the conf of a run that carried a backup or restore holds one, and in the audit
 * log where the run was triggered with it. The conf is a pickle and stays unread: it is replaced as a whole.
 *
 * @param carryingDags DAGs that carry backups or restores
 */
export async function withholdTaskTokens(
  client: Client,
  schema: string,
  tables: readonly ResolvedTable[],
  carryingDags: readonly string[],
): Promise<{ readonly tables: readonly ResolvedTable[]; readonly leftOut: readonly LeftOut[] }> {
  if (carryingDags.length === 0) return { tables, leftOut: [] };
  const dags = carryingDags.map(quoteLiteral).join(', ');
  const leftOut: LeftOut[] = [];
  const withheld: ResolvedTable[] = [];
  for (const table of tables) {
    const { taskTokens } = table;
    const found = taskTokens && (await count(client, schema, table, holds(taskTokens, dags)));
    if (taskTokens === undefined || !found) {
      withheld.push(table);
      continue;
    }
    const { column, emptied } = taskTokens;
    leftOut.push({ table: table.name, columns: [column], rows: found, reason: REASON });
    const read = `CASE WHEN ${holds(taskTokens, dags)} THEN ${emptied} ELSE ${quoteIdent(column)} END`;
    withheld.push({ ...table, read: { ...table.read, [column]: read } });
  }
  return { tables: withheld, leftOut };
}

function holds({ column, type }: NonNullable<ResolvedTable['taskTokens']>, dags: string): string {
  return `(dag_id IN (${dags}) AND position(${KEY}::${type} IN ${quoteIdent(column)}) > 0)`;
}

async function count(client: Client, schema: string, table: ResolvedTable, where: string): Promise<number> {
  const { rows } = await client.query<{ rows: number }>(
    `SELECT count(*)::integer AS rows FROM ${quoteTable(schema, table.name)} WHERE ${where}`,
  );
  return rows[0]?.rows ?? 0;
}
