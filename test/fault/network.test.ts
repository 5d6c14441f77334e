import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import type { RestoreWay } from '../../src/engine/plans.ts';
import { restore } from '../../src/engine/restore.ts';
import { verify } from '../../src/engine/verify.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { copyDatabase, createDatabase, withClient, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint, withoutShadows, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import { startProxy, type TcpProxy } from '../helpers/tcp-proxy.ts';
import {
  backupRequest,
  context,
  environmentOf,
  EXHAUSTIVE,
  failure,
  growLog,
  makeDifferent,
  noSessions,
  objectsIn,
  restoreRequest,
  serverOf,
  sessionsOf,
  throughPort,
} from './world.ts';

const ROWS = 20_000;
/** Instead of 20 s; what follows (two attempts to reach the server, 5 s each) is the same. */
const STALL_MS = 500;
const LIMIT_MS = 40_000;

let source: TestDatabase;
let pristine: TestDatabase;
let target: TestDatabase;
let observer: pg.Client;
let untouched: DatabaseFingerprint;
const storage = createMemoryStorage();
let bytesOut: number;
const WAYS: readonly RestoreWay[] = ['in-place', 'shadow'];
/** What a restore that nobody disturbs sends to the server, and leaves there. */
const undisturbed = new Map<RestoreWay, { readonly bytes: number; readonly restored: DatabaseFingerprint }>();

beforeAll(async () => {
  source = await createDatabase();
  await growLog(await source.client(), ROWS);
  const out = await startProxy(serverOf(source.url));
  await backup(context(storage), backupRequest({ url: throughPort(source.url, out.port) }));
  bytesOut = out.bytes.toClient;
  await out.close();
  pristine = await createDatabase();
  await withClient(pristine.url, makeDifferent);
  untouched = await withClient(pristine.url, databaseFingerprint);
  for (const via of WAYS) {
    const reference = await copyDatabase(pristine);
    const into = await startProxy(serverOf(reference.url));
    await restore(context(storage), restoreRequest({ url: throughPort(reference.url, into.port) }, { via }));
    await into.close();
    const restored = await withClient(reference.url, databaseFingerprint);
    undisturbed.set(via, { bytes: into.bytes.toTarget, restored });
    await reference.drop();
  }
});
afterAll(() => Promise.all([source.drop(), pristine.drop()]));
beforeEach(async () => {
  target = await copyDatabase(pristine);
  observer = await target.client();
  return () => target.drop();
});

describe('a connection that goes silent', () => {
  test('in the middle of a backup: an error in time, nothing stored', async () => {
    const proxy = await startProxy(serverOf(source.url));
    proxy.blackhole(Math.round(bytesOut * 0.6));
    const before = await objectsIn(storage);
    const started = performance.now();
    const ctx = context(storage, { stallMs: STALL_MS });
    const error = await failure(backup(ctx, backupRequest({ url: throughPort(source.url, proxy.port) })));
    // Which of its connections notices first is open: the one that copies, or one that is just being made.
    expect(error.message).toMatch(
      /^The (connection to the )?database 127\.0\.0\.1:\d+\/\w+ (is dead|cannot be reached): /,
    );
    expect(performance.now() - started).toBeLessThan(LIMIT_MS);
    expect(await objectsIn(storage)).toEqual(before);
    await proxy.close();
    await noSessions(await source.client(), source);
  });

  const shares = EXHAUSTIVE ? [0.1, 0.3, 0.9] : [0.6];
  test.each(WAYS.flatMap((via) => shares.map((share) => [via, share] as const)))(
    'in the middle of a restore %s, after %f of it: the target as it was',
    async (via, share) => {
      const { bytes, restored } = expected(via);
      const proxy: TcpProxy = await startProxy(serverOf(target.url), () => {
        if (proxy.bytes.toTarget > bytes * share) proxy.blackhole();
        return 'pass';
      });
      const started = performance.now();
      const ctx = context(storage, { stallMs: STALL_MS });
      const error = await failure(
        restore(ctx, restoreRequest({ url: throughPort(target.url, proxy.port) }, { via })),
      );
      expect(error.message).toMatch(/(is dead|cannot be reached): /);
      expect(performance.now() - started).toBeLessThan(LIMIT_MS);
      // The server's side of it ends when its keep-alive does; here, with the proxy.
      await proxy.close();
      await noSessions(observer, target);
      expect(withoutShadows(await databaseFingerprint(observer))).toEqual(untouched);
      await restore(context(storage), restoreRequest(target, { via }));
      expect(await databaseFingerprint(observer)).toEqual(restored);
    },
  );
});

