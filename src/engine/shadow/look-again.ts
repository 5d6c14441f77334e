import type { Client } from 'pg';
import { quoteTable } from '../../db/introspect.ts';
import { LifeboatError } from '../../errors.ts';
import type { RestoreRequest } from '../api.ts';
import { findLiveRuns, livePredicate } from '../live-rows.ts';
import type { LoadContext } from '../load-context.ts';
import type { Manifest } from '../manifest.ts';
import { planRestore, refuseBlocked } from '../restore-plan.ts';
import type { Preview } from '../restore-preview.ts';
import { findRunningTasks } from '../running-tasks.ts';
import type { TargetState } from '../target-state.ts';
import { readDefinitions } from './definitions.ts';
import type { ShadowPlan } from './jobs.ts';

/** @throws LifeboatError 'failed' when a table is no longer what its shadow was made after */
export async function refuseChanged(client: Client, plan: ShadowPlan): Promise<void> {
  const names = plan.tables.map(({ name }) => name);
  const now = await readDefinitions(client, plan.place.live, names);
  const changed = names.filter(
    (name) =>
      JSON.stringify(now.find(({ table }) => table === name)) !== JSON.stringify(plan.definitions.get(name)),
  );
  if (changed.length === 0) return;
  throw new LifeboatError('failed', `Somebody changed the table ${changed.join(', ')} during the restore.`, {
    next: 'Nothing of the restore was done. Run it again.',
  });
}

/** Rows that the exchange will drop. Counted before anybody has to wait: the last few that come meanwhile are not in it. */
export async function countGone(client: Client, plan: ShadowPlan, load: LoadContext): Promise<number> {
  const counts = plan.tables.map((table) => {
    const stays = load.shadow?.stays(table) ?? 'false';
    return `SELECT pg_catalog.count(*) AS rows FROM ${quoteTable(plan.place.live, table.name)} WHERE (${stays}) IS NOT TRUE`;
  });
  const { rows } = await client.query<{ rows: string }>(
    `SELECT pg_catalog.sum(rows)::text AS rows FROM (${counts.join(' UNION ALL ')}) counts`,
  );
  return Number(rows[0]?.rows ?? 0);
}

/** What was refused at first sight is refused for good under the locks; here only what moves is looked at again. */
export async function lookAgain(
  client: Client,
  request: RestoreRequest,
  manifest: Manifest,
  { state, facts }: Preview,
  plan: ShadowPlan,
): Promise<void> {
  const { schema } = state.live;
  const runs = await findLiveRuns(client, schema, request);
  const tasks = plan.tables.find(({ name }) => name === 'task_instance');
  const counts = new Map(state.counts);
  if (!request.clean) {
    for (const table of plan.tables.filter(({ countsAsHistory }) => countsAsHistory)) {
      const live = livePredicate({ ...state, liveRuns: runs.live }, table) ?? 'false';
      const { rowCount } = await client.query(
        `SELECT FROM ${quoteTable(schema, table.name)} WHERE (${live}) IS NOT TRUE LIMIT 1`,
      );
      counts.set(table.name, { rows: rowCount ?? 0, live: 0 });
    }
  }
  const now: TargetState = {
    ...state,
    counts,
    liveRuns: runs.live,
    missingRuns: runs.missing,
    runningTasks: await findRunningTasks(client, schema, tasks && livePredicate(state, tasks)),
  };
  refuseBlocked(planRestore(manifest, now, request, facts).plan.blockers);
  const ids = (of: TargetState): string => of.liveRuns.map(({ id }) => id).join(', ');
  if (ids(now) === ids(state)) return;
  throw new LifeboatError(
    'failed',
    'A run of the target that was to survive is gone, or is another one now.',
    {
      next: 'Nothing was changed. Run it again.',
    },
  );
}
