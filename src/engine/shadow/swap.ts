import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import { sqlStateOf } from '../../db/sqlstate.ts';
import { LifeboatError } from '../../errors.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { LoadContext } from '../load-context.ts';
import { autovacuumSql, commentOnLinkSql, linkSql, validateSql } from './dress.ts';
import { linksOfSwap } from './jobs.ts';
import type { ShadowPlan } from './jobs.ts';
import { queryAll } from './query-all.ts';

/**
 * Brings the rows that stay from the live tables into the shadow, parents first, in one message. Only with the live tables
 * locked: no change of a row can fall between this and the swap. A row that stays keeps its id, because a process knows it
 * by that; the restored one moves, which nothing refers to where it can still happen.
 *
 * @returns rows of the backup that gave way, by table, and rows that moved
 */
export async function carryLiveRows(
  load: LoadContext,
  plan: ShadowPlan,
): Promise<{ readonly gone: ReadonlyMap<string, number>; readonly moved: ReadonlyMap<string, number> }> {
  const steps = plan.tables.flatMap((table) => carrySteps(load, plan, table));
  const gone = new Map<string, number>();
  const moved = new Map<string, number>();
  const sql = steps.map((step) => step.sql);
  const results = await queryAll(load.client, sql).catch(collision);
  for (const [at, { table, counts }] of steps.entries()) {
    const rows = results[at]?.rowCount ?? 0;
    if (counts === 'gone') gone.set(table, rows);
    if (counts === 'moved') moved.set(table, rows);
  }
  return { gone, moved };
}

interface CarryStep {
  readonly table: string;
  readonly sql: string;
  /** What the rows of this statement are. */
  readonly counts: 'gone' | 'moved' | 'carried';
}

function carrySteps(load: LoadContext, plan: ShadowPlan, table: ResolvedTable): readonly CarryStep[] {
  const stays = load.shadow?.stays(table) ?? 'false';
  if (stays === 'false') return [];
  const { name, serial } = table;
  const [shadow, live] = [quoteTable(plan.place.shadow, name), quoteTable(plan.place.live, name)];
  const columns = [...(load.state.live.tables.get(name)?.columns.values() ?? [])]
    .filter((column) => !column.generated)
    .map((column) => quoteIdent(column.name))
    .join(', ');
  const carried: CarryStep = {
    table: name,
    sql: `INSERT INTO ${shadow} (${columns}) SELECT ${columns} FROM ${live} WHERE ${stays}`,
    counts: 'carried',
  };
  if (serial === undefined) {
    const key = table.key.map(quoteIdent).join(', ');
    const sql = `DELETE FROM ${shadow} WHERE (${key}) IN (SELECT ${key} FROM ${live} WHERE ${stays})`;
    return [{ table: name, sql, counts: 'gone' }, carried];
  }
  if (load.shadow?.referred.has(name)) return [carried];
  const id = quoteIdent(serial);
  const sql = `UPDATE ${shadow} s SET ${id} = m.lb_new FROM (
     SELECT ${id} AS lb_old, pg_catalog.row_number() OVER (ORDER BY ${id})
              + greatest((SELECT pg_catalog.max(${id}) FROM ${shadow}), (SELECT pg_catalog.max(${id}) FROM ${live})) AS lb_new
       FROM ${shadow} WHERE ${id} IN (SELECT ${id} FROM ${live} WHERE ${stays})) m WHERE s.${id} = m.lb_old`;
  return [{ table: name, sql, counts: 'moved' }, carried];
}

function collision(error: unknown): never {
  // unique_violation
  if (sqlStateOf(error) !== '23505') throw error;
  const table = error instanceof Error && 'table' in error ? String(error.table) : 'a table';
  throw new LifeboatError(
    'failed',
    `The target began rows of ${table} during the restore that have ids or names of restored ones.`,
    { next: 'Nothing was changed. Run it again.', cause: error },
  );
}

/**
 * Gives the ids away that rows have now which stay: all but those that come until the exchange, so that hardly one is left
 * to move while everybody waits.
 *
 * @returns rows that moved, by table
 */
export async function makeRoom(load: LoadContext, plan: ShadowPlan): Promise<ReadonlyMap<string, number>> {
  const steps = plan.tables.flatMap((table) => carrySteps(load, plan, table));
  const moves = steps.filter(({ counts }) => counts === 'moved');
  const results = await queryAll(
    load.client,
    moves.map(({ sql }) => sql),
  );
  return new Map(moves.map(({ table }, at) => [table, results[at]?.rowCount ?? 0]));
}

/** Foreign keys to tables that were merged a moment ago, whose new rows were not there before. */
export async function linkMerged(
  client: Client,
  plan: ShadowPlan,
  wanted: (parent: string) => boolean,
): Promise<void> {
  const { shadow } = plan.place;
  const links = (table: ResolvedTable): ReturnType<typeof linksOfSwap> =>
    linksOfSwap(plan, table.name).filter(({ parent }) => wanted(parent));
  const statements = plan.tables.flatMap((table) =>
    links(table).flatMap((key) => [
      linkSql(plan.place, table.name, key, false),
      ...validateSql(shadow, table.name, key),
      ...commentOnLinkSql(shadow, table.name, key),
    ]),
  );
  await queryAll(client, statements);
}

/**
 * Drops the live tables and puts those of the shadow in their place, with everything on them: it is all one message, since
 * everybody waits. No CASCADE: what depends on a live table and was not thought of is an error, and the schema must be
 * empty in the end. `helpers`: everything in the shadow that is not a table of Airflow.
 */
export async function exchangeTables(
  client: Client,
  plan: ShadowPlan,
  helpers: readonly string[],
): Promise<void> {
  const { live, shadow } = plan.place;
  const definitions = plan.tables.flatMap(({ name }) => plan.definitions.get(name) ?? []);
  const owned = definitions.flatMap(({ table, sequences }) => sequences.map((one) => ({ table, ...one })));
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
    ...helpers.map((name) => `DROP TABLE ${name}`),
    `DROP SCHEMA ${quoteIdent(shadow)}`,
    'SET LOCAL synchronous_commit = on',
  ]);
}
