import { isRestError } from '../../rest/errors.ts';
import { pages, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import { sendUnlessBroken } from '../../rest/unless-broken.ts';
import type { RestListName } from '../../versions/rest.ts';
import type { RestTable } from '../../versions/rest-tables.ts';
import {
  consumersOf,
  FAILS,
  isAwaited,
  listOf,
  noWayTo,
  together,
  writeRecords,
  type Reading,
} from './reading.ts';
import { LOST_FIELD, type LostFields } from './tables.ts';

/** Tables that tell of what happened, and that not every role may read. */
const MAY_BE_CLOSED: readonly string[] = ['log', 'import_error', 'dag_version', 'backfill'];

export interface SeenInLists {
  /** Assets that DAGs wait for. */
  readonly awaitedAssets: readonly string[];
  /** DAGs that wait for datasets. */
  readonly waitingDags: readonly string[];
}

/** Every table that is one list. */
export async function readLists(reading: Reading): Promise<SeenInLists> {
  const awaitedAssets: string[] = [];
  const waitingDags = new Set<string>();
  for (const table of reading.tables.values()) {
    const { read, name } = table.table;
    if (read.by !== 'list') continue;
    await unlessClosed(reading, name, async () => {
      for await (const { rows } of pages(reading.client, listOf(reading, read.list, name))) {
        const records = await withDetails(reading, table.table, rows);
        await writeRecords(table, records);
        if (read.list !== 'assets') continue;
        for (const row of rows) {
          if (isAwaited(row)) awaitedAssets.push(String(row.id));
          for (const dag of consumersOf(row)) waitingDags.add(dag);
        }
      }
    });
    await table.writer.end();
  }
  return { awaitedAssets, waitingDags: [...waitingDags] };
}

/** Lists of which there is one for each DAG or asset. */
export async function readPer(
  reading: Reading,
  by: 'perDag' | 'perAsset',
  idsOf: (list: RestListName) => readonly string[],
): Promise<void> {
  for (const table of reading.tables.values()) {
    const { read, name } = table.table;
    if (read.by !== by) continue;
    const listing = listOf(reading, read.list, name);
    await unlessClosed(reading, name, () =>
      together(idsOf(read.list), async (id) => {
        const own = listing.path.includes('{id}')
          ? { ...listing, path: restPath(listing.path, { id }) }
          : { ...listing, query: { ...listing.query, dag_id: id } };
        const noWay = noWayTo(reading.client, own.path);
        if (noWay !== undefined) {
          reading.gaps.row(name, id, noWay);
          return;
        }
        try {
          for await (const { rows } of pages(reading.client, own)) await writeRecords(table, rows);
        } catch (thrown) {
          // So Airflow says that there is nothing in the queue.
          if (!isRestError(thrown, 404)) throw thrown;
        }
      }),
    );
  }
}

/** A table that these credentials may not read is no reason to have no backup, if it tells of the past alone. */
async function unlessClosed(reading: Reading, name: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    if (!isRestError(thrown, 403) || !MAY_BE_CLOSED.includes(name)) throw thrown;
    const reason = 'these credentials may not read it';
    reading.gaps.whole(name, reason);
    reading.ctx.report({
      event: 'warning',
      code: 'rest-closed',
      message: `${name} is left out: ${reason}.`,
      next: 'Event logs need the role Admin.',
    });
  }
}

/** Fields that only the single record has. */
export async function withDetails(
  reading: Pick<Reading, 'client' | 'gaps'>,
  table: RestTable,
  rows: readonly Row[],
): Promise<readonly Row[]> {
  const { read } = table;
  if (read.by !== 'list' || read.details === undefined) return rows;
  const { details } = read;
  const list = listOf(reading, read.list, table.name);
  return together(rows, async (row) => {
    const name = String(row[list.key[0] ?? '']);
    const path = restPath(`${list.path}/{name}`, { name });
    const lost = (reason: string): Row => {
      const fields: LostFields = { columns: details, reason };
      return { ...row, [LOST_FIELD]: fields };
    };
    const noWay = noWayTo(reading.client, path);
    if (noWay !== undefined) return lost(noWay);
    try {
      const answer = await sendUnlessBroken(reading.client, { method: 'GET', path });
      if (answer === undefined) return lost(FAILS);
      const { body } = answer;
      return { ...row, ...(typeof body === 'object' && body !== null ? body : {}) };
    } catch (thrown) {
      if (isRestError(thrown, 404)) return lost('it was deleted while it was read');
      throw thrown;
    }
  });
}
