import type { RestClient } from '../../rest/client.ts';
import { createDags } from '../../rest/dags.ts';
import type { EngineContext } from '../api.ts';
import type { RestDagsPlan } from '../plans.ts';
import type { Refusal } from './api.ts';
import { notWaitingFor500, unlessRefused } from './refusal.ts';

/** Pausing first: what must not run any more does not start while others are let go. */
export async function setPauseStates(
  ctx: EngineContext,
  client: RestClient,
  { pause, unpause }: Pick<RestDagsPlan, 'pause' | 'unpause'>,
  refused: Refusal[],
): Promise<{ readonly paused: readonly string[]; readonly unpaused: readonly string[] }> {
  const dags = createDags(notWaitingFor500(client));
  if (pause.length + unpause.length > 0) {
    ctx.report({ event: 'phase', phase: 'finish', message: 'Setting the pause states of DAGs' });
  }
  const set = async (dagIds: readonly string[], paused: boolean): Promise<readonly string[]> => {
    const done: string[] = [];
    for (const dagId of dagIds) {
      ctx.signal.throwIfAborted();
      await unlessRefused(refused, { table: 'dag', name: dagId }, async () => {
        await dags.setPaused(dagId, paused);
        done.push(dagId);
      });
    }
    return done;
  };
  return { paused: await set(pause, true), unpaused: await set(unpause, false) };
}
