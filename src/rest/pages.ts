import type { RestClient } from './client.ts';
import { RestError } from './errors.ts';
import { createPager, type Listing, type Page, type Row } from './pager.ts';
import { createRecentKeys } from './recent-keys.ts';

export type { Listing, Page, Row } from './pager.ts';

/** Fewer could not both repeat a row and bring a new one. */
const LEAST_OVERLAPPING = 2;
/** Rows that may be deleted between two pages without anything being lost. */
const RECENT = 1_000;
/** Pages without a step forward. */
const MOST_STALLS = 3;

/**
 * A list page by page, each row once, whatever happens to the list meanwhile. Airflow counts pages by offset: rows that
 * come in stand at the end (the order is by a key that grows), but one that is deleted moves all behind it forward, and
 * the next page would begin too late. So every page begins with the last row of the page before; when it is not there,
 * pages are gone back until a known row is found.
 */
export async function* pages(client: RestClient, listing: Listing): AsyncGenerator<Page, void, undefined> {
  const keyOf = (row: Row): string => JSON.stringify(listing.key.map((field) => row[field]));
  const recent = createRecentKeys(RECENT);
  const pager = createPager(client, listing);
  let offset = 0;
  let told = 0;
  let lost = 0;
  let lostInRow = 0;
  let stalls = 0;
  let last: Row | undefined;
  let behindUnreadable = false;
  for (;;) {
    const mayOverlap = recent.size() > 0 && !behindUnreadable && pager.size() >= LEAST_OVERLAPPING;
    const overlap = mayOverlap ? 1 : 0;
    const from = Math.max(0, offset - overlap);
    const { rows, total, bytes, unreadable } = await pager.fetch(from);
    behindUnreadable = unreadable;
    if (unreadable) {
      if (from >= offset) {
        lost += 1;
        lostInRow += 1;
        listing.onUnreadable?.(last, lostInRow);
      }
      offset = from + 1;
      if (offset < total) continue;
      if (listing.countsAll !== true && told + lost < total) throw changed(client, listing, told, total);
      return;
    }
    const keys = rows.map(keyOf);
    const known = overlap === 0 ? 0 : recent.knownIn(keys);
    if (known === -1 && from > 0) {
      offset = Math.max(0, from - pager.size() + 1);
      continue;
    }
    // At the beginning, and nothing of what was remembered is left: whether the rest was told, nobody knows any more.
    if (known === -1 && rows.length > 0 && told > RECENT) throw changed(client, listing, told, total);
    const fresh = rows.filter((_row, at) => at >= known && !recent.has(keys[at] ?? ''));
    for (const row of fresh) recent.add(keyOf(row));
    stalls = from + rows.length > offset ? 0 : stalls + 1;
    offset = from + rows.length;
    told += fresh.length;
    last = fresh.at(-1) ?? last;
    if (fresh.length > 0) lostInRow = 0;
    if (fresh.length > 0) yield { rows: fresh, total, bytes };
    // Behind its last row comes nothing, whatever the number says.
    if (listing.countsAll === true && (stalls > 0 || offset >= total)) return;
    if (offset >= total) {
      if (told + lost < total) throw changed(client, listing, told, total);
      return;
    }
    // Counted before they were deleted, once or twice; but a list that never comes is not taken for a short one.
    if (stalls >= MOST_STALLS) throw shortList(client, listing, offset, total);
  }
}

/** All rows, for lists that are short. */
export async function allRows(client: RestClient, listing: Listing): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for await (const page of pages(client, listing)) rows.push(...page.rows);
  return rows;
}

function shortList(client: RestClient, { path }: Listing, from: number, total: number): RestError {
  return new RestError(
    `${client.name} says that ${path} has ${total} rows, and gives none from the ${from + 1}. on.`,
    {
      code: 'list-changed',
      next: 'Run it again. If it stays, the user may not read all of them.',
    },
  );
}

function changed(client: RestClient, { path }: Listing, told: number, total: number): RestError {
  return new RestError(
    `${path} of ${client.name} changed while it was listed: ${told} of ${total} rows came.`,
    {
      code: 'list-changed',
      next: 'Run it again, at best while nothing is deleted there.',
    },
  );
}
