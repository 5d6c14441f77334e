import type { RestClient } from './client.ts';
import { RestError } from './errors.ts';
import type { ListOptions } from './named.ts';
import { allRows } from './pages.ts';
import type { AirflowAsset, AirflowAssetEvent } from './records.ts';

export interface GivenAssetEvent {
  /** Of a dataset (2.x) or asset (3.x) that a DAG of this environment names. */
  readonly uri: string;
  readonly extra?: Readonly<Record<string, unknown>>;
}

export interface Assets {
  list(options?: ListOptions): Promise<readonly AirflowAsset[]>;
  /** By its whole URI. */
  find(uri: string): Promise<AirflowAsset | undefined>;
  events(options?: ListOptions): Promise<readonly AirflowAssetEvent[]>;
  /** Starts the DAGs that wait for it. From Airflow 2.9 on. */
  createEvent(given: GivenAssetEvent): Promise<AirflowAssetEvent>;
}

/** Datasets of 2.x and assets of 3.x in one: what they are called is the dialect's business. */
export function createAssets(client: RestClient): Assets {
  const { assets, lists } = client.dialect;
  const all = async ({ query = {} }: ListOptions = {}): Promise<readonly AirflowAsset[]> =>
    (await allRows(client, {
      ...lists.assets,
      query: { ...lists.assets.query, ...query },
      countsAll: lists.assets.countsUnfiltered === true && Object.keys(query).length > 0,
    })) as readonly AirflowAsset[];
  // Pattern characters of a URI match themselves too, so nothing that is looked for stays out.
  const find = async (uri: string): Promise<AirflowAsset | undefined> =>
    (await all({ query: { uri_pattern: uri } })).find((asset) => asset.uri === uri);

  return {
    list: all,
    find,
    events: async ({ query } = {}) =>
      (await allRows(client, {
        ...lists.assetEvents,
        ...(query === undefined ? {} : { query }),
      })) as readonly AirflowAssetEvent[],
    async createEvent({ uri, extra = {} }) {
      if (!client.offers('createAssetEvent')) {
        throw new RestError(`Airflow ${client.airflow} cannot create events of datasets through its API.`, {
          code: 'not-offered',
          kind: 'unsupported',
          next: 'It came with Airflow 2.9.',
        });
      }
      const named = assets.eventNames === 'uri' ? { dataset_uri: uri } : { asset_id: await idOf(uri) };
      const path = `${assets.root}/events`;
      return (await client.send({ method: 'POST', path, body: { ...named, extra } }))
        .body as AirflowAssetEvent;
    },
  };

  async function idOf(uri: string): Promise<number> {
    const asset = await find(uri);
    if (asset !== undefined) return asset.id;
    throw new RestError(`${client.name} knows no asset ${uri}.`, {
      code: 'answer',
      status: 404,
      next: 'An asset is there when a DAG that names it has been parsed.',
    });
  }
}
