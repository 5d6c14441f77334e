import type { RestClient } from '../../rest/client.ts';
import { isRestError } from '../../rest/errors.ts';
import { deleteOne, fits } from '../../rest/one.ts';
import { allRows, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import type { Gaps } from '../rest/gaps.ts';
import { consumersOf, isAwaited, noWayTo, together } from '../rest/reading.ts';
import type { Refusal } from '../rest-restore/api.ts';
import { notWaitingFor500, unlessRefused } from '../rest-restore/refusal.ts';

/** Events of assets (datasets) in the queue of one asset of 3.x, or of one DAG of 2.x. */
export interface QueuedEvents {
  readonly path: string;
  readonly name: string;
  readonly events: number;
  /** ISO time after the newest of them: what comes later is not deleted. */
  readonly before: string;
}

const TABLES = { v1: 'dataset_dag_run_queue', v2: 'asset_dag_run_queue' } as const;

export async function findQueued(client: RestClient, gaps: Gaps): Promise<readonly QueuedEvents[]> {
  const { api, lists } = client.dialect;
  const table = TABLES[api];
  if (!client.offers('queuedEvents')) {
    gaps.whole(table, 'the API of this version does not show it');
    return [];
  }
  const assets = await allRows(client, lists.assets);
  // Of 3.x the path of an asset, which is short, and of 2.x that of a DAG, since it names assets by their URIs.
  const names =
    api === 'v2'
      ? assets.filter(isAwaited).map(({ id }) => String(id))
      : [...new Set(assets.flatMap(consumersOf))];
  const found = await together(names, async (name) => {
    const path = restPath(lists.queuedEvents.path, { id: name });
    if (!fits(client, path)) {
      gaps.row(table, name, noWayTo(client, path) ?? '');
      return undefined;
    }
    const rows = await queueOf(client, path);
    return rows.length === 0 ? undefined : { path, name, events: rows.length, before: after(rows) };
  });
  return found.filter((one) => one !== undefined);
}

async function queueOf(client: RestClient, path: string): Promise<readonly Row[]> {
  try {
    return await allRows(client, { ...client.dialect.lists.queuedEvents, path });
  } catch (thrown) {
    // So Airflow says that there is nothing in the queue.
    if (isRestError(thrown, 404)) return [];
    throw thrown;
  }
}

/** JavaScript's clock has milliseconds, Airflow's has microseconds. */
function after(rows: readonly Row[]): string {
  const times = rows.map(({ created_at: at }) => (typeof at === 'string' ? Date.parse(at) : NaN));
  return new Date(Math.max(...times.filter((time) => !Number.isNaN(time))) + 1).toISOString();
}

/** @returns how many were deleted */
export async function deleteQueued(
  client: RestClient,
  queued: readonly QueuedEvents[],
  refused: Refusal[],
): Promise<number> {
  const hasty = notWaitingFor500(client);
  let deleted = 0;
  await together(queued, async ({ path, name, events, before }) => {
    const what = { table: TABLES[client.dialect.api], name };
    await unlessRefused(refused, what, async () => {
      if (await deleteOne(hasty, path, { before })) deleted += events;
    });
  });
  return deleted;
}
