import type { RestClient } from './client.ts';
import { isRestError, RestError } from './errors.ts';
import type { RestRequest } from './transport.ts';

/** One thing by its path. Undefined: Airflow has none there. */
export async function getOne(client: RestClient, path: string, exactNumbers = false): Promise<unknown> {
  return (await unless404(client, { method: 'GET', path, exactNumbers }))?.body;
}

/** True: it was there. */
export async function deleteOne(
  client: RestClient,
  path: string,
  query: RestRequest['query'] = {},
): Promise<boolean> {
  return (await unless404(client, { method: 'DELETE', path, query })) !== undefined;
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

/** False: no request gets there, since the way or the server does not take such a path. */
export function fits({ limits, dialect }: RestClient, path: string): boolean {
  return (limits.pathLength === undefined || path.length <= limits.pathLength) && !hasSlash(dialect, path);
}

/** Servers of 2.x decode a slash before they look for the route; only keys of variables may hold one there. */
function hasSlash({ slashPaths }: RestClient['dialect'], path: string): boolean {
  return slashPaths !== null && path.includes('%2F') && !path.startsWith(slashPaths);
}

export function unreachable({ name, limits, dialect, airflow }: RestClient, path: string): RestError {
  if (hasSlash(dialect, path)) {
    return new RestError(`Airflow ${airflow} does not find ${path}: the id in it has a slash.`, {
      code: 'not-offered',
    });
  }
  return new RestError(
    `${path} has ${path.length} characters, ${name} takes ${limits.pathLength ?? 0}, and this version of Airflow has no other way to it.`,
    {
      code: 'path-too-long',
      next: 'Add &via=web to the mwaa:// URL: the web login has no such limit.',
    },
  );
}
