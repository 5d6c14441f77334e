import type { Client } from 'pg';

export interface Snapshot {
  /** Name by which other connections join this snapshot; null when it was not exported. */
  readonly id: string | null;
  /** Server time when the snapshot was taken: ISO 8601, UTC, microseconds. */
  readonly time: string;
}

/**
 * Opens the transaction that every read of a backup goes through. It stays open to the end: the exported snapshot lives
 * as long as it does. `settings` are SET LOCAL statements, so that a pooler in transaction mode never hands them on.
 */
export async function beginSnapshot(
  client: Client,
  settings: readonly string[],
  options: { readonly exported: boolean },
): Promise<Snapshot> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  for (const setting of settings) await client.query(setting);
  // The first query that is not SET takes the snapshot; the clock is read by that same query.
  const result = await client.query<{ time: string; id: string | null }>(
    `SELECT pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time,
            ${options.exported ? 'pg_catalog.pg_export_snapshot()' : 'NULL::text'} AS id`,
  );
  const row = result.rows[0];
  return { id: row?.id ?? null, time: row?.time ?? '' };
}

/** Joins a snapshot that another connection exported. SET TRANSACTION SNAPSHOT must come before any query. */
export async function joinSnapshot(
  client: Client,
  snapshotId: string,
  settings: readonly string[],
): Promise<void> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await client.query(`SET TRANSACTION SNAPSHOT '${snapshotId.replaceAll("'", "''")}'`);
  for (const setting of settings) await client.query(setting);
}
