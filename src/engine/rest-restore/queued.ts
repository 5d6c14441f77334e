import type { RestClient } from '../../rest/client.ts';
import { allRows, type Row } from '../../rest/pages.ts';
import type { Gaps } from '../rest/gaps.ts';
import type { BackupReader, StoredRecord } from './records.ts';
import { storedJson } from './stored-json.ts';
import type { TargetDag } from './target.ts';

/** An asset (dataset) whose event some DAGs wait with, for others that they wait for too. */
export interface QueuedAsset {
  readonly uri: string;
  /** Of its last event. */
  readonly extra: Row;
  /** DAGs that have it in their queue, and are let go in the target. */
  readonly dags: readonly string[];
  /** DAGs of the target that it would start or be queued for besides: they have had it, and are paused meanwhile. */
  readonly others: readonly string[];
}

const NAMES = [
  { queue: 'asset_dag_run_queue', asset: 'asset', event: 'asset_event', id: 'asset_id' },
  { queue: 'dataset_dag_run_queue', asset: 'dataset', event: 'dataset_event', id: 'dataset_id' },
] as const;

/** Per URI of an asset the DAGs that wait with it, and the extra of its last event. */
export async function readQueued(
  reader: BackupReader,
  isChosen: (dagId: string) => boolean,
): Promise<readonly Pick<QueuedAsset, 'uri' | 'extra' | 'dags'>[]> {
  const found = new Map<string, string[]>();
  const extras = new Map<string, Row>();
  for (const { queue, asset, event, id } of NAMES) {
    const uris = new Map<string, string>();
    for await (const row of reader.records(asset)) uris.set(row.id ?? '', row.uri ?? '');
    for await (const row of reader.records(queue)) {
      // v1 names it by its URI.
      const uri = row.uri ?? uris.get(row[id] ?? '');
      const dagId = row.target_dag_id ?? '';
      if (uri !== undefined && isChosen(dagId)) found.set(uri, [...(found.get(uri) ?? []), dagId]);
    }
    if (found.size === 0) continue;
    const last = new Map<string, StoredRecord>();
    for await (const row of reader.records(event)) {
      const uri = uris.get(row[id] ?? '') ?? '';
      if (found.has(uri) && (row.timestamp ?? '') >= (last.get(uri)?.timestamp ?? '')) last.set(uri, row);
    }
    for (const [uri, row] of last) extras.set(uri, extraOf(row));
  }
  return [...found].map(([uri, dags]) => ({ uri, dags, extra: extras.get(uri) ?? {} }));
}

function extraOf({ extra }: StoredRecord): Row {
  const value = storedJson(extra ?? null, 'json')?.value;
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Row) : {};
}

export interface QueuedWish {
  readonly client: RestClient;
  readonly dags: ReadonlyMap<string, TargetDag>;
  /** DAGs that will not be paused in the end. */
  readonly isLetGo: (dagId: string) => boolean;
}

const NOT_OFFERED = 'events of datasets can be created through the API from Airflow 2.9 on';
const NO_ASSET = 'no DAG of the target names this asset';
const NOT_WAITING = 'the target has no such DAG, or one that does not wait for this asset';
const PAUSED = 'its DAG is paused in the end, and Airflow queues nothing for such a one';

/** Which events are made again, so that DAGs go on waiting with them; the rest is named. */
export async function planQueued(
  queued: Awaited<ReturnType<typeof readQueued>>,
  { client, dags, isLetGo }: QueuedWish,
  gaps: Gaps,
): Promise<readonly QueuedAsset[]> {
  if (queued.length === 0) return [];
  const table = client.dialect.api === 'v1' ? 'dataset_dag_run_queue' : 'asset_dag_run_queue';
  const left = (uri: string, ids: readonly string[], reason: string): void => {
    for (const dagId of ids) gaps.row(table, `${dagId}: ${uri}`, reason);
  };
  const offered = client.offers('createAssetEvent');
  const assets = offered ? await allRows(client, client.dialect.lists.assets) : [];
  return queued.flatMap(({ uri, extra, dags: waiting }) => {
    const asset = assets.find((row) => row.uri === uri);
    if (asset === undefined) {
      left(uri, waiting, offered ? NO_ASSET : NOT_OFFERED);
      return [];
    }
    const consumers = consumersOf(asset).filter((dagId) => dags.has(dagId));
    const known = waiting.filter((dagId) => consumers.includes(dagId));
    const awake = known.filter(isLetGo);
    const without = (some: readonly string[], others: readonly string[]): readonly string[] =>
      some.filter((dagId) => !others.includes(dagId));
    left(uri, without(waiting, known), NOT_WAITING);
    left(uri, without(known, awake), PAUSED);
    const others = consumers.filter((dagId) => !awake.includes(dagId) && isLetGo(dagId));
    return awake.length === 0 ? [] : [{ uri, extra, dags: awake, others }];
  });
}

/** 3.x calls them scheduled_dags, 2.x and 3.0 consuming_dags. */
function consumersOf({ scheduled_dags: scheduled, consuming_dags: consuming }: Row): readonly string[] {
  const references = scheduled ?? consuming;
  return Array.isArray(references) ? references.map((one: Row) => String(one.dag_id)) : [];
}
