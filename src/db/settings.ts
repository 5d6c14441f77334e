import type { Client } from 'pg';

export interface ServerFacts {
  /** `server_version_num`: 150004 is 15.4. */
  readonly versionNum: number;
  /** Whether the server can look for a vanished client while a statement runs (client_connection_check_interval). */
  readonly checksClient: boolean;
}

/**
 * The session settings that every byte of a backup depends on, and the time limits that would end one. Milliseconds
 * where no unit stands. `since` is the first server_version_num that knows the setting.
 */
const SETTINGS: readonly { readonly name: string; readonly value: string; readonly since?: number }[] = [
  // How values are written as text.
  { name: 'client_encoding', value: 'UTF8' },
  { name: 'datestyle', value: 'ISO, YMD' },
  { name: 'intervalstyle', value: 'postgres' },
  { name: 'timezone', value: 'UTC' },
  { name: 'extra_float_digits', value: '3' },
  { name: 'bytea_output', value: 'hex' },
  { name: 'standard_conforming_strings', value: 'on' },
  // A large table would start in its middle where another session scans it, and its rows come in another order.
  { name: 'synchronize_seqscans', value: 'off' },
  // A row policy must be an error, not a backup that lacks rows.
  { name: 'row_security', value: 'off' },
  // A function or operator in a schema of someone else's must not be found before the real one.
  { name: 'search_path', value: 'pg_catalog, pg_temp' },
  // Set for whole roles or databases at many sites; they would end a long COPY or the wait between two.
  { name: 'statement_timeout', value: '0' },
  { name: 'lock_timeout', value: '0' },
  { name: 'idle_in_transaction_session_timeout', value: '0' },
  { name: 'idle_session_timeout', value: '0', since: 140_000 },
  { name: 'transaction_timeout', value: '0', since: 170_000 },
  // The server finds out within a minute that this machine is gone, and frees the locks.
  { name: 'tcp_keepalives_idle', value: '10' },
  { name: 'tcp_keepalives_interval', value: '5' },
  { name: 'tcp_keepalives_count', value: '6' },
];

const CLIENT_CHECK = { name: 'client_connection_check_interval', value: '2s' };

/**
 * SET LOCAL statements to run first in a transaction: they end with it, so a pooler in transaction mode never hands
 * them to somebody else. None of them takes a snapshot, so SET TRANSACTION SNAPSHOT may still follow or precede them.
 */
export function pinnedSettings(server: ServerFacts): readonly string[] {
  const known = SETTINGS.filter(({ since = 0 }) => server.versionNum >= since);
  const all = server.checksClient ? [...known, CLIENT_CHECK] : known;
  return all.map(({ name, value }) =>
    // A quoted list would be one schema of that name.
    name === 'search_path' ? `SET LOCAL ${name} = ${value}` : `SET LOCAL ${name} = '${value}'`,
  );
}

/** Asked outside any transaction, once for a server. */
export async function readServer(client: Client): Promise<ServerFacts> {
  const { rows } = await client.query<{ num: number; version: string }>(
    `SELECT pg_catalog.current_setting('server_version_num')::int AS num, pg_catalog.version() AS version`,
  );
  const versionNum = rows[0]?.num ?? 0;
  return { versionNum, checksClient: canCheckClient(versionNum, rows[0]?.version ?? '') };
}

/** Setting it where the system cannot do it is an error, which would end the transaction. */
function canCheckClient(versionNum: number, version: string): boolean {
  if (versionNum < 140_000) return false;
  // 14 knew it on Linux only; since 15 every system but Windows has it.
  return versionNum < 150_000 ? /linux/i.test(version) : !/mingw|visual c|windows|cygwin/i.test(version);
}
