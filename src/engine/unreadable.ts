import type { ClientBase } from 'pg';
import { quoteIdent, quoteLiteral, quoteTable } from '../db/introspect.ts';
import { canRead } from '../secrets/fernet.ts';
import type { SecretColumn } from '../tables/spec.ts';
import type { ResolvedTable } from '../versions/registry.ts';

/** Tokens in memory at a time. */
const BATCH = 200;

export interface SecretSurvey {
  /** Secrets that are stored encrypted. */
  readonly tokens: number;
  /** Names of those that none of the keys reads: `variable NAME`, `connection NAME (password)`. */
  readonly unreadable: readonly string[];
}

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
  return (await surveySecrets(client, schema, tables, keys)).unreadable;
}

/** Where the rows of a table are that a secret is looked for in: SQL after FROM. */
export type RowsOf = (table: ResolvedTable, secret: SecretColumn) => string;

/** The same, with the number of all that were looked at. */
export function surveySecrets(
  client: ClientBase,
  schema: string,
  tables: readonly ResolvedTable[],
  keys: readonly string[],
): Promise<SecretSurvey> {
  return surveyRows(client, tables, keys, ({ name }) => quoteTable(schema, name));
}

export async function surveyRows(
  client: ClientBase,
  tables: readonly ResolvedTable[],
  keys: readonly string[],
  rowsOf: RowsOf,
): Promise<SecretSurvey> {
  const unreadable: string[] = [];
  let tokens = 0;
  for (const table of tables) {
    for (const secret of table.secrets) {
      const column = quoteIdent(secret.column);
      await client.query(
        `DECLARE lifeboat_secrets NO SCROLL CURSOR FOR
           SELECT ${secretLabel(table, secret)} AS name, ${column} AS token FROM ${rowsOf(table, secret)}
            WHERE ${secretIsToken(secret)} AND ${column} <> '' ORDER BY 1`,
      );
      for (;;) {
        const { rows } = await client.query<{ name: string; token: string }>(
          `FETCH ${BATCH} FROM lifeboat_secrets`,
        );
        tokens += rows.length;
        unreadable.push(...rows.filter(({ token }) => !canRead(keys, token)).map(({ name }) => name));
        if (rows.length < BATCH) break;
      }
      await client.query('CLOSE lifeboat_secrets');
    }
  }
  return { tokens, unreadable };
}

/** SQL: whether a secret is stored as a Fernet token. Without a flag its form tells (airflow/models/trigger.py). */
export function secretIsToken({ column, flag }: SecretColumn): string {
  return flag === undefined ? `${quoteIdent(column)} NOT LIKE '{%'` : quoteIdent(flag);
}

/** SQL: what a person calls this secret, such as "connection NAME (password)". */
export function secretLabel(table: ResolvedTable, { column }: SecretColumn): string {
  const name = quoteIdent(
    table.restore.kind === 'merge' ? (table.restore.by[0] ?? 'id') : (table.key[0] ?? 'id'),
  );
  const suffix = table.secrets.length > 1 ? ` || ${quoteLiteral(` (${column})`)}` : '';
  return `${quoteLiteral(`${table.name} `)} || coalesce(${name}::text, '(no name)')${suffix}`;
}
