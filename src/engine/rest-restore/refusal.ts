import type { RestClient } from '../../rest/client.ts';
import { isRestError, RestError } from '../../rest/errors.ts';
import { failing } from '../../rest/retry.ts';
import { isRepeatable } from '../../rest/transport.ts';
import type { Refusal } from './api.ts';

/** Airflow's no to this one thing. 500: it failed at it, again and again. Everything else may end with the next try. */
const REFUSALS: readonly number[] = [400, 404, 405, 409, 413, 415, 422, 500];
const REFUSAL_CODES: readonly RestError['code'][] = ['path-too-long', 'not-offered', 'too-large'];

/** Whether the restore goes on without it; it is named then. */
export function isRefusal(thrown: unknown): thrown is RestError {
  return (
    thrown instanceof RestError && (REFUSALS.includes(thrown.status) || REFUSAL_CODES.includes(thrown.code))
  );
}

/**
 * Does one thing of many. What Airflow says no to is named, and does not stop the rest.
 *
 * @returns whether it was done
 */
export async function unlessRefused(
  refused: Refusal[],
  what: Omit<Refusal, 'message'>,
  work: () => Promise<void>,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown;
    refused.push({ ...what, message: thrown.message });
    return false;
  }
}

const ATTEMPTS = 3;

/** A server that answers 500 fails at this very thing, and is asked three times; one that is away is waited for. */
export function notWaitingFor500(client: RestClient): RestClient {
  return {
    ...client,
    async send(request, options) {
      try {
        return await client.send(request, { attempts: ATTEMPTS, ...options });
      } catch (thrown) {
        if (!isRestError(thrown) || !thrown.transient || thrown.status === 500) throw thrown;
        const mayRepeat = isRepeatable(request) || ['unreachable', 'throttled'].includes(thrown.code);
        if (!mayRepeat) throw thrown;
        return client.send(request, { final: failing(ATTEMPTS), ...options });
      }
    },
  };
}