describe('a connection that is reset', () => {
  test.each([0.1, 0.6, 0.9])('after %f of a backup: a clear error, nothing stored', async (share) => {
    const before = await objectsIn(storage);
    const proxy: TcpProxy = await startProxy(serverOf(source.url), () => {
      if (proxy.bytes.toClient > bytesOut * share) setImmediate(proxy.cut);
      return 'pass';
    });
    const error = await failure(
      backup(context(storage), backupRequest({ url: throughPort(source.url, proxy.port) })),
    );
    expect(error.message).toMatch(/^The (connection to the )?database .* (was lost|cannot be reached)/);
    expect(await objectsIn(storage)).toEqual(before);
    await proxy.close();
  });

  test.each(WAYS.flatMap((via) => [0.2, 0.6, 0.95].map((share) => [via, share] as const)))(
    'in a restore %s, after %f of it: a clear error, the target as it was',
    async (via, share) => {
      const proxy: TcpProxy = await startProxy(serverOf(target.url), () => {
        if (proxy.bytes.toTarget > expected(via).bytes * share) setImmediate(proxy.cut);
        return 'pass';
      });
      const error = await failure(
        restore(context(storage), restoreRequest({ url: throughPort(target.url, proxy.port) }, { via })),
      );
      expect(error.message).toMatch(/^The (connection to )?(the database )?.*(was lost|cannot be reached)/);
      await proxy.close();
      await noSessions(observer, target);
      expect(withoutShadows(await databaseFingerprint(observer))).toEqual(untouched);
    },
  );

  test.each(WAYS.flatMap((via) => (['pass', 'drop'] as const).map((fate) => [via, fate] as const)))(
    'in a restore %s, with the answer to its COMMIT lost (%s): it asks what became of it',
    async (via, fate) => {
      const { restored } = expected(via);
      let cut = false;
      // Workers on a shadow commit too; the one that counts comes after the schema is gone.
      let last = via === 'in-place';
      const proxy: TcpProxy = await startProxy(serverOf(target.url), (direction, chunk) => {
        if (chunk.includes('DROP SCHEMA "lifeboat_')) last = true;
        if (!last || cut || direction === 'to-client' || !chunk.includes('COMMIT\0')) return 'pass';
        cut = true;
        setTimeout(proxy.cut, 300);
        silenced = true;
        return fate;
      });
      let silenced = false;
      const work = restore(
        context(storage),
        restoreRequest({ url: throughPort(target.url, proxy.port) }, { via }),
      );
      if (fate === 'pass') {
        // The server's answer may come before the cut; either way it is done.
        await work;
        expect(await databaseFingerprint(observer)).toEqual(restored);
      } else {
        const error = await failure(work);
        expect(error.message).toMatch(/was lost before the commit: the target is as it was\.$/);
        expect(withoutShadows(await databaseFingerprint(observer))).toEqual(untouched);
      }
      expect(silenced).toBe(true);
      await proxy.close();
    },
  );
});

