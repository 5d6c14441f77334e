import type { Client } from 'pg';
import { quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { Choice } from './chosen/conditions.ts';
import { clearedIn } from './chosen/facts.ts';
import { livePredicate } from './live-rows.ts';
import type { LockWish } from './locks.ts';
import type { TargetState } from './target-state.ts';

export interface CleanPlan {
  /** Emptied in one TRUNCATE: nothing in them is live and nothing outside refers to them. */
  readonly truncate: readonly ResolvedTable[];
  /** Children first. */
  readonly remove: readonly ResolvedTable[];
  /** Not locked, and so emptied in the last moments: see live-jobs.ts. */
  readonly last: readonly ResolvedTable[];
  /** SQL predicates by table: only these rows of `remove`. All that are not live when absent. */
  readonly chosen?: ReadonlyMap<string, string>;
}

/** Tables of the past among the given ones, and how each is emptied. Pure. */
export function planClean(state: TargetState, tables: readonly ResolvedTable[], choice?: Choice): CleanPlan {
  const history = tables.filter((table) => table.restore.kind === 'history');
  if (choice) {
    const chosen = chosenRows(state, history, choice);
    const remove = history.filter(({ name, neverLocked }) => chosen.has(name) && !neverLocked).toReversed();
    return { truncate: [], remove, last: [], chosen };
  }
  let truncate = history.filter((table) => {
    const live = state.live.tables.get(table.name);
    return livePredicate(state, table) === undefined && live?.mayTruncate === true;
  });
  // TRUNCATE refuses a table that another one refers to, unless both go in the same statement. Dropping one from the
  // set can leave its parents behind in turn, so this runs until nothing changes.
  for (;;) {
    const names = new Set(truncate.map((table) => table.name));
    const kept = truncate.filter((table) =>
      state.live.foreignKeys.every((key) => key.parent !== table.name || names.has(key.table)),
    );
    if (kept.length === truncate.length) break;
    truncate = kept;
  }
  const truncated = new Set(truncate.map((table) => table.name));
  const others = history.filter((table) => !truncated.has(table.name)).toReversed();
  return {
    truncate,
    remove: others.filter((table) => !table.neverLocked),
    last: others.filter((table) => table.neverLocked),
  };
}

function chosenRows(
  state: TargetState,
  history: readonly ResolvedTable[],
  choice: Choice,
): ReadonlyMap<string, string> {
  const rows = new Map<string, string>();
  for (const table of history) {
    const condition = clearedIn(state, choice, table);
    if (condition !== undefined) rows.set(table.name, condition);
  }
  return rows;
}

export function cleanLocks(plan: CleanPlan): readonly LockWish[] {
  return [
    ...plan.remove.map((table): LockWish => ({ table, mode: 'EXCLUSIVE' })),
    ...plan.truncate.map((table): LockWish => ({ table, mode: 'ACCESS EXCLUSIVE' })),
  ];
}

/** Deletes the past, except live rows. Counts are exact. Runs inside the caller's transaction, with its locks held. */
export async function cleanTables(
  client: Client,
  state: TargetState,
  plan: CleanPlan,
): Promise<ReadonlyMap<string, number>> {
  const { schema } = state.live;
  const deleted = new Map<string, number>();
  for (const table of plan.truncate) {
    const count = await client.query<{ rows: string }>(
      `SELECT pg_catalog.count(*) AS rows FROM ${quoteTable(schema, table.name)}`,
    );
    deleted.set(table.name, Number(count.rows[0]?.rows ?? 0));
  }
  for (const table of plan.remove) {
    const live = livePredicate(state, table);
    const chosen = plan.chosen?.get(table.name);
    const rest = live === undefined ? '' : ` WHERE (${live}) IS NOT TRUE`;
    const where = chosen === undefined ? rest : ` WHERE ${chosen}`;
    const result = await client.query(`DELETE FROM ${quoteTable(schema, table.name)}${where}`);
    deleted.set(table.name, result.rowCount ?? 0);
  }
  if (plan.truncate.length > 0) {
    await client.query(`TRUNCATE ${plan.truncate.map((table) => quoteTable(schema, table.name)).join(', ')}`);
  }
  return deleted;
}
