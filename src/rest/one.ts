import type { RestClient } from './client.ts';
import { isRestError, RestError } from './errors.ts';
import type { RestRequest } from './transport.ts';

/** One thing by its path. Undefined: Airflow has none there. */
export async function getOne(client: RestClient, path: string): Promise<unknown> {
  return (await unless404(client, { method: 'GET', path }))?.body;
}

/** True: it was there. */
export async function deleteOne(client: RestClient, path: string): Promise<boolean> {
  return (await unless404(client, { method: 'DELETE', path })) !== undefined;
}

async function unless404(
  client: RestClient,
  request: RestRequest,
): Promise<Awaited<ReturnType<RestClient['send']>> | undefined> {
  try {
    return await client.send(request);
  } catch (thrown) {
    if (isRestError(thrown, 404)) return undefined;
    throw thrown;
  }
}

export function fits({ limits }: RestClient, path: string): boolean {
  return limits.pathLength === undefined || path.length <= limits.pathLength;
}

export function tooLong({ name, limits }: RestClient, path: string): RestError {
  return new RestError(
    `${path} has ${path.length} characters, ${name} takes ${limits.pathLength ?? 0}, and this version of Airflow has no other way to it.`,
    {
      code: 'path-too-long',
      next: 'Add &via=web to the mwaa:// URL: the web login has no such limit.',
    },
  );
}
