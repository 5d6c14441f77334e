import { parseRestAddress } from './address.ts';
import { type Assets, createAssets } from './assets.ts';
import type { RestClient } from './client.ts';
import { createDagRuns, type DagRuns } from './dag-runs.ts';
import { createDags, type Dags } from './dags.ts';
import { createNamedResource, type NamedResource } from './named.ts';
import { openRest, type OpenRestOptions } from './open.ts';
import type { AirflowConnection, AirflowPool, AirflowVariable, GivenVariable } from './records.ts';

/** An Airflow as its API shows it. Close it, or its connections keep the process alive for a while. */
export interface Airflow {
  readonly client: RestClient;
  readonly variables: NamedResource<GivenVariable, AirflowVariable>;
  readonly connections: NamedResource<AirflowConnection, AirflowConnection>;
  readonly pools: NamedResource<AirflowPool, AirflowPool>;
  readonly dags: Dags;
  readonly dagRuns: DagRuns;
  readonly assets: Assets;
  /** What 2.x calls them. */
  readonly datasets: Assets;
  close(): void;
}

export interface OpenAirflowOptions extends OpenRestOptions {
  /** Where LIFEBOAT_REST_* and AWS_REGION are looked up; usually process.env. The AWS SDK reads its own from the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** `https://…` or `mwaa://NAME?region=R`. */
export async function openAirflow(url: string, options: OpenAirflowOptions = {}): Promise<Airflow> {
  const { env, ...rest } = options;
  return airflowOf(await openRest(parseRestAddress(url, env), rest));
}

export function airflowOf(client: RestClient): Airflow {
  const assets = createAssets(client);
  return {
    client,
    variables: createNamedResource(client, { list: 'variables', key: 'key' }),
    connections: createNamedResource(client, { list: 'connections', key: 'connection_id' }),
    pools: createNamedResource(client, { list: 'pools', key: 'name' }),
    dags: createDags(client),
    dagRuns: createDagRuns(client),
    assets,
    datasets: assets,
    close: () => {
      client.close();
    },
  };
}
