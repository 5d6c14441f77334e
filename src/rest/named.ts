import type { NamedList } from '../versions/rest.ts';
import { bulkError, sendBulk } from './bulk.ts';
import type { RestClient } from './client.ts';
import { isRestError, RestError } from './errors.ts';
import { deleteOne, fits, getOne, unreachable } from './one.ts';
import { allRows, pages, type Listing, type Page, type Row } from './pages.ts';
import { restPath } from './path.ts';
import type { RestRequest } from './transport.ts';

export interface ListOptions {
  /** Passed through: filters, fields, whatever this version of Airflow takes. */
  readonly query?: RestRequest['query'];
  /** Told of each row that the server fails at, with the row before it; absent: such a list is an error. */
  readonly onUnreadable?: Listing['onUnreadable'];
}

export interface UpdateOptions extends ListOptions {
  /** Names of the fields to write. Absent: those that are given. */
  readonly updateMask?: readonly string[];
}

/** Variables, connections and pools: things with a name that people choose. */
export interface NamedResource<Given extends Row, Found extends Row> {
  list(options?: ListOptions): Promise<readonly Found[]>;
  pages(options?: ListOptions): AsyncGenerator<Page, void, undefined>;
  /** Undefined: there is none of this name. */
  get(name: string): Promise<Found | undefined>;
  /** Fails when there is one of this name. */
  create(given: Given): Promise<Found>;
  /** Fails when there is none of this name. */
  update(name: string, fields: Partial<Given>, options?: UpdateOptions): Promise<Found>;
  /** True: it was there. */
  delete(name: string): Promise<boolean>;
}

export interface NamedSpec {
  readonly list: NamedList;
  /** Field of the name. */
  readonly key: string;
}

export function createNamedResource<Given extends Row, Found extends Row>(
  client: RestClient,
  { list, key }: NamedSpec,
): NamedResource<Given, Found> {
  const listing = client.dialect.lists[list];
  const root = listing.path;
  const one = (name: string): string => restPath(`${root}/{name}`, { name });
  const listingOf = ({ query, onUnreadable }: ListOptions = {}): Listing => ({
    ...listing,
    query: { ...listing.query, ...query },
    ...(onUnreadable === undefined ? {} : { onUnreadable }),
  });

  async function get(name: string): Promise<Found | undefined> {
    const path = one(name);
    if (!fits(client, path)) return (await findInList(client, listing, name)) as Found | undefined;
    return (await getOne(client, path)) as Found | undefined;
  }

  async function update(name: string, given: Partial<Given>, options: UpdateOptions = {}): Promise<Found> {
    const path = one(name);
    refuseDescription(client, list, given);
    const fields = changeBody(client, list, given);
    if (!fits(client, path)) {
      const body = { ...fields, [key]: name };
      await byBulk({ action: 'update', entities: [body], action_on_non_existence: 'fail' }, path);
      return body as unknown as Found;
    }
    const body = { ...client.dialect.filler[list], [key]: name, ...fields };
    const { updateMask = Object.keys(fields), query = {} } = options;
    // Its mask knows the value by a name that its body does not; without a mask all that is in the body is written.
    const unmasked = client.dialect.valueUnmaskable && list === 'variables' && updateMask.includes('value');
    const mask = unmasked ? {} : { update_mask: maskOf(client, updateMask) };
    const answer = await client.send({ method: 'PATCH', path, query: { ...mask, ...query }, body });
    return answer.body as Found;
  }

  /** In one request to the collection, for names that do not fit into a path. */
  async function byBulk(action: Parameters<typeof sendBulk>[2][number], path: string): Promise<void> {
    if (!client.dialect.bulk) throw unreachable(client, path);
    const [error] = (await sendBulk(client, root, [action])).errors;
    if (error !== undefined) throw bulkError(client, root, error);
  }

  return {
    list: async (options) => (await allRows(client, listingOf(options))) as readonly Found[],
    pages: (options) => pages(client, listingOf(options)),
    get,
    async create(given) {
      refuseDescription(client, list, given);
      // v1 writes over a variable that is there already, and says nothing.
      if (list === 'variables' && client.dialect.variablesOverwritten) {
        const name = String(given[key]);
        if ((await get(name)) !== undefined) throw exists(client, root, name);
      }
      const body = newBody(client, list, given);
      const created = (await client.send({ method: 'POST', path: root, body })).body as Found;
      const { description } = given;
      // 2.8 and older answer as if they had stored it.
      if (list !== 'variables' || typeof description !== 'string' || client.offers('describeVariable')) {
        return created;
      }
      return update(String(given[key]), { description } as unknown as Partial<Given>);
    },
    update,
    async delete(name) {
      const path = one(name);
      if (fits(client, path)) return deleteOne(client, path);
      try {
        await byBulk({ action: 'delete', entities: [name], action_on_non_existence: 'fail' }, path);
        return true;
      } catch (thrown) {
        if (isRestError(thrown, 404)) return false;
        throw thrown;
      }
    },
  };
}

/** Without the nulls that v1 refuses: what is left out is null there. */
export function newBody({ dialect }: RestClient, list: NamedList, given: Row): Row {
  const refused = dialect.nullsRefused[list];
  return Object.fromEntries(
    Object.entries(given).filter(([field, value]) => value !== null || !(field in refused)),
  );
}

/** With something else in the place of the nulls that v1 refuses, where that takes the value away. */
function changeBody({ dialect }: RestClient, list: NamedList, given: Row): Row {
  const refused = dialect.nullsRefused[list];
  return Object.fromEntries(
    Object.entries(given).flatMap(([field, value]) => {
      if (value !== null || !(field in refused)) return [[field, value]];
      const instead = refused[field] ?? null;
      return instead === null ? [] : [[field, instead]];
    }),
  );
}

/** 2.5 takes it, says that it is written, and drops it together with the one that was there. */
function refuseDescription(client: RestClient, list: NamedList, { description }: Row): void {
  const given = typeof description === 'string' && description !== '';
  if (list !== 'variables' || !given || client.offers('changeDescription')) return;
  throw new RestError(`Airflow ${client.airflow} cannot describe variables through its API.`, {
    code: 'not-offered',
    kind: 'unsupported',
    next: 'It came with Airflow 2.6. Leave the description out.',
  });
}

/** Through the list, which has no long paths and no slashes in them. */
async function findInList(client: RestClient, listing: Listing, name: string): Promise<Row | undefined> {
  let unreadable = 0;
  const onUnreadable = (): void => {
    unreadable += 1;
  };
  for await (const { rows } of pages(client, { ...listing, onUnreadable })) {
    const row = rows.find((candidate) => candidate[listing.key[0] ?? ''] === name);
    if (row !== undefined) return row;
  }
  if (unreadable === 0) return undefined;
  throw new RestError(
    `${client.name} fails at ${unreadable} rows of ${listing.path}: ${name} may be one of them.`,
    { code: 'answer', status: 500, next: 'The log of the API server says why.' },
  );
}

/** As this version takes it: a,b or the parameter once for each. */
function maskOf({ dialect }: RestClient, fields: readonly string[]): string | readonly string[] {
  return dialect.updateMask === 'commas' ? fields.join(',') : fields;
}

function exists(client: RestClient, root: string, name: string): RestError {
  return new RestError(`${client.name} has ${name} in ${root} already.`, {
    code: 'answer',
    status: 409,
    next: 'Update it instead.',
  });
}
