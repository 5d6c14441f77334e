import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { DetectedEnvironment } from '../detect.ts';
import type { LeftOut } from '../plans.ts';
import { sealedFields } from './fields.ts';

const NAMES_KEPT = 100;
const REASON = 'they hold secrets, and secrets are left out (--secrets omit)';

/**
 * Takes everything that holds a secret out of a backup. A variable without its value, or a connection without its
 * password, would be worse than none: it would stand in the place of the whole one. So rows with a secret are left out,
 * and those without one stay; a trigger cannot run without its kwargs, so the table is left out.
 */
export async function omitSecrets(
  client: Client,
  detected: DetectedEnvironment,
  tables: readonly ResolvedTable[],
): Promise<{ readonly tables: readonly ResolvedTable[]; readonly leftOut: readonly LeftOut[] }> {
  const kept: ResolvedTable[] = [];
  const leftOut: LeftOut[] = [];
  for (const table of tables) {
    const columns = table.columns.map((column) => column.name);
    const secrets = sealedFields(table.name, columns, () => '').map(({ column }) => quoteIdent(column));
    if (secrets.length === 0) {
      kept.push(table);
      continue;
    }
    if (table.restore.kind !== 'merge') {
      leftOut.push({ table: table.name, reason: REASON });
      continue;
    }
    const without = secrets.map((column) => `coalesce(${column}, '') = ''`).join(' AND ');
    const named = quoteIdent(table.restore.by[0] ?? 'id');
    const { rows } = await client.query<{ name: string | null }>(
      `SELECT ${named}::text AS name FROM ${quoteTable(detected.live.schema, table.name)} WHERE NOT (${without}) ORDER BY 1`,
    );
    kept.push({ ...table, only: table.only === undefined ? without : `(${table.only}) AND ${without}` });
    if (rows.length === 0) continue;
    const names = rows.slice(0, NAMES_KEPT).map(({ name }) => name ?? '(no name)');
    leftOut.push({ table: table.name, rows: rows.length, names, reason: REASON });
  }
  return { tables: kept, leftOut };
}
