import type { RestClient } from '../../rest/client.ts';
import { isRefusal, notWaitingFor500 } from '../rest-restore/refusal.ts';

/** When a scheduler was last heard of: ISO time. Null: never, or the API does not tell. */
export async function schedulerHeartbeat(client: RestClient): Promise<string | null> {
  try {
    const { body } = await notWaitingFor500(client).send({ method: 'GET', path: client.dialect.health });
    const { scheduler } = body as { scheduler?: { latest_scheduler_heartbeat?: unknown } | null };
    const beat = scheduler?.latest_scheduler_heartbeat;
    const time = typeof beat === 'string' ? Date.parse(beat) : NaN;
    return Number.isNaN(time) ? null : new Date(time).toISOString();
  } catch (thrown) {
    if (isRefusal(thrown)) return null;
    throw thrown;
  }
}
