import type { RestClient } from './client.ts';
import { RestError } from './errors.ts';
import type { ListOptions } from './named.ts';
import { fits, getOne } from './one.ts';
import { allRows } from './pages.ts';
import { restPath } from './path.ts';
import type { AirflowDag } from './records.ts';

export interface Dags {
  /** Those that are not parsed any more too. */
  list(options?: ListOptions): Promise<readonly AirflowDag[]>;
  get(dagId: string): Promise<AirflowDag | undefined>;
  setPaused(dagId: string, paused: boolean): Promise<void>;
}

export function createDags(client: RestClient): Dags {
  const listing = client.dialect.lists.dags;
  const list = async ({ query }: ListOptions = {}): Promise<readonly AirflowDag[]> =>
    (await allRows(client, {
      ...listing,
      query: { ...listing.query, ...query },
    })) as readonly AirflowDag[];

  /** By a pattern, which stands in the query: the server looks for it anywhere in the id, and without regard to case. */
  const like = (dagId: string): Promise<readonly AirflowDag[]> => list({ query: { dag_id_pattern: dagId } });

  return {
    list,
    async get(dagId) {
      const path = restPath('/dags/{dagId}', { dagId });
      if (!fits(client, path)) return (await like(dagId)).find((dag) => dag.dag_id === dagId);
      return (await getOne(client, path)) as AirflowDag | undefined;
    },
    async setPaused(dagId, paused) {
      const path = restPath('/dags/{dagId}', { dagId });
      const body = { is_paused: paused };
      if (fits(client, path)) {
        await client.send({ method: 'PATCH', path, body });
        return;
      }
      const found = await like(dagId);
      if (found.length !== 1 || found[0]?.dag_id !== dagId) throw notAlone(client, dagId, found);
      await client.send({ method: 'PATCH', path: '/dags', query: { dag_id_pattern: dagId }, body });
    },
  };
}

/** The pattern would pause others as well. */
function notAlone(client: RestClient, dagId: string, found: readonly AirflowDag[]): RestError {
  const others = found.map((dag) => dag.dag_id).filter((other) => other !== dagId);
  return found.length === others.length
    ? new RestError(`${client.name} has no DAG ${dagId}.`, { code: 'answer', status: 404 })
    : new RestError(
        `The DAG id ${dagId} is too long for a path of ${client.name}, and a pattern would meet ${others.join(', ')} too.`,
        { code: 'path-too-long', next: 'Add &via=web to the mwaa:// URL: the web login has no such limit.' },
      );
}
