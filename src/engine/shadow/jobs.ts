import type { Client } from 'pg';
import { quoteIdent, quoteLiteral, quoteTable } from '../../db/introspect.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import type { LoadContext } from '../load-context.ts';
import { isLockRefused } from '../locks.ts';
import { storedTable } from '../manifest.ts';
import { storedBytes } from '../sealed/fields.ts';
import { SHADOW_COMMENT } from './debris.ts';
import type { Definition, ForeignKeyDefinition } from './definitions.ts';
import { commentOnLinkSql, dressSql, indexSql, linkSql, validateSql } from './dress.ts';
import type { Place } from './dress.ts';
import { fillTable, mapMerged } from './fill.ts';
import type { Filled } from './fill.ts';
import type { Job } from './workers.ts';

export interface ShadowPlan {
  readonly place: Place;
  /** Tables to exchange, in load order. */
  readonly tables: readonly ResolvedTable[];
  readonly definitions: ReadonlyMap<string, Definition>;
  /** Merged tables and users whose ids rows of the shadow hold. */
  readonly parents: readonly ResolvedTable[];
  readonly owner: string;
  /** Tables of the set whose ids may change on the way. */
  readonly moving: ReadonlySet<string>;
  /** Only tried: no foreign key to a live table is made, because that would lock it. references.ts asks instead. */
  readonly drill: boolean;
}

/** A live client waits this long at most for a lock that a foreign key needs on its table. */
const LINK_ATTEMPT_MS = 60;
const LINK_ATTEMPTS = 200;

/** Foreign keys to tables that are merged: their rows may come with the swap. */
export function linksOfSwap(plan: ShadowPlan, table: string): readonly ForeignKeyDefinition[] {
  const merged = new Set(
    plan.parents.filter(({ restore }) => restore.kind !== 'lookup').map(({ name }) => name),
  );
  return links(plan, table).filter(
    ({ parent }) => !plan.definitions.has(parent) && (merged.has(parent) || parent === 'dag'),
  );
}

function links(plan: ShadowPlan, table: string): readonly ForeignKeyDefinition[] {
  return plan.definitions.get(table)?.foreignKeys ?? [];
}

/**
 * All work on a shadow before its swap: each table is filled as soon as the ids that it refers to are known, then its
 * indexes are built, each as a job of its own; when they are there it gets its keys, rights and statistics, and when its
 * parents have theirs, its foreign keys.
 */
export function shadowJobs(
  plan: ShadowPlan,
  base: Omit<LoadContext, 'client'>,
  filled: Filled,
): readonly Job[] {
  const { place } = plan;
  const names = new Set(plan.tables.map(({ name }) => name));
  const loadFor = (client: Client): LoadContext => ({ ...base, client });
  const begin: Job = {
    name: 'begin',
    after: [],
    weight: Infinity,
    run: async (client) => {
      await createSchema(client, place, plan.owner, base.manifest.backupId);
      if (plan.parents.length > 0) await mapMerged(loadFor(client), place, plan.parents);
    },
  };
  const jobs = plan.tables.flatMap((table) => {
    const stored = storedTable(base.manifest, table.name);
    const weight = 1 + storedBytes(stored ? [stored] : []);
    const load: Job = {
      name: `load ${table.name}`,
      after: ['begin', ...loadsBefore(plan, table, base).map((name) => `load ${name}`)],
      weight: weight * 4,
      run: (client) => fillTable(loadFor(client), place, table, filled),
    };
    return [load, ...jobsAfterLoad(plan, table, names, weight)];
  });
  return [begin, ...jobs];
}

/** Who may make a schema in the database need not be the owner of the tables, and the other way round. */
async function createSchema(client: Client, place: Place, owner: string, backupId: string): Promise<void> {
  const schema = quoteIdent(place.shadow);
  await client.query(
    `SET LOCAL ROLE NONE; CREATE SCHEMA ${schema} AUTHORIZATION ${quoteIdent(owner)}; SET LOCAL ROLE ${quoteIdent(owner)};
     COMMENT ON SCHEMA ${schema} IS ${quoteLiteral(`${SHADOW_COMMENT} of backup ${backupId}`)}`,
  );
}

