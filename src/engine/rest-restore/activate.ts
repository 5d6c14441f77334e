import { LifeboatError } from '../../errors.ts';
import { allRows } from '../../rest/pages.ts';
import type { RestClient } from '../../rest/client.ts';
import type { ActivateRequest, ActivateResult, EngineContext } from '../api.ts';
import { resolveBackup } from '../catalog.ts';
import { type ManifestTable, storedTable } from '../manifest.ts';
import type { RestDagsPlan } from '../plans.ts';
import { checkParts } from '../verify-parts.ts';
import type { Refusal } from './api.ts';
import { whileLocked } from './lock.ts';
import { setPauseStates } from './pause-states.ts';
import { dagChooser, planDags } from './plan-dags.ts';
import { recordsOf, type StoredRecord } from './records.ts';
import { isParsed, runsDue, toDag } from './target.ts';

/** As in ActivateRequest, of an Airflow whose API is all that is reached. */
export interface RestActivateRequest extends Pick<ActivateRequest, 'backup' | 'dags' | 'dryRun'> {
  /** Connected; the caller closes it. */
  readonly client: RestClient;
  /** hold: DAGs whose catchup would start runs of the past stay paused. */
  readonly catchup: 'hold' | 'start';
}

export interface RestActivateResult extends ActivateResult, Pick<RestDagsPlan, 'held' | 'startsOne'> {
  /** What Airflow did not take. */
  readonly refused: readonly Refusal[];
  readonly requests: number;
}

const DAG = 'dag';

/** As activate, through the REST API: DAG by DAG, and done twice it changes nothing. */
export async function activateThroughRest(
  ctx: EngineContext,
  request: RestActivateRequest,
): Promise<RestActivateResult> {
  const { client, backup, dryRun } = request;
  const { backupId, manifest } = await resolveBackup(ctx, backup);
  const stored = storedTable(manifest, DAG);
  if (stored === undefined) {
    throw new LifeboatError('usage', `Backup ${backupId} holds no DAGs.`, {
      next: 'Use a backup that was made with the table dag.',
    });
  }
  await checkParts(ctx, manifest, { countRows: false, only: DAG });
  const work = (locked: EngineContext): Promise<RestActivateResult> =>
    activateStored(locked, request, backupId, stored);
  // What a restore under way has paused would be taken for the state that it was in.
  return dryRun ? work(ctx) : whileLocked(ctx, client.name, work);
}

async function activateStored(
  ctx: EngineContext,
  { client, dags: pattern, catchup, dryRun }: RestActivateRequest,
  backupId: string,
  stored: ManifestTable,
): Promise<RestActivateResult> {
  const rows = await allRows(client, client.dialect.lists.dags);
  const target = new Map(rows.filter(isParsed).map((row) => [String(row.dag_id), toDag(row)]));
  const records: StoredRecord[] = [];
  for await (const record of recordsOf(ctx, stored)) records.push(record);
  const now = ctx.now().getTime();
  const plan = await planDags(records, target, {
    pauseState: 'backup',
    catchup,
    isChosen: dagChooser(pattern === undefined ? undefined : [pattern], undefined),
    runsDue: (dag) => runsDue(client, dag, now),
  });
  const refused: Refusal[] = [];
  const { paused, unpaused } = dryRun
    ? { paused: plan.pause, unpaused: plan.unpause }
    : await setPauseStates(ctx, client, plan, refused);
  const { unchanged, carrying, missing, held, startsOne } = plan;
  return {
    backupId,
    unpaused,
    paused,
    unchanged,
    carrying,
    missing,
    held,
    startsOne,
    refused,
    requests: client.requests(),
  };
}
