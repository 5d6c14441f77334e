import { createAssets } from '../../rest/assets.ts';
import { createDags } from '../../rest/dags.ts';
import { allRows } from '../../rest/pages.ts';
import type { AirflowAssetEvent } from '../../rest/records.ts';
import { stepName } from './journal.ts';
import type { QueuedAsset } from './queued.ts';
import { notWaitingFor500, unlessRefused } from './refusal.ts';
import type { RunsWork } from './restore-runs.ts';

/**
 * Makes one event for each asset that DAGs wait with. Airflow queues it for every DAG that waits for the asset and is not
 * paused, so those that have had it are paused for that moment. They are noted before, and let go by whoever finishes this.
 *
 * @returns URIs
 */
export async function restoreQueued(
  work: RunsWork,
  queued: readonly QueuedAsset[],
): Promise<readonly string[]> {
  const { ctx, journal, refused } = work;
  const client = notWaitingFor500(work.client);
  const assets = createAssets(client);
  const made: string[] = [];
  for (const { uri, extra, dags, others } of queued) {
    ctx.signal.throwIfAborted();
    const step = stepName('event', uri, ...dags);
    const entry = journal.get(step);
    if (entry?.state === 'done') continue;
    const what = { table: 'asset_event', name: uri };
    const done = await unlessRefused(refused, what, async () => {
      const lastBefore = entry === undefined ? await lastEvent(work, uri) : Number(entry.lastEvent);
      // An earlier try may have made it, and not heard of it.
      if (entry === undefined || (await lastEvent(work, uri)) === lastBefore) {
        await journal.write(step, { state: 'begun', item: uri, lastEvent: lastBefore });
        await pause(work, others);
        await assets.createEvent({ uri, extra });
        await letGo(work, others);
      }
      await journal.write(step, { state: 'done', item: uri, lastEvent: lastBefore });
      made.push(uri);
    });
    if (!done) await letGo(work, others);
  }
  return made;
}

async function lastEvent({ client }: RunsWork, uri: string): Promise<number> {
  const asset = await createAssets(client).find(uri);
  if (asset === undefined) return 0;
  const listing = client.dialect.lists.assetEvents;
  const filter = client.dialect.api === 'v1' ? { dataset_id: asset.id } : { asset_id: asset.id };
  const events = (await allRows(client, { ...listing, query: filter })) as readonly AirflowAssetEvent[];
  return Math.max(0, ...events.map(({ id }) => id));
}

async function pause({ client, journal }: RunsWork, dagIds: readonly string[]): Promise<void> {
  for (const dagId of dagIds) {
    await journal.write(stepName('dag', dagId), { state: 'begun', item: dagId, paused: false });
    await createDags(client).setPaused(dagId, true);
  }
}

async function letGo({ client, journal }: RunsWork, dagIds: readonly string[]): Promise<void> {
  for (const dagId of dagIds) await createDags(client).setPaused(dagId, false);
  await journal.forget(dagIds.map((dagId) => stepName('dag', dagId)));
}
