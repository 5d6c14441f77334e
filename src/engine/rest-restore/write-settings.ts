import { sendBulk } from '../../rest/bulk.ts';
import type { RestClient } from '../../rest/client.ts';
import { isRestError } from '../../rest/errors.ts';
import { createNamedResource, newBody } from '../../rest/named.ts';
import type { EngineContext } from '../api.ts';
import { isRefusal, notWaitingFor500 } from './refusal.ts';
import { DEFAULT_POOL, type Setting, type SettingSpec } from './settings.ts';

/** What Airflow did not take, in its words. */
export interface Refused {
  readonly name: string;
  readonly message: string;
}

export interface SettingsWritten {
  readonly added: readonly string[];
  readonly replaced: readonly string[];
  /** They came into the target since the plan was made. */
  readonly kept: readonly string[];
  readonly refused: readonly Refused[];
}

/** Of one bulk request; a row that Airflow does not take makes the others go one by one. */
const CHUNK = 50;

type What = 'added' | 'replaced';

/**
 * Adds and replaces pools, variables or connections: in bulk where there is a way to, and one by one where there is none or
 * where Airflow does not take one of the many. Repeating it does no harm.
 */
export async function writeSettings(
  ctx: EngineContext,
  client: RestClient,
  spec: SettingSpec,
  wishes: { readonly add: readonly Setting[]; readonly replace: readonly Setting[] },
  onDone: (rows: number) => void,
): Promise<SettingsWritten> {
  const hasty = notWaitingFor500(client);
  const done = { added: [] as string[], replaced: [] as string[], kept: [] as string[] };
  const refused: Refused[] = [];
  const settle = (names: readonly string[], what: keyof typeof done): void => {
    done[what].push(...names);
    onDone(names.length);
  };
  const work = async (settings: readonly Setting[], what: What): Promise<void> => {
    for (let at = 0; at < settings.length; at += CHUNK) {
      ctx.signal.throwIfAborted();
      const chunk = settings.slice(at, at + CHUNK);
      const taken = client.dialect.bulk ? await writeMany(hasty, spec, chunk, what) : undefined;
      if (taken !== undefined) {
        settle(taken, what);
        // Airflow skipped it: it is there by now.
        settle(
          namesOf(chunk).filter((name) => !taken.includes(name)),
          'kept',
        );
        continue;
      }
      for (const setting of chunk) {
        ctx.signal.throwIfAborted();
        try {
          settle([setting.name], (await writeOne(hasty, spec, setting, what)) ? what : 'kept');
        } catch (thrown) {
          if (!isRefusal(thrown)) throw thrown;
          refused.push({ name: setting.name, message: thrown.message });
        }
      }
    }
  };
  await work(wishes.add, 'added');
  await work(wishes.replace, 'replaced');
  return { ...done, refused };
}

function namesOf(settings: readonly Setting[]): readonly string[] {
  return settings.map(({ name }) => name);
}

/** Names that were written; undefined: Airflow did not take all, and whom it means it does not always say. */
async function writeMany(
  client: RestClient,
  { kind }: SettingSpec,
  settings: readonly Setting[],
  what: What,
): Promise<readonly string[] | undefined> {
  const root = client.dialect.lists[kind].path;
  const entities = settings.map(({ body }) => body);
  const onExistence = what === 'added' ? 'skip' : 'overwrite';
  try {
    const { done, errors } = await sendBulk(client, root, [
      { action: 'create', entities, action_on_existence: onExistence },
    ]);
    return errors.length === 0 ? done.create : undefined;
  } catch (thrown) {
    if (isRefusal(thrown)) return undefined;
    throw thrown;
  }
}

/** False: there is one of this name by now. */
async function writeOne(
  client: RestClient,
  { kind, key }: SettingSpec,
  { name, body }: Setting,
  what: What,
): Promise<boolean> {
  const root = client.dialect.lists[kind].path;
  const resource = createNamedResource(client, { list: kind, key });
  const fields = Object.fromEntries(Object.entries(body).filter(([field]) => field !== key));
  if (what === 'replaced') {
    await resource.update(name, name === DEFAULT_POOL ? slotsOf(fields) : fields);
    return true;
  }
  // Repeated, it meets itself: 409. v1 replaces a variable by itself.
  const repeatable = true;
  try {
    await client.send({ method: 'POST', path: root, body: newBody(client, kind, body), repeatable });
  } catch (thrown) {
    if (isRestError(thrown, 409)) return false;
    throw thrown;
  }
  const { description } = body;
  if (kind === 'variables' && typeof description === 'string' && !client.offers('describeVariable')) {
    await resource.update(name, { description });
  }
  return true;
}

/** By itself Airflow lets nothing else of the default pool be changed. */
function slotsOf({ slots, include_deferred: deferred }: Setting['body']): Setting['body'] {
  return { slots, ...(deferred === undefined ? {} : { include_deferred: deferred }) };
}