describe('a server that ends our sessions', () => {
  test.each([5, 12])('in a backup, at part %i: a clear error, nothing stored', async (call) => {
    const before = await objectsIn(storage);
    const client = await source.client();
    const error = await failure(
      backup(
        context(beforeCall(storage, 'write', call, () => endSessions(client, source))),
        backupRequest(source),
      ),
    );
    expect(error.message).toMatch(/ended|terminated|closed|lost|shut/i);
    expect(await objectsIn(storage)).toEqual(before);
  });

  test('in a backup, at one of the last parts: whole if every row had been read, else nothing', async () => {
    const before = await objectsIn(storage);
    const client = await source.client();
    const outcome = await backup(
      context(beforeCall(storage, 'write', 24, () => endSessions(client, source))),
      backupRequest(source),
    ).then(
      ({ backupId }) => ({ backupId }),
      (error: unknown) => ({ error }),
    );
    if ('error' in outcome) {
      expect(String(outcome.error)).toMatch(/ended|terminated|closed|lost|shut/i);
      expect(await objectsIn(storage)).toEqual(before);
    } else {
      const whole = await verify(context(storage), {
        backup: outcome.backupId,
        environment: environmentOf(source),
      });
      expect(whole.differences).toEqual([]);
    }
  });

  test.each([
    ['in-place', 40],
    ['in-place', 50],
    ['shadow', 5],
    ['shadow', 25],
  ] as const)('in a restore %s, at read %i: a clear error, the target as it was', async (via, call) => {
    const error = await failure(
      restore(
        context(beforeCall(storage, 'read', call, () => endSessions(observer, target))),
        restoreRequest(target, { via }),
      ),
    );
    expect(error.message).toMatch(/ended|terminated|closed|lost|shut/i);
    await noSessions(observer, target);
    // The server can be reached: nothing is left behind.
    expect(await databaseFingerprint(observer)).toEqual(untouched);
  });
});

describe('a server with short limits of its own', () => {
  test('statement and idle timeouts of 200 ms end neither a backup nor a restore', async () => {
    const limits = ['statement_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout'];
    for (const database of [source, target]) {
      await withClient(database.url, async (client) => {
        for (const limit of limits) {
          await client.query(`ALTER DATABASE ${database.name} SET ${limit} = '200ms'`);
        }
      });
    }
    const slow = createMemoryStorage();
    const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 600));
    const { backupId } = await backup(context(beforeCall(slow, 'write', 3, pause)), backupRequest(source));
    await withClient(pristine.url, (client) => client.query('SELECT 1'));
    // One statement that lasts, and a pause in the transaction.
    await observer.query(`
      CREATE FUNCTION wait_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_sleep(0.6); RETURN NEW; END $$;
      CREATE TRIGGER wait_a_while BEFORE INSERT ON sla_miss FOR EACH STATEMENT EXECUTE FUNCTION wait_a_while()`);
    const result = await restore(
      context(beforeCall(slow, 'read', 50, pause)),
      restoreRequest(target, { backup: backupId }),
    );
    expect(result.loaded?.rows).toBeGreaterThan(ROWS);
    await withClient(source.url, async (client) => {
      for (const limit of limits) await client.query(`ALTER DATABASE ${source.name} RESET ${limit}`);
    });
  });
});

/** Does something before the n-th call of an operation. */
function beforeCall(
  inner: Storage,
  operation: 'read' | 'write',
  call: number,
  action: () => Promise<void>,
): Storage {
  let calls = 0;
  const before = async (): Promise<void> => {
    calls += 1;
    if (calls === call) await action();
  };
  return {
    ...inner,
    async read(key, options) {
      if (operation === 'read') await before();
      return inner.read(key, options);
    },
    async write(key, body, options) {
      if (operation === 'write') await before();
      await inner.write(key, body, options);
    },
  };
}

async function endSessions(client: pg.ClientBase, database: TestDatabase): Promise<void> {
  for (const pid of await sessionsOf(client, database)) {
    await client.query('SELECT pg_terminate_backend($1)', [pid]);
  }
}

function expected(via: RestoreWay): { readonly bytes: number; readonly restored: DatabaseFingerprint } {
  const found = undisturbed.get(via);
  if (!found) throw new Error(`No restore ${via} was tried.`);
  return found;
}
