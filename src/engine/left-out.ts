import { quoteIdent, quoteTable } from '../db/introspect.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { historySchema } from './load-context.ts';
import type { LoadContext } from './load-context.ts';
import { mapName, stageName } from './stage.ts';

/** Runs of the backup that are not loaded: (id, dag_id, run_id). Exists from the staging of dag_run on, if there are any. */
export const LEFT_OUT = 'pg_temp.lifeboat_left_out';

/** True: rows of this table may have to stay out, so it cannot be copied straight into its place. */
export function leavesRowsOut(load: LoadContext, table: ResolvedTable): boolean {
  if (table.name === 'dag_run') return load.state.liveRuns.length > 0;
  return load.leftOutRuns.length > 0 && table.ofRun.some(({ as }) => as === 'part');
}

/**
 * Takes rows out of a stage that must not be loaded: runs that the target has as live ones, by name or by date (both are
 * unique), and what is part of such a run.
 */
export async function leaveOutRows(load: LoadContext, table: ResolvedTable): Promise<void> {
  if (!leavesRowsOut(load, table)) return;
  if (table.name === 'dag_run') {
    await leaveOutRuns(load);
    return;
  }
  const parts = table.ofRun.filter(({ as }) => as === 'part').map(partOf);
  if (table.name === 'task_instance') await dropTriggers(load, parts);
  await load.client.query(`DELETE FROM ${stageName(table.name)} WHERE ${parts.join(' OR ')}`);
}

/**
 * Rows without an id that only tell of a run may be in a target that has lost the run: the target's stay, and the stage is
 * what this restore brings. In a shadow the two meet when the target's are carried over, and these give way then: see
 * shadow/swap.ts.
 */
export async function leaveOutSameKeys(load: LoadContext, table: ResolvedTable): Promise<void> {
  if (load.shadow || table.serial !== undefined || load.kept(table.name) === 0) return;
  if (!table.ofRun.some(({ as }) => as === 'about')) return;
  // References have the ids of the backup here: a key with one is not comparable.
  if (table.key.some((column) => table.references[column] !== undefined)) return;
  const same = table.key.map((column) => `s.${quoteIdent(column)} = t.${quoteIdent(column)}`);
  await load.client.query(
    `DELETE FROM ${stageName(table.name)} s USING ${quoteTable(load.state.live.schema, table.name)} t WHERE ${same.join(' AND ')}`,
  );
}

async function leaveOutRuns(load: LoadContext): Promise<void> {
  const { client, state } = load;
  const ids = state.liveRuns.map((run) => run.id).join(', ');
  await client.query(
    `CREATE TEMPORARY TABLE ${LEFT_OUT.replace('pg_temp.', '')} ON COMMIT DROP AS
       SELECT s.id, s.dag_id, s.run_id FROM ${stageName('dag_run')} s
        WHERE EXISTS (SELECT FROM ${quoteTable(state.live.schema, 'dag_run')} t
                       WHERE t.id IN (${ids}) AND t.dag_id = s.dag_id
                         AND (t.run_id = s.run_id OR t.execution_date = s.execution_date))`,
  );
  await client.query(`DELETE FROM ${stageName('dag_run')} WHERE id IN (SELECT id FROM ${LEFT_OUT})`);
  const names = await client.query<{ name: string }>(
    `SELECT dag_id || '/' || run_id AS name FROM ${LEFT_OUT} ORDER BY 1`,
  );
  load.leftOutRuns.push(...names.rows.map((row) => row.name));
}

/** Triggers that only tasks of left-out runs wait for: a triggerer would run them for nobody. */
async function dropTriggers(load: LoadContext, parts: readonly string[]): Promise<void> {
  const ids = load.ids.get('trigger');
  if (ids === undefined) return;
  const tasks = stageName('task_instance');
  const trigger = quoteTable(historySchema(load), 'trigger');
  const [join, id] =
    ids === 'kept'
      ? ['', 's.trigger_id']
      : [`JOIN ${mapName('trigger')} m ON m.lb_old = s.trigger_id`, 'm.lb_new'];
  await load.client.query(
    `DELETE FROM ${trigger} WHERE id IN (
       SELECT ${id} FROM ${tasks} s ${join}
        WHERE s.trigger_id IS NOT NULL AND (${parts.join(' OR ')})
          AND NOT EXISTS (SELECT FROM ${tasks} o WHERE o.trigger_id = s.trigger_id
                             AND NOT EXISTS (SELECT FROM ${LEFT_OUT} l WHERE l.dag_id = o.dag_id AND l.run_id = o.run_id)))`,
  );
}

function partOf({ own, theirs }: ResolvedTable['ofRun'][number]): string {
  const [columns, values] = [own, theirs].map((names) => names.map(quoteIdent).join(', '));
  return `(${columns ?? ''}) IN (SELECT ${values ?? ''} FROM ${LEFT_OUT})`;
}
