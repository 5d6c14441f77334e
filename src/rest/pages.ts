import type { RestClient } from './client.ts';
import { isRestError, RestError } from './errors.ts';
import { createRecentKeys } from './recent-keys.ts';
import type { RestAnswer, RestRequest } from './transport.ts';

export type Row = Readonly<Record<string, unknown>>;

export interface Listing {
  readonly path: string;
  readonly rows: string;
  readonly key: readonly string[];
  readonly orderBy?: string;
  readonly query?: RestRequest['query'];
  /** A batch form: POST with the filters in the body, which leaves the path short and the filters long. */
  readonly form?: Row;
  /** Rows of a page that are asked for; the server may give fewer. */
  readonly pageSize?: number;
}

export interface Page {
  readonly rows: readonly Row[];
  /** Of the whole list, as the server counts it now. */
  readonly total: number;
  readonly bytes: number;
}

/** `[api] maximum_page_limit` of Airflow; more is cut to it without a word. */
const PAGE_SIZE = 100;
/** Fewer could not both repeat a row and bring a new one. */
const LEAST_OVERLAPPING = 2;
/** Share of the longest answer that a page may fill: rows are of different sizes. */
const FILL = 0.5;
/** Rows that may be deleted between two pages without anything being lost. */
const RECENT = 1_000;
/** Pages without a step forward. */
const MOST_STALLS = 3;
/** Pages that came well, before longer ones are tried again. */
const GROW_AFTER = 10;

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
  let stalls = 0;
  for (;;) {
    const overlap = recent.size() > 0 && pager.size() >= LEAST_OVERLAPPING ? 1 : 0;
    const from = Math.max(0, offset - overlap);
    const { rows, total, bytes } = await pager.fetch(from);
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
    if (fresh.length > 0) yield { rows: fresh, total, bytes };
    if (offset >= total) {
      if (told < total) throw changed(client, listing, told, total);
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

// --- one page ---

interface Pager {
  /** Rows that the next page asks for. */
  size(): number;
  fetch(from: number): Promise<Page>;
}

/** Asks for as many rows as come through: fewer when they are long or slow, and more again when that has passed. */
function createPager(client: RestClient, listing: Listing): Pager {
  const full = listing.pageSize ?? PAGE_SIZE;
  let most = full;
  let size = full;
  let good = 0;
  return {
    size: () => size,
    async fetch(from) {
      for (;;) {
        try {
          const page = readPage(client, listing, await sendPage(client, listing, from, size));
          good += 1;
          if (good % GROW_AFTER === 0) most = Math.min(full, most * 2);
          size = nextSize(client, page, size, most);
          return page;
        } catch (thrown) {
          if (size <= 1 || !isTooMuch(client, thrown)) throw thrown;
          good = 0;
          most = size = Math.floor(size / 2);
        }
      }
    },
  };
}

/** A page that is too long, or takes too long, is asked for in halves rather than ten times more. */
async function sendPage(
  client: RestClient,
  listing: Listing,
  from: number,
  size: number,
): Promise<RestAnswer> {
  const request = pageRequest(listing, from, size);
  if (size <= 1) return client.send(request);
  try {
    return await client.send(request, { attempts: 2 });
  } catch (thrown) {
    if (!isRestError(thrown) || !thrown.transient || isTooMuch(client, thrown)) throw thrown;
    return client.send(request);
  }
}

/** Of an answer over its limit MWAA says no more than of a server that failed. */
function isTooMuch({ limits }: RestClient, thrown: unknown): boolean {
  if (!isRestError(thrown)) return false;
  if (thrown.code === 'too-large' || thrown.code === 'no-answer') return true;
  return limits.answerBytes !== undefined && thrown.status >= 500;
}

/** As many rows as fill half of the longest answer, by the size of those that came; without a limit, all there may be. */
function nextSize(client: RestClient, { rows, bytes }: Page, size: number, most: number): number {
  const { answerBytes } = client.limits;
  const grown = Math.min(most, size * 2);
  if (answerBytes === undefined || rows.length === 0) return grown;
  const fitting = Math.floor((answerBytes * FILL) / (bytes / rows.length));
  return Math.max(1, Math.min(grown, fitting));
}

function pageRequest({ path, query, form, orderBy }: Listing, offset: number, limit: number): RestRequest {
  if (form !== undefined) {
    const order = orderBy === undefined ? {} : { order_by: orderBy };
    const body = { ...form, ...order, page_offset: offset, page_limit: limit };
    return { method: 'POST', path, body, repeatable: true, ...(query === undefined ? {} : { query }) };
  }
  // An order of the caller's own goes before; limit and offset are the pager's.
  return { method: 'GET', path, query: { order_by: orderBy, ...query, limit, offset } };
}

function readPage(client: RestClient, listing: Listing, { body, bytes }: RestAnswer): Page {
  const fields = typeof body === 'object' && body !== null ? (body as Row) : {};
  const rows = fields[listing.rows];
  const total = fields.total_entries;
  if (!Array.isArray(rows) || typeof total !== 'number') {
    throw new RestError(`${client.name} gave no list of ${listing.rows} at ${listing.path}.`, {
      code: 'not-airflow',
    });
  }
  return { rows: rows as readonly Row[], total, bytes };
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
