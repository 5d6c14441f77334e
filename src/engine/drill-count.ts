import type { Client } from 'pg';
import { quoteLiteral, quoteTable } from '../db/introspect.ts';
import { LifeboatError } from '../errors.ts';
import type { DrillTable } from './drill-record.ts';
import type { LoadContext } from './load-context.ts';
import { storedTable } from './manifest.ts';
import type { Rehearsed } from './shadow/merge.ts';
import type { LoadedShadow } from './shadow/prepare.ts';
import { stageName } from './stage.ts';

/**
 * Counts what lies in a shadow, before anything is decided about it: every row of the backup, but those that a restore
 * leaves out too.
 *
 * @throws LifeboatError 'failed' when rows are missing, or there are more
 */
export async function countShadow({ plan, load, filled }: LoadedShadow): Promise<readonly DrillTable[]> {
  const names = plan.tables.map(({ name }) => name).filter((name) => storedTable(load.manifest, name));
  const counts = await countRows(load.client, names, (name) => quoteTable(plan.place.shadow, name));
  const leavesOut = load.leftOutRuns.length > 0 || filled.orphanEvents > 0;
  const tables = names.map((table): DrillTable & { readonly expected: number } => {
    const stored = storedTable(load.manifest, table)?.rows ?? 0;
    const loaded = filled.loaded.get(table);
    const expected = leavesOut ? (loaded?.rows ?? 0) : stored;
    return { table, stored, rows: counts.get(table) ?? 0, moved: loaded?.moved ?? 0, expected };
  });
  refuseMissing(tables);
  return tables.map(({ table, stored, rows, moved }) => ({ table, stored, rows, moved }));
}

/** The same for rows that wait to be merged. */
export async function countStages(load: LoadContext, { steps }: Rehearsed): Promise<readonly DrillTable[]> {
  const names = steps.map(({ table }) => table.name);
  const counts = await countRows(load.client, names, stageName);
  const tables = steps.map(({ table: { name }, stored: { rows: stored }, moved = 0 }) => {
    return { table: name, stored, rows: counts.get(name) ?? 0, moved };
  });
  refuseMissing(tables.map((table) => ({ ...table, expected: table.stored })));
  return tables;
}

async function countRows(
  client: Client,
  names: readonly string[],
  where: (name: string) => string,
): Promise<ReadonlyMap<string, number>> {
  if (names.length === 0) return new Map();
  const counts = names.map(
    (name) => `SELECT ${quoteLiteral(name)} AS name, pg_catalog.count(*) AS rows FROM ${where(name)}`,
  );
  const { rows } = await client.query<{ name: string; rows: string }>(counts.join(' UNION ALL '));
  return new Map(rows.map((row) => [row.name, Number(row.rows)]));
}

function refuseMissing(tables: readonly (DrillTable & { readonly expected: number })[]): void {
  const wrong = tables.filter(({ rows, expected }) => rows !== expected);
  if (wrong.length === 0) return;
  const each = wrong.map(({ table, rows, expected }) => `${table} ${rows} instead of ${expected}`);
  throw new LifeboatError('failed', `The target holds other rows than the backup: ${each.join(', ')}.`, {
    next: 'Run lifeboat verify on the backup. If that finds nothing, this is a bug of Lifeboat: report it.',
    details: { tables: wrong.map(({ table }) => table) },
  });
}
