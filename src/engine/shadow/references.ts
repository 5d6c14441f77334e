import type { Client } from 'pg';
import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import { comingRows } from '../insert.ts';
import { insertInput, loadedColumns } from '../load-context.ts';
import type { LoadContext } from '../load-context.ts';
import type { ShadowPlan } from './jobs.ts';
import type { Rehearsed } from './merge.ts';

/** Rows that point at a row which is neither in the target nor comes with the backup. */
export interface DanglingReference {
  readonly table: string;
  readonly constraint: string;
  readonly parent: string;
  readonly rows: number;
}

export interface CheckedReferences {
  readonly checked: number;
  readonly dangling: readonly DanglingReference[];
}

type MergeStep = Rehearsed['steps'][number];

interface ForeignKey {
  readonly name: string;
  readonly table: string;
  readonly columns: readonly string[];
  readonly parent: string;
  /** Qualified and quoted. */
  readonly parentQualified: string;
  readonly parentColumns: readonly string[];
}

/** MATCH SIMPLE alone, which is what everybody has: a reference with a NULL in it refers to nothing. */
const FOREIGN_KEYS = `
SELECT k.conname AS name, c.relname AS table, p.relname AS parent, pg_catalog.format('%I.%I', pn.nspname, p.relname) AS "parentQualified",
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u (num, at) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.at) AS columns,
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u (num, at) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.at) AS "parentColumns"
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE k.contype = 'f' AND k.convalidated AND k.confmatchtype = 's' AND c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1) AND c.relname = ANY ($2::text[])
 ORDER BY 2, 1`;

/**
 * Asks what the foreign keys to live tables would find, which only a restore makes: to make one locks the live table. The
 * parents are the rows that the target has and those that the merge would bring. Keys within the shadow are there, and
 * the server has proven them.
 */
export async function checkReferences(
  load: LoadContext,
  plan: ShadowPlan,
  { steps }: Rehearsed,
): Promise<CheckedReferences> {
  const names = [...plan.tables.map(({ name }) => name), ...steps.map(({ table }) => table.name)];
  const { rows } = await load.client.query<ForeignKey>(FOREIGN_KEYS, [plan.place.live, names]);
  const keys = rows.filter(({ parent }) => !plan.definitions.has(parent));
  const dangling: DanglingReference[] = [];
  for (const key of keys) {
    const count = await countDangling(load.client, key, {
      children: childRows(load, plan, steps, key.table),
      coming: comingOf(load, steps, key.parent),
    });
    if (count > 0) dangling.push({ table: key.table, constraint: key.name, parent: key.parent, rows: count });
  }
  return { checked: keys.length, dangling };
}

function childRows(
  load: LoadContext,
  { place, definitions }: ShadowPlan,
  steps: readonly MergeStep[],
  table: string,
): string | undefined {
  return definitions.has(table) ? `${quoteTable(place.shadow, table)} c` : comingOf(load, steps, table, 'c');
}

/** Rows that the merge would add to a live table, under the table's own names, as an item of FROM; undefined: none. */
function comingOf(
  load: LoadContext,
  steps: readonly MergeStep[],
  name: string,
  alias = 'p',
): string | undefined {
  const step = steps.find(({ table }) => table.name === name);
  if (!step || step.prepared?.strategy === 'skip') return undefined;
  const { table, stored } = step;
  const ids = step.moved !== undefined;
  const rows = comingRows({ ...insertInput(load, table, stored), mapOwnId: ids, onlyUnmatched: ids });
  return `(${rows}) ${alias} (${loadedColumns(table, stored).map(quoteIdent).join(', ')})`;
}

async function countDangling(
  client: Client,
  key: ForeignKey,
  { children, coming }: { readonly children: string | undefined; readonly coming: string | undefined },
): Promise<number> {
  if (children === undefined) return 0;
  const refers = key.columns.map((column) => `c.${quoteIdent(column)} IS NOT NULL`);
  const same = key.columns
    .map((column, at) => `p.${quoteIdent(key.parentColumns[at] ?? '')} = c.${quoteIdent(column)}`)
    .join(' AND ');
  const parents = [`${key.parentQualified} p`, ...(coming === undefined ? [] : [coming])];
  const missing = parents.map((parent) => `NOT EXISTS (SELECT FROM ${parent} WHERE ${same})`);
  const { rows } = await client.query<{ count: string }>(
    `SELECT pg_catalog.count(*) AS count FROM ${children} WHERE ${[...refers, ...missing].join(' AND ')}`,
  );
  return Number(rows[0]?.count ?? 0);
}
