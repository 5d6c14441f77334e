import type { RestClient } from './client.ts';
import { isRestError, RestError } from './errors.ts';
import { failing } from './retry.ts';
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
  /** It has no pages: every answer has all rows. */
  readonly whole?: boolean;
  /** Its number of rows is of more than this list: where it ends, a page says that has no more. */
  readonly countsAll?: boolean;
  /** Rows of a page that are asked for; the server may give fewer. */
  readonly pageSize?: number;
  /** As in RestRequest. */
  readonly exactNumbers?: boolean;
  /**
   * Told of a row that the server fails at: a variable that its Fernet key does not read makes every page with it a 500.
   * `after` is the nearest readable row before it, `nth` counts those that follow one another. Absent: such a list is an error.
   */
  readonly onUnreadable?: (after: Row | undefined, nth: number) => void;
}

export interface Page {
  readonly rows: readonly Row[];
  /** Of the whole list, as the server counts it now. */
  readonly total: number;
  readonly bytes: number;
}

/** One page, or none: the server fails at its first row. */
export interface Fetched extends Page {
  readonly unreadable: boolean;
}

export interface Pager {
  /** Rows that the next page asks for. */
  size(): number;
  fetch(from: number): Promise<Fetched>;
}

/** `[api] maximum_page_limit` of Airflow; more is cut to it without a word. */
const PAGE_SIZE = 100;
/** Share of the longest answer that a page may fill: rows are of different sizes. */
const FILL = 0.5;
/** Pages that came well, before longer ones are tried again. */
const GROW_AFTER = 10;
/** Tries of a page; what fails twice is asked for in halves rather than ten times more. */
const ATTEMPTS = 2;
/** Pages that do not grow behind one that the server failed at: the row at fault is near. */
const CAREFUL = 2;
/** Behind the end of every list. */
const BEYOND = 1_000_000_000;

/** Asks for as many rows as come through: fewer when they are long or slow, and more again when that has passed. */
export function createPager(client: RestClient, listing: Listing): Pager {
  const full = listing.pageSize ?? PAGE_SIZE;
  let most = full;
  let size = full;
  let good = 0;
  let careful = 0;
  const next = (page: Page): void => {
    good += 1;
    if (good % GROW_AFTER === 0) most = Math.min(full, most * 2);
    if (careful === 0) size = nextSize(client, page, size, most);
    else careful -= 1;
  };
  return {
    size: () => size,
    async fetch(from) {
      for (;;) {
        try {
          const page = await fetchPage(client, listing, from, size);
          next(page);
          return { ...page, unreadable: false };
        } catch (thrown) {
          const failed = isRestError(thrown, 500);
          if (failed && size <= 1) {
            const page = await fetchLast(client, listing, from);
            if (page.unreadable) {
              size = most;
              careful = 0;
            }
            return page;
          }
          if (size <= 1 || (!failed && !isTooMuch(client, thrown))) throw thrown;
          good = 0;
          size = Math.floor(size / 2);
          // Of a 500 the length may be innocent.
          if (failed) careful = CAREFUL;
          else most = size;
        }
      }
    },
  };
}

/**
 * One row, for which the server failed: it is at fault, or a server whose database is away. A page behind the end, which
 * no row can spoil, is tried until it comes; what the row still fails at then is the row's.
 */
async function fetchLast(client: RestClient, listing: Listing, from: number): Promise<Fetched> {
  const { total } = readPage(client, listing, await client.send(pageRequest(listing, BEYOND, 1)));
  try {
    return { ...(await fetchPage(client, listing, from, 1)), unreadable: false };
  } catch (thrown) {
    if (!isRestError(thrown, 500)) throw thrown;
    if (listing.onUnreadable === undefined) throw unlistable(listing, thrown);
    return { rows: [], total, bytes: 0, unreadable: true };
  }
}

async function fetchPage(client: RestClient, listing: Listing, from: number, size: number): Promise<Page> {
  return readPage(client, listing, await sendPage(client, listing, from, size));
}

async function sendPage(
  client: RestClient,
  listing: Listing,
  from: number,
  size: number,
): Promise<RestAnswer> {
  const request = pageRequest(listing, from, size);
  try {
    return await client.send(request, { attempts: ATTEMPTS });
  } catch (thrown) {
    if (!isRestError(thrown) || !thrown.transient || thrown.status === 500) throw thrown;
    if (size > 1 && isTooMuch(client, thrown)) throw thrown;
    return client.send(request, { final: failing(ATTEMPTS) });
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

function pageRequest(listing: Listing, offset: number, limit: number): RestRequest {
  const { path, query, form, orderBy, exactNumbers = false } = listing;
  if (form !== undefined) {
    const order = orderBy === undefined ? {} : { order_by: orderBy };
    const body = { ...form, ...order, page_offset: offset, page_limit: limit };
    return {
      method: 'POST',
      path,
      body,
      repeatable: true,
      exactNumbers,
      ...(query === undefined ? {} : { query }),
    };
  }
  if (listing.whole === true) {
    return { method: 'GET', path, exactNumbers, ...(query === undefined ? {} : { query }) };
  }
  // An order of the caller's own goes before; limit and offset are the pager's.
  return { method: 'GET', path, query: { order_by: orderBy, ...query, limit, offset }, exactNumbers };
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

function unlistable({ path }: Listing, thrown: RestError): RestError {
  return new RestError(`${thrown.message.replace(/\.$/, '')}: it fails at one row of ${path}.`, {
    code: 'answer',
    status: thrown.status,
    next: 'The log of the API server says why: a variable or connection that its Fernet key does not read, for one.',
    cause: thrown,
  });
}
