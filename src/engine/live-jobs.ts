import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import { LifeboatError } from '../errors.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { livePredicate } from './live-rows.ts';
import { readSequence } from './target-state.ts';
import type { TargetState } from './target-state.ts';

/**
 * `job` is where every live process of an Airflow leaves its heartbeat, some of them in the middle of a transaction that
 * then wants a table that we hold. So it is never locked as a table, and nothing here waits for a lock: rows go in under
 * ids that nobody else can be given meanwhile, and stale ones go out in the last moments, those that somebody holds
 * excepted.
 */

/** Rows that the target may begin while a restore is at work: so many ids stay free for them. */
export const ROOM = 10_000;

/** Last id that stays free for the target. Undefined: nobody has ever worked there, and the table is locked. */
export function lastFreeId(growing: boolean, issued: number, kept: number): number | undefined {
  return growing && (issued > 0 || kept > 0) ? issued + ROOM : undefined;
}

/** Tables whose sequence never gave an id: nobody beats there who could feel a lock, and somebody might begin to. */
export async function untouchedTables(
  client: Client,
  state: TargetState,
  tables: readonly ResolvedTable[],
): Promise<readonly ResolvedTable[]> {
  const untouched: ResolvedTable[] = [];
  for (const table of tables) {
    if (!table.neverLocked || (state.counts.get(table.name)?.rows ?? 0) > 0) continue;
    if (((await readSequence(client, state, table))?.issued ?? 0) === 0) untouched.push(table);
  }
  return untouched;
}

/** Rows that are stale now. What begins or comes to life from here on is not among them. */
function staleName(table: string): string {
  return `pg_temp.${quoteIdent(`lifeboat_stale_${table}`)}`;
}

/** Remembers the rows to delete, before anything is loaded. */
export async function noteStaleRows(
  client: Client,
  state: TargetState,
  tables: readonly ResolvedTable[],
): Promise<void> {
  for (const table of tables) {
    await client.query(
      `CREATE TEMPORARY TABLE ${staleName(table.name).replace('pg_temp.', '')} ON COMMIT DROP AS
         SELECT ${quoteIdent(table.serial ?? 'id')} AS stale_id FROM ${quoteTable(state.live.schema, table.name)}
          WHERE (${livePredicate(state, table) ?? 'false'}) IS NOT TRUE`,
    );
  }
}

/** Deletes them, unless they have come to life or somebody holds them: then they are somebody's. @returns rows by table */
export async function deleteStaleRows(
  client: Client,
  state: TargetState,
  tables: readonly ResolvedTable[],
): Promise<ReadonlyMap<string, number>> {
  const deleted = new Map<string, number>();
  for (const table of tables) {
    const id = quoteIdent(table.serial ?? 'id');
    const name = quoteTable(state.live.schema, table.name);
    // Materialised: joined as a plain subquery it could be read twice, and skip in the second reading what it locked in the first.
    const result = await client.query(
      `WITH stale AS MATERIALIZED (
         SELECT ${id} AS gone FROM ${name}
          WHERE ${id} IN (SELECT stale_id FROM ${staleName(table.name)})
            AND (${livePredicate(state, table) ?? 'false'}) IS NOT TRUE
            FOR UPDATE SKIP LOCKED
       ) DELETE FROM ${name} USING stale WHERE ${id} = gone`,
    );
    deleted.set(table.name, result.rowCount ?? 0);
  }
  return deleted;
}

/**
 * The ids that were left free for the target were enough. Asked before the sequence is lifted above all of them.
 *
 * @throws LifeboatError 'failed'
 */
export async function checkRoom(
  client: Client,
  state: TargetState,
  tables: readonly ResolvedTable[],
  free: ReadonlyMap<string, number>,
): Promise<void> {
  for (const table of tables) {
    const last = free.get(table.name);
    const sequence = await readSequence(client, state, table);
    if (last === undefined || !sequence || sequence.issued <= last) continue;
    throw new LifeboatError(
      'failed',
      `The target began more than ${ROOM} rows of ${table.name} during the restore: ids are taken that the restored ones have.`,
      { next: 'Nothing was changed. Run it again.' },
    );
  }
}
