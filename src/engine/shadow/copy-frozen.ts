import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { copyInto } from '../copy-stage.ts';
import { rewriteSql } from '../insert.ts';
import { historySchema } from '../load-context.ts';
import type { LoadContext } from '../load-context.ts';
import type { ManifestTable } from '../manifest.ts';

/**
 * Copies a table into its shadow, which this transaction has created: only then may rows be written as if they had
 * always been there (FREEZE), without a second writing by VACUUM. What the backup's minor did not have comes from
 * defaults that hold for the length of the COPY, and the few rows that change on the way are changed afterwards.
 */
export async function copyFrozen(
  load: LoadContext,
  table: ResolvedTable,
  stored: ManifestTable,
): Promise<void> {
  const { client } = load;
  const into = quoteTable(historySchema(load), table.name);
  const live = load.state.live.tables.get(table.name);
  const defaults = (of: (name: string, value: string) => string): string =>
    table.added.map(({ name, value }) => of(quoteIdent(name), value)).join(', ');
  if (table.added.length > 0) {
    await client.query(
      `ALTER TABLE ${into} ${defaults((name, value) => `ALTER COLUMN ${name} SET DEFAULT ${value}`)}`,
    );
  }
  await copyInto(load, table, stored, into, 'true', ', FREEZE');
  const rewrite = rewriteSql(table, load.manifest.snapshotTime);
  if (rewrite !== undefined) await client.query(`UPDATE ${into} SET ${rewrite}`);
  if (table.added.length > 0) {
    const own = table.added.map(({ name }) => {
      const value = live?.columns.get(name)?.defaultSql;
      return `ALTER COLUMN ${quoteIdent(name)} ${value ? `SET DEFAULT ${value}` : 'DROP DEFAULT'}`;
    });
    await client.query(`ALTER TABLE ${into} ${own.join(', ')}`);
  }
}
