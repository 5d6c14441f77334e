import { isRestError } from '../../rest/errors.ts';
import { allRows, pages, type Listing, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import { sendUnlessBroken } from '../../rest/unless-broken.ts';
import { UNREADABLE_COLUMN } from '../../versions/rest-tables.ts';
import { nameOfRun, type RunKey } from './read-tasks.ts';
import { FAILS, listOf, noWayTo, together, type Reading } from './reading.ts';

/** The run of an XCom; v1 tells it by its date alone. Undefined: not one of those that are read. */
export type RunOf = (xcom: Row) => RunKey | undefined;

/** All XComs of the runs that `runOf` knows, page by page, with their values. */
export async function* xcomPages(
  reading: Reading,
  runOf: RunOf,
): AsyncGenerator<readonly Row[], void, undefined> {
  for await (const { rows } of pages(reading.client, listOf(reading, 'xcoms', 'xcom'))) {
    const known = rows.flatMap((row) => {
      const run = runOf(row);
      return run === undefined ? [] : [{ run, row }];
    });
    yield await together(known, ({ run, row }) => withValue(reading, run, row));
  }
}

/** The XComs of one run; where no path leads to them, none and a gap. */
export async function xcomsOf(reading: Reading, run: RunKey): Promise<readonly Row[]> {
  const { dagId, runId } = run;
  const path = restPath('/dags/{dagId}/dagRuns/{runId}/taskInstances/~/xcomEntries', { dagId, runId });
  const noWay = noWayTo(reading.client, path);
  if (noWay !== undefined) {
    reading.gaps.row('xcom', `${nameOfRun(run)}/…`, noWay);
    return [];
  }
  const listing: Listing = { ...listOf(reading, 'xcoms', 'xcom'), path };
  const rows = await allRows(reading.client, listing);
  return together(rows, (row) => withValue(reading, run, row));
}

async function withValue(reading: Reading, { dagId, runId }: RunKey, row: Row): Promise<Row> {
  const { client, gaps } = reading;
  const named = { ...row, run_id: runId, map_index: row.map_index ?? -1 };
  const [taskId, key] = [String(row.task_id), String(row.key)];
  const path = restPath('/dags/{dagId}/dagRuns/{runId}/taskInstances/{taskId}/xcomEntries/{key}', {
    dagId,
    runId,
    taskId,
    key,
  });
  const { xcomColumn } = client.dialect;
  const lost = (reason: string): Row => {
    gaps.value('xcom', xcomColumn, `${dagId}/${runId}/${taskId}/${key}`, reason);
    return { ...named, [UNREADABLE_COLUMN]: xcomColumn };
  };
  const noWay = noWayTo(client, path);
  if (noWay !== undefined) return lost(noWay);
  const query = {
    ...(client.offers('xcomMapIndex') ? { map_index: named.map_index as number } : {}),
    ...(client.dialect.api === 'v2' ? { stringify: false } : {}),
  };
  try {
    const answer = await sendUnlessBroken(client, { method: 'GET', path, query, exactNumbers: true });
    return answer === undefined ? lost(FAILS) : { ...named, value: (answer.body as Row).value };
  } catch (thrown) {
    if (!isRestError(thrown) || thrown.status === 0 || thrown.transient) throw thrown;
    return lost(`the API answers ${thrown.status} for its value`);
  }
}
