import type { RestClient } from '../../rest/client.ts';
import { pages } from '../../rest/pages.ts';
import type { RestTable } from '../../versions/rest-tables.ts';
import type { LeftOut } from '../plans.ts';
import { createGaps } from './gaps.ts';
import { NOTHING_GIVEN } from './given.ts';
import { withDetails } from './read-lists.ts';
import { listOf } from './reading.ts';
import { planTable, SECRET_FLAGS } from './tables.ts';

/** The secrets that the API hides, by table, columns and names: what somebody inside Airflow would have to hand over. */
export async function findMasked(
  client: RestClient,
  tables: readonly RestTable[],
): Promise<readonly LeftOut[]> {
  const gaps = createGaps();
  for (const table of tables) {
    if (SECRET_FLAGS[table.name] === undefined || table.read.by !== 'list') continue;
    const { row } = planTable(table, { omit: false, given: NOTHING_GIVEN }, gaps);
    for await (const { rows } of pages(client, listOf({ client, gaps }, table.read.list, table.name))) {
      for (const record of await withDetails({ client, gaps }, table, rows)) row(record);
    }
  }
  return gaps.list().filter(({ columns }) => columns !== undefined);
}
