import type { ClientBase } from 'pg';
import { quoteIdent, quoteTable } from '../db/introspect.ts';
import { canRead } from '../secrets/fernet.ts';
import type { ResolvedTable } from '../versions/registry.ts';

/** Tokens in memory at a time. */
const BATCH = 200;

/**
 * Names of secrets that none of the keys can read: `variable NAME`, `connection NAME (password)`. Only the token's
 * signature is checked; nothing is decrypted for it.
 *
 * Must run inside a transaction: it reads through a cursor.
 */
export async function findUnreadableSecrets(
  client: ClientBase,
  schema: string,
  tables: readonly ResolvedTable[],
  keys: readonly string[],
): Promise<readonly string[]> {
  const names: string[] = [];
  for (const table of tables) {
    const label = quoteIdent(
      table.restore.kind === 'merge' ? (table.restore.by[0] ?? 'id') : (table.key[0] ?? 'id'),
    );
    for (const { column, flag } of table.secrets) {
      // Without a flag the form tells: a trigger's plain kwargs start with "{" (airflow/models/trigger.py).
      const encrypted = flag === undefined ? `${quoteIdent(column)} NOT LIKE '{%'` : quoteIdent(flag);
      await client.query(
        `DECLARE lifeboat_secrets NO SCROLL CURSOR FOR
           SELECT ${label}::text AS name, ${quoteIdent(column)} AS token FROM ${quoteTable(schema, table.name)}
            WHERE ${encrypted} AND ${quoteIdent(column)} <> '' ORDER BY 1`,
      );
      for (;;) {
        const { rows } = await client.query<{ name: string | null; token: string }>(
          `FETCH ${BATCH} FROM lifeboat_secrets`,
        );
        for (const { name, token } of rows) {
          if (!canRead(keys, token)) names.push(describe(table, name, column));
        }
        if (rows.length < BATCH) break;
      }
      await client.query('CLOSE lifeboat_secrets');
    }
  }
  return names;
}

function describe(table: ResolvedTable, name: string | null, column: string): string {
  const subject = `${table.name} ${name ?? '(no name)'}`;
  return table.secrets.length > 1 ? `${subject} (${column})` : subject;
}
