import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import { listBackups } from '../../src/engine/catalog.ts';
import { cleanup } from '../../src/engine/cleanup.ts';
import { prune } from '../../src/engine/prune.ts';
import { restore } from '../../src/engine/restore.ts';
import { verify } from '../../src/engine/verify.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { copyDatabase, createDatabase, withClient, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import {
  backupRequest,
  cleanupRequest,
  context,
  failure,
  makeDifferent,
  pruneRequest,
  restoreRequest,
  until,
  type TestContext,
} from './world.ts';

let source: TestDatabase;
let pristine: TestDatabase;
let target: TestDatabase;
let untouched: DatabaseFingerprint;
let restored: DatabaseFingerprint;
const storage = createMemoryStorage();

beforeAll(async () => {
  source = await createDatabase();
  await backup(context(storage), backupRequest(source));
  pristine = await createDatabase();
  await withClient(pristine.url, makeDifferent);
  const reference = await copyDatabase(pristine);
  untouched = await withClient(reference.url, databaseFingerprint);
  await restore(context(storage), restoreRequest(reference));
  restored = await withClient(reference.url, databaseFingerprint);
  await reference.drop();
});
afterAll(() => Promise.all([source.drop(), pristine.drop()]));
beforeEach(async () => {
  target = await copyDatabase(pristine);
  return () => target.drop();
});

describe('backups', () => {
  test('two at once both succeed, under ids of their own', async () => {
    const both = createMemoryStorage();
    // The same millisecond, as two schedulers would have it.
    const now = new Date();
    const [first, second] = await Promise.all(
      [1, 2].map(() => backup(context(both, { now: () => now }), backupRequest(source))),
    );
    expect(first?.backupId).not.toBe(second?.backupId);
    const { entries, incomplete } = await listBackups(both, new AbortController().signal);
    expect(entries).toHaveLength(2);
    expect(incomplete).toEqual([]);
    for (const { backupId } of entries) await verify(context(both), { backup: backupId });
  });

  test('a prune meanwhile leaves the running one alone', async () => {
    const shared = createMemoryStorage();
    const old = await backup(context(shared), backupRequest(source));
    const newer = await backup(context(shared), backupRequest(source));
    const gate = gated(shared, 10);
    const running = backup(context(gate.storage), backupRequest(source));
    await gate.reached;
    const { plan, removed } = await prune(context(shared), pruneRequest());
    expect(plan).toMatchObject({ remove: [old.backupId], debris: [], underWay: [expect.any(String)] });
    expect(removed).toMatchObject({ backups: 1, debris: 0 });
    gate.open();
    const { backupId } = await running;
    const { entries } = await listBackups(shared, new AbortController().signal);
    expect(entries.map((entry) => entry.backupId)).toEqual([backupId, newer.backupId]);
    for (const entry of entries) await verify(context(shared), { backup: entry.backupId });
  });
});

describe('restores', () => {
  test('of two at once one wins, and the other is told who works there', async () => {
    const holder = await hold(target);
    const winner = context(storage, { origin: 'pid 4711 on the-first' });
    const first = restore(winner, restoreRequest(target));
    await until(() => isLocked(target), 'the lock of the first');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const refused = await failure(restore(context(storage), restoreRequest(target)));
    expect(refused.kind).toBe('locked');
    expect(refused.message).toMatch(
      /lifeboat restore \(pid 4711 on the-first\) \(server process \d+.*, for [1-9]\d* s\)/,
    );
    expect(refused.next).toMatch(/pg_terminate_backend\(\d+\)/);

    const cleaning = await failure(cleanup(context(storage), cleanupRequest(target)));
    expect(cleaning.kind).toBe('locked');
    await release(holder);
    await first;
    expect(await withClient(target.url, databaseFingerprint)).toEqual(restored);
  });

  test('a cleanup holds the same lock', async () => {
    const holder = await hold(target);
    const running = cleanup(context(storage), cleanupRequest(target));
    await until(() => isLocked(target), 'the lock of the cleanup');
    const refused = await failure(restore(context(storage), restoreRequest(target)));
    expect(refused).toMatchObject({
      kind: 'locked',
      message: expect.stringContaining('lifeboat cleanup') as string,
    });
    await release(holder);
    await running;
  });

  test('many at once: each either restores all or is told of the lock', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 4 }, () => restore(context(storage), restoreRequest(target))),
    );
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused.length).toBeLessThan(4);
    for (const { reason } of refused) expect(reason).toMatchObject({ kind: 'locked' });
    const tables = (await withClient(target.url, databaseFingerprint)).tables;
    expect(tables['public."xcom"']).toBe(restored.tables['public."xcom"']);
  });

  test('waits for a backup of the same target, which has the state before', async () => {
    const other = createMemoryStorage();
    const gate = gated(other, 5);
    const running = backup(context(gate.storage), backupRequest(target));
    await gate.reached;
    const ctx = context(storage);
    const restoring = restore(ctx, restoreRequest(target));
    await until(() => isLocked(target), 'the lock of the restore');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(phases(ctx)).not.toContain('clean');
    gate.open();
    const { manifest } = await running;
    await restoring;
    expect(await withClient(target.url, databaseFingerprint)).toEqual(restored);
    await verify(context(other), { backup: 'latest' });
    for (const { name, rows } of manifest?.tables ?? []) {
      const before = untouched.tables[`public."${name}"`]?.split(' ')[0];
      // Only users that wrote notes are stored.
      if (name !== 'ab_user') expect(`${name} ${rows}`).toBe(`${name} ${before}`);
    }
  });
});

interface Gate {
  readonly storage: Storage;
  readonly reached: Promise<void>;
  open(): void;
}

/** Stops the n-th write, and all after it, until it is opened. */
function gated(inner: Storage, call: number): Gate {
  let calls = 0;
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  let reach = (): void => undefined;
  const reached = new Promise<void>((resolve) => (reach = resolve));
  return {
    reached,
    open: () => {
      open();
    },
    storage: {
      ...inner,
      async write(key, body, options) {
        calls += 1;
        if (calls === call) reach();
        if (calls >= call) await opened;
        await inner.write(key, body, options);
      },
    },
  };
}

/** A reader that keeps TRUNCATE out, so that whoever cleans has to wait with its lock held. */
async function hold(database: TestDatabase): Promise<pg.Client> {
  const client = await database.client();
  await client.query('BEGIN; SELECT count(*) FROM xcom');
  return client;
}

async function release(client: pg.Client): Promise<void> {
  await client.query('ROLLBACK');
  await client.end();
}

function isLocked(database: TestDatabase): Promise<boolean> {
  return withClient(database.url, async (client) => {
    const { rowCount } = await client.query(
      `SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()`,
    );
    return rowCount === 1;
  });
}

function phases({ events }: TestContext): readonly string[] {
  return events.flatMap((event) => (event.event === 'phase' ? [event.phase] : []));
}
