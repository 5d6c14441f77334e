import type { RestClient } from '../../rest/client.ts';
import { fits } from '../../rest/one.ts';
import type { Listing, Row } from '../../rest/pages.ts';
import type { RestListName } from '../../versions/rest.ts';
import type { EngineContext } from '../api.ts';
import type { Gaps } from './gaps.ts';
import type { PlannedTable } from './tables.ts';
import type { TableWriter } from './table-writer.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A table of the backup under way. */
export interface OpenTable extends PlannedTable {
  readonly writer: TableWriter;
}

/** What everything that reads has in common. */
export interface Reading {
  readonly ctx: EngineContext;
  readonly client: RestClient;
  readonly gaps: Gaps;
  /** Those that are chosen. */
  readonly tables: ReadonlyMap<string, OpenTable>;
}

const TOO_LONG = 'its path is longer than InvokeRestApi takes; &via=web has no such limit';
const SLASH = 'its name has a slash, and this API does not find such a path';

/** Why a request cannot get there; undefined: it can. */
export function noWayTo(client: RestClient, path: string): string | undefined {
  if (fits(client, path)) return undefined;
  const { pathLength } = client.limits;
  return pathLength !== undefined && path.length > pathLength ? TOO_LONG : SLASH;
}

/** Why something is not in a backup that the server itself cannot tell. */
export const FAILS =
  'the API fails at it (500): a Fernet key that does not read it, or a value that is no JSON';

/** A list of the API, read for a table: a row that the server itself fails at is a gap, and not the end of the backup. */
export function listOf(
  { client, gaps }: Pick<Reading, 'client' | 'gaps'>,
  name: RestListName,
  table: string,
): Listing {
  const list = client.dialect.lists[name];
  if (list === undefined) throw new Error(`${client.dialect.api} has no list ${name}`);
  return {
    ...list,
    exactNumbers: true,
    onUnreadable: (after, nth) => {
      gaps.row(table, placeOf('row', nth, after && nameOf(list.key, after)), FAILS);
    },
  };
}

/** Of a row without a name: `the row after X`. Those that follow one another are told apart, or they would count as one. */
export function placeOf(what: string, nth: number, after: string | undefined): string {
  const number = nth === 1 ? '' : `${nth}. `;
  return after === undefined ? `the ${nth}. ${what}` : `the ${number}${what} after ${after}`;
}

function nameOf(key: readonly string[], row: Row): string {
  return key.map((field) => String(row[field])).join('/');
}

/** Requests that are begun together; the client lets through as many as its way allows. */
const TOGETHER = 8;

export async function writeRecords(table: OpenTable, records: readonly Fields[]): Promise<void> {
  await table.writer.write(records.map((record) => table.row(record)));
}

/** Each with the next free hand; the results in the order of the items. The first failure ends it. */
export async function together<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  const queue = items.entries();
  let failed = false;
  const hand = async (): Promise<void> => {
    for (const [at, item] of queue) {
      if (failed) return;
      try {
        results[at] = await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(TOGETHER, items.length) }, hand));
  return results;
}

/** An asset that DAGs wait for. */
export function isAwaited(asset: Row): boolean {
  // 3.0 calls them consuming_dags.
  const dags = asset.scheduled_dags ?? asset.consuming_dags;
  return Array.isArray(dags) && dags.length > 0;
}

/** DAGs that wait for a dataset. */
export function consumersOf({ consuming_dags: dags }: Row): readonly string[] {
  if (!Array.isArray(dags)) return [];
  return dags.flatMap((dag: unknown) => {
    const id: unknown = typeof dag === 'object' && dag !== null ? Reflect.get(dag, 'dag_id') : undefined;
    return typeof id === 'string' ? [id] : [];
  });
}
