import type { RestClient } from './client.ts';
import { isRestError, type RestError } from './errors.ts';
import type { RestAnswer, RestRequest } from './transport.ts';

/** Behind the end of a list that is short everywhere: no row of it can spoil the answer. */
const PROBE: RestRequest = { method: 'GET', path: '/pools', query: { limit: 1, offset: 1_000_000_000 } };

/** With one request in ten failing by chance, one value in ten thousand is taken for broken. */
const TRIES = 4;

/**
 * The answer, or undefined where the server fails at this one thing: a value that cannot be written as JSON, a row that
 * its Fernet key does not read. A server that fails at everything is not taken for that: between two failures it must
 * have answered something else, for which it is given the usual time.
 */
export async function sendUnlessBroken(
  client: RestClient,
  request: RestRequest,
): Promise<RestAnswer | undefined> {
  const isBroken = (error: RestError): boolean => failsAtIt(client, error);
  const once = (): Promise<RestAnswer | undefined> =>
    client.send(request, { final: isBroken }).catch((thrown: unknown) => {
      if (isRestError(thrown) && isBroken(thrown)) return undefined;
      throw thrown;
    });
  for (let tries = 1; ; tries++) {
    const answer = await once();
    if (answer !== undefined || tries === TRIES) return answer;
    await client.send(PROBE);
  }
}

/** Of an answer over its limit MWAA says no more than of a server that failed. */
function failsAtIt({ limits }: RestClient, { code, status }: RestError): boolean {
  if (status === 500 || code === 'too-large') return true;
  return limits.answerBytes !== undefined && (code === 'no-answer' || status > 500);
}
