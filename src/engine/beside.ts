import { quoteIdent, quoteLiteral } from '../db/introspect.ts';
import { hasGoneOn } from './chosen/stage-chosen.ts';
import type { LoadContext } from './load-context.ts';
import { mapName, stageName } from './stage.ts';

/** Tells what a restore brought from what the target had. SQL conditions over a row with the given alias. */
export interface Beside {
  /** The row is of the backup. */
  readonly brought: (table: string, alias: string) => string;
  /** Over a row of `dag`: its schedule has gone on in the target, or is at work there, and is not the backup's to set. */
  readonly ownSchedule: (alias: string) => string;
}

export function besideOf(load: LoadContext): Beside {
  const live = load.state.liveRuns.map(({ dagId }) => quoteLiteral(dagId));
  return {
    brought: (table, alias) => broughtBy(load, table, alias),
    ownSchedule: (alias) =>
      [
        ...(live.length === 0 ? [] : [`${alias}.dag_id IN (${live.join(', ')})`]),
        ...(load.choice ? [hasGoneOn(`${alias}.dag_id`)] : []),
      ].join(' OR ') || 'false',
  };
}

/**
 * A table that was not staged was empty: all that is in it came with the backup. In a shadow nothing else ever is, until
 * the target's rows are carried over.
 */
function broughtBy(load: LoadContext, name: string, alias: string): string {
  const table = load.state.tables.find((one) => one.name === name);
  if (!table || load.shadow || !load.staged.has(name)) return 'true';
  const stage = stageName(name);
  if (table.serial === undefined) {
    const same = table.key.map((column) => `lb_s.${quoteIdent(column)} = ${alias}.${quoteIdent(column)}`);
    return `EXISTS (SELECT 1 FROM ${stage} lb_s WHERE ${same.join(' AND ')})`;
  }
  const id = quoteIdent(table.serial);
  return `EXISTS (SELECT 1 FROM ${stage} lb_s LEFT JOIN ${mapName(name)} lb_m ON lb_m.lb_old = lb_s.${id}
    WHERE coalesce(lb_m.lb_new, lb_s.${id}) = ${alias}.${id} AND lb_m.lb_matched IS NOT TRUE)`;
}
