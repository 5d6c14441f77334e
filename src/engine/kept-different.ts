import { quoteIdent, quoteTable } from '../db/introspect.ts';
import { fernetDecrypt } from '../secrets/fernet.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { LoadContext } from './load-context.ts';
import type { ManifestTable } from './manifest.ts';
import { mapName, stageName } from './stage.ts';

/** Names in a summary; beyond it the list helps nobody. */
const MAX_NAMES = 100;
/** Values can be megabytes: this many pairs are in memory at a time. */
const BATCH = 50;

interface Pair {
  readonly name: string | null;
  readonly [column: string]: unknown;
}

/**
 * Entries that both sides have with different content, where the target's stays: what an operator wants to look at after
 * an `append`. Two Fernet tokens of one text always differ, so they are compared decrypted where a known key reads both;
 * where none does, they count as different.
 */
export async function keptThatDiffer(
  load: LoadContext,
  table: ResolvedTable,
  stored: Pick<ManifestTable, 'columns'>,
): Promise<readonly string[]> {
  if (table.secrets.length === 0 || table.restore.kind !== 'merge') return [];
  // Sealed secrets that nobody opened are not there to be compared.
  const secrets = table.secrets.filter(({ column }) => stored.columns.includes(column));
  const name = quoteIdent(table.restore.by[0] ?? 'id');
  const id = quoteIdent(table.serial ?? 'id');
  const secret = new Set(table.secrets.flatMap((one) => [one.column, one.flag ?? '']));
  const plain = table.columns.filter((column) => column.name !== table.serial && !secret.has(column.name));
  const plainDiffers =
    plain
      .map(({ name: column }) => `s.${quoteIdent(column)} IS DISTINCT FROM t.${quoteIdent(column)}`)
      .join(' OR ') || 'false';
  const secretDiffers =
    secrets
      .map(({ column }) => `s.${quoteIdent(column)} IS DISTINCT FROM t.${quoteIdent(column)}`)
      .join(' OR ') || 'false';
  const secretColumns = secrets.flatMap(({ column, flag = column }, index) => [
    `s.${quoteIdent(column)} AS s_value_${index}, s.${quoteIdent(flag)} AS s_flag_${index}`,
    `t.${quoteIdent(column)} AS t_value_${index}, t.${quoteIdent(flag)} AS t_flag_${index}`,
  ]);
  await load.client.query(
    `DECLARE lifeboat_kept CURSOR FOR
       SELECT s.${name} AS name, ${[`(${plainDiffers}) AS plain_differs`, ...secretColumns].join(', ')}
         FROM ${stageName(table.name)} s
         JOIN ${mapName(table.name)} own ON own.lb_old = s.${id} AND own.lb_matched
         JOIN ${quoteTable(load.state.live.schema, table.name)} t ON t.${id} = own.lb_new
        WHERE (${plainDiffers}) OR (${secretDiffers}) ORDER BY 1`,
  );
  const keys = [...load.request.fernetKeys, ...(load.request.sourceFernetKeys ?? [])];
  const names: string[] = [];
  for (;;) {
    const { rows } = await load.client.query<Pair>(`FETCH ${BATCH} FROM lifeboat_kept`);
    for (const row of rows) {
      if (names.length < MAX_NAMES && differs(row, secrets.length, keys)) {
        names.push(row.name ?? '(no name)');
      }
    }
    if (rows.length < BATCH || names.length >= MAX_NAMES) break;
  }
  await load.client.query('CLOSE lifeboat_kept');
  return names;
}

function differs(row: Pair, secrets: number, keys: readonly string[]): boolean {
  if (row.plain_differs === true) return true;
  return Array.from({ length: secrets }, (_, index) => index).some((index) => {
    const ours = clear(row[`s_value_${index}`], row[`s_flag_${index}`], keys);
    const theirs = clear(row[`t_value_${index}`], row[`t_flag_${index}`], keys);
    return ours === undefined || theirs === undefined || ours !== theirs;
  });
}

/** undefined: nobody here can read it. */
function clear(value: unknown, flag: unknown, keys: readonly string[]): string | null | undefined {
  if (typeof value !== 'string') return null;
  if (flag !== true) return value;
  return fernetDecrypt(keys, value)?.toString('utf8');
}
