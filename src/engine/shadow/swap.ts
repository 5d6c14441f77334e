import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import { sqlStateOf } from '../../db/sqlstate.ts';
import { LifeboatError } from '../../errors.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { LoadContext } from '../load-context.ts';
import { autovacuumSql, commentOnLinkSql, linkSql, validateSql } from './dress.ts';
import { sharedTables } from './fill.ts';
import { linksOfSwap } from './jobs.ts';
import type { ShadowPlan } from './jobs.ts';

/**
 * Brings the rows that stay from the live tables into the shadow, parents first. Only with the live tables locked: no
 * change of a row can fall between this and the swap. A row that stays keeps its id, because a process knows it by that;
 * the restored one moves, which nothing refers to where it can still happen.
 *
 * @returns rows of the backup that gave way, by table, and rows that moved
 */
export async function carryLiveRows(
  load: LoadContext,
  plan: ShadowPlan,
): Promise<{ readonly gone: ReadonlyMap<string, number>; readonly moved: ReadonlyMap<string, number> }> {
  const gone = new Map<string, number>();
  const moved = new Map<string, number>();
  for (const table of plan.tables) {
    const stays = load.shadow?.stays(table) ?? 'false';
    if (stays === 'false') continue;
    const [shadow, live] = [
      quoteTable(plan.place.shadow, table.name),
      quoteTable(plan.place.live, table.name),
    ];
    const columns = [...(load.state.live.tables.get(table.name)?.columns.values() ?? [])]
      .filter((column) => !column.generated)
      .map((column) => quoteIdent(column.name))
      .join(', ');
    const statements: string[] = [];
    const { serial } = table;
    if (serial === undefined) {
      const key = table.key.map(quoteIdent).join(', ');
      statements.push(`DELETE FROM ${shadow} WHERE (${key}) IN (SELECT ${key} FROM ${live} WHERE ${stays})`);
    } else if (load.shadow?.referred.has(table.name) === false) {
      const id = quoteIdent(serial);
      statements.push(
        `UPDATE ${shadow} s SET ${id} = m.lb_new FROM (
           SELECT ${id} AS lb_old, pg_catalog.row_number() OVER (ORDER BY ${id})
                    + greatest((SELECT pg_catalog.max(${id}) FROM ${shadow}), (SELECT pg_catalog.max(${id}) FROM ${live})) AS lb_new
             FROM ${shadow} WHERE ${id} IN (SELECT ${id} FROM ${live} WHERE ${stays})) m WHERE s.${id} = m.lb_old`,
      );
    }
    statements.push(`INSERT INTO ${shadow} (${columns}) SELECT ${columns} FROM ${live} WHERE ${stays}`);
    const [first] = await queryAll(load.client, statements).catch(collision(table));
    const count = first?.rowCount ?? 0;
    if (serial === undefined) gone.set(table.name, count);
    else if (statements.length > 1) moved.set(table.name, count);
  }
  return { gone, moved };
}

/** Several statements in one message: the answer is an array only where there are more than one. */
async function queryAll(
  client: Client,
  statements: readonly string[],
): Promise<readonly { readonly rowCount: number | null }[]> {
  const result = (await client.query(statements.join('; '))) as unknown;
  return (Array.isArray(result) ? result : [result]) as readonly { readonly rowCount: number | null }[];
}

function collision(table: ResolvedTable): (error: unknown) => never {
  return (error) => {
    // unique_violation
    if (sqlStateOf(error) !== '23505') throw error;
    throw new LifeboatError(
      'failed',
      `The target began rows of ${table.name} during the restore that have ids or names of restored ones.`,
      { next: 'Nothing was changed. Run it again.', cause: error },
    );
  };
}

/** Foreign keys to tables that were merged a moment ago, whose new rows were not there before. */
export async function linkMerged(client: Client, plan: ShadowPlan): Promise<void> {
  const { shadow } = plan.place;
  const statements = plan.tables.flatMap((table) =>
    linksOfSwap(plan, table.name).flatMap((key) => [
      linkSql(plan.place, table.name, key, false),
      ...validateSql(shadow, table.name, key),
      ...commentOnLinkSql(shadow, table.name, key),
    ]),
  );
  if (statements.length > 0) await queryAll(client, statements);
}

/**
 * Drops the live tables and puts those of the shadow in their place, with everything on them: it is all one message, since
 * everybody waits. No CASCADE: what depends on a live table and was not thought of is an error, and the schema must be
 * empty in the end.
 */
export async function exchangeTables(client: Client, plan: ShadowPlan): Promise<void> {
  const { live, shadow } = plan.place;
  const definitions = plan.tables.flatMap(({ name }) => plan.definitions.get(name) ?? []);
  const owned = definitions.flatMap(({ table, sequences }) => sequences.map((one) => ({ table, ...one })));
  const left = await sharedTables(client, plan.place);
  await queryAll(client, [
    ...owned.map(({ sequence }) => `ALTER SEQUENCE ${sequence} OWNED BY NONE`),
    `DROP TABLE ${definitions.map(({ table }) => quoteTable(live, table)).join(', ')}`,
    ...definitions.map(
      ({ table }) => `ALTER TABLE ${quoteTable(shadow, table)} SET SCHEMA ${quoteIdent(live)}`,
    ),
    ...owned.map(
      ({ sequence, table, column }) =>
        `ALTER SEQUENCE ${sequence} OWNED BY ${quoteTable(live, table)}.${quoteIdent(column)}`,
    ),
    ...definitions.map((definition) => autovacuumSql(live, definition)),
    ...left.map((name) => `DROP TABLE ${name}`),
    `DROP SCHEMA ${quoteIdent(shadow)}`,
    'SET LOCAL synchronous_commit = on',
  ]);
}
