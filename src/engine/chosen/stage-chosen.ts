import { quoteIdent, quoteLiteral, quoteTable } from '../../db/introspect.ts';
import { LifeboatError } from '../../errors.ts';
import { topological } from '../../tables/order.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { copyToStage } from '../copy-stage.ts';
import type { LoadContext } from '../load-context.ts';
import { stageName } from '../stage.ts';
import { chosenCondition, dagCondition, referrersOf, runCondition } from './conditions.ts';
import type { Choice, Side } from './conditions.ts';
import { findTaken, takenBlockers } from './facts.ts';

/** DAGs of which the target has runs that are newer than the backup. */
const GONE_ON = 'pg_temp.lifeboat_gone_on';

/** SQL: true for a DAG that has gone on in the target since the backup was made. */
export function hasGoneOn(dagId: string): string {
  return `EXISTS (SELECT 1 FROM ${GONE_ON} g WHERE g.dag_id = ${dagId})`;
}

/**
 * Brings the chosen part of every table into its stage: rows of other DAGs are dropped by the COPY itself, the others
 * when everything that they depend on is there. From then on the stages are a smaller backup, and are loaded like one.
 *
 * @throws LifeboatError 'refused' when the target has such runs: the plan looked before the locks were held.
 */
export async function stageChosen(
  load: LoadContext,
  choice: Choice,
  tables: readonly ResolvedTable[],
): Promise<void> {
  const { client, manifest, state } = load;
  const there = tables.filter((table) => manifest.tables.some(({ name }) => name === table.name));
  for (const table of there) await copyToStage(load, table, copyCondition(choice, table));

  const side: Side = { tables: there, name: stageName, reduced: () => true };
  for (const table of reductionOrder(there)) {
    const condition = chosenCondition(choice, side, table);
    if (condition === 'true') continue;
    await client.query(`DELETE FROM ${stageName(table.name)} WHERE (${condition}) IS NOT TRUE`);
    // The next ones join this one.
    await client.query(`ANALYZE ${stageName(table.name)}`);
  }

  const names = new Set(there.map(({ name }) => name));
  if (names.has('dag_run')) {
    const taken = await findTaken(client, state, stageName('dag_run'));
    const [blocker] = takenBlockers(state.facts.name, taken, load.clean);
    if (blocker) throw new LifeboatError('refused', blocker.message, { next: blocker.next });
  }
  await findGoneOn(load);
  if (names.has('dataset_dag_run_queue')) {
    // What waited at the time of the backup has been waited for since.
    await client.query(
      `DELETE FROM ${stageName('dataset_dag_run_queue')} q WHERE ${hasGoneOn('q.target_dag_id')}`,
    );
  }
}

/** What can be said of a row by itself: a COPY takes no subquery. */
function copyCondition(choice: Choice, table: ResolvedTable): string {
  if (table.name === 'dag_run') return runCondition(choice);
  const { chosen } = table;
  return chosen.by === 'dag' && !chosen.evenHeld ? dagCondition(choice, chosen.column) : 'true';
}

/** Every table after those that its rows are chosen by. */
function reductionOrder(tables: readonly ResolvedTable[]): readonly ResolvedTable[] {
  const byName = new Map(tables.map((table) => [table.name, table]));
  const items = tables.map((table) => {
    const { chosen } = table;
    const { references } = table;
    const parents =
      chosen.by === 'parents'
        ? chosen.columns.flatMap((column) => references[column] ?? [])
        : chosen.by === 'referrers' || (chosen.by === 'dag' && chosen.evenHeld)
          ? referrersOf(tables, table).map(({ child }) => child.name)
          : [];
    const linked = chosen.by === 'dag' ? table.ofRun.flatMap(({ of }) => (of === 'dag_run' ? [of] : [])) : [];
    return { name: table.name, parents: [...parents, ...linked] };
  });
  return topological(items).flatMap(({ name }) => byName.get(name) ?? []);
}

async function findGoneOn({ client, manifest, state }: LoadContext): Promise<void> {
  const runs = quoteTable(state.live.schema, 'dag_run');
  await client.query(
    `CREATE TEMPORARY TABLE ${quoteIdent(GONE_ON.replace('pg_temp.', ''))} ON COMMIT DROP AS
       SELECT DISTINCT dag_id FROM ${runs}
        WHERE coalesce(queued_at, start_date, execution_date) > ${quoteLiteral(manifest.snapshotTime)}::timestamptz`,
  );
}