/** Tables whose ids, or whose left-out rows, have to be known. */
function loadsBefore(
  plan: ShadowPlan,
  table: ResolvedTable,
  load: Pick<LoadContext, 'state'>,
): readonly string[] {
  const here = (name: string): boolean => name !== table.name && plan.definitions.has(name);
  if (load.state.liveRuns.length > 0) {
    const runs = table.ofRun.some(({ as }) => as === 'part') ? ['dag_run'] : [];
    return [...new Set([...table.parents, ...runs])].filter(here);
  }
  return [...new Set(Object.values(table.references))].filter((name) => here(name) && plan.moving.has(name));
}

function jobsAfterLoad(
  plan: ShadowPlan,
  table: ResolvedTable,
  names: ReadonlySet<string>,
  weight: number,
): readonly Job[] {
  const { place } = plan;
  const definition = plan.definitions.get(table.name);
  if (!definition) throw new Error(`No definition of ${table.name}.`);
  const indexes = definition.indexes.map((index): Job => ({
    name: `index ${index.name}`,
    after: [`load ${table.name}`],
    weight,
    run: (client) => execute(client, [indexSql(place, definition, index)]),
  }));
  const dress: Job = {
    name: `dress ${table.name}`,
    after: [`load ${table.name}`, ...indexes.map(({ name }) => name)],
    weight: weight * 2,
    run: (client) =>
      execute(client, [...dressSql(place, definition), `ANALYZE ${quoteTable(place.shadow, table.name)}`]),
  };
  return [...indexes, dress, ...linkJobs(plan, definition, names, weight)];
}

/** Adding a key is instant and locks its parent; the look at all rows locks nobody out, so it is another transaction. */
function linkJobs(
  { place, ...plan }: ShadowPlan,
  { table }: Definition,
  names: ReadonlySet<string>,
  weight: number,
): readonly Job[] {
  const later = new Set(linksOfSwap({ place, ...plan }, table).map(({ name }) => name));
  // Those to live tables last: their locks end with this transaction.
  const keys = links({ place, ...plan }, table)
    .filter(({ name, parent }) => !later.has(name) && (!plan.drill || names.has(parent)))
    .toSorted((a, b) => Number(names.has(b.parent)) - Number(names.has(a.parent)));
  if (keys.length === 0) return [];
  const parents = [...new Set(keys.map(({ parent }) => parent))].filter((parent) => names.has(parent));
  const link: Job = {
    name: `link ${table}`,
    after: [`dress ${table}`, ...parents.map((parent) => `dress ${parent}`)],
    weight: weight * 2,
    run: async (client) => {
      await lockInOrder(client, place, [table, ...parents]);
      for (const key of keys) {
        const inShadow = names.has(key.parent);
        const sql = [linkSql(place, table, key, inShadow), ...commentOnLinkSql(place.shadow, table, key)];
        await (inShadow ? execute(client, sql) : executePatiently(client, sql));
      }
    },
  };
  const checks = keys.map((key, at): Job => ({
    name: `check ${table} ${key.name}`,
    after: [`link ${table}`, ...keys.slice(0, at).map((one) => `check ${table} ${one.name}`)],
    weight: weight * 1.5,
    run: (client) => execute(client, validateSql(place.shadow, table, key)),
  }));
  return [link, ...checks];
}

/**
 * What ADD FOREIGN KEY locks on both sides, all at once and always in the same order: two jobs that come to the same parents
 * in the order of their keys wait for each other for ever, and the server ends one of them.
 */
async function lockInOrder(client: Client, { shadow }: Place, tables: readonly string[]): Promise<void> {
  const names = [...new Set(tables)].sort().map((name) => quoteTable(shadow, name));
  await client.query(`LOCK TABLE ${names.join(', ')} IN SHARE ROW EXCLUSIVE MODE`);
}

async function execute(client: Client, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await client.query(statement);
}

/** For statements that lock a live table for a moment. */
async function executePatiently(client: Client, statements: readonly string[]): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    await client.query(`SAVEPOINT lifeboat_link; SET LOCAL lock_timeout = ${LINK_ATTEMPT_MS}`);
    try {
      await execute(client, statements);
      await client.query('SET LOCAL lock_timeout = 0; RELEASE SAVEPOINT lifeboat_link');
      return;
    } catch (error) {
      if (!isLockRefused(error) || attempt === LINK_ATTEMPTS) throw error;
      await client.query('ROLLBACK TO SAVEPOINT lifeboat_link');
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 200));
    }
  }
}
