import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type pg from 'pg';
import { backup } from '../../src/engine/backup.ts';
import { listBackups } from '../../src/engine/catalog.ts';
import { journalPrefix, lockKey } from '../../src/engine/layout.ts';
import { prune } from '../../src/engine/prune.ts';
import { restore } from '../../src/engine/restore.ts';
import { verify } from '../../src/engine/verify.ts';
import { LifeboatError } from '../../src/errors.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import {
  faultyStorage,
  type FaultMoment,
  type FaultyStorage,
  type StorageFault,
  type StorageOperation,
} from '../helpers/faulty-storage.ts';
import { databaseFingerprint, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import {
  backupRequest,
  context,
  EXHAUSTIVE,
  failure,
  growLog,
  makeDifferent,
  objectsIn,
  pruneRequest,
  readObject,
  restoreRequest,
} from './world.ts';

/** Tables of every kind: merged, loaded as they are, staged. All calls of a run over them are failed. */
const TABLES = EXHAUSTIVE ? {} : { tables: ['variable', 'slot_pool', 'job', 'log', 'sla_miss'] };
const MOMENTS: readonly FaultMoment[] = ['before', 'during', 'after'];
const OPERATIONS: readonly StorageOperation[] = ['write', 'read', 'list', 'remove'];

let source: TestDatabase;
let target: TestDatabase;
let observer: pg.Client;
let untouched: DatabaseFingerprint;
/** Holds two backups, a restore's journal of the first, and a lock that was left; never written to by a test. */
const base = createMemoryStorage();
let ids: readonly string[];
let faults = 0;

beforeAll(async () => {
  source = await createDatabase();
  target = await createDatabase();
  observer = await target.client();
  await makeDifferent(observer);
  const first = await backup(context(base), backupRequest(source, TABLES));
  const second = await backup(context(base), backupRequest(source, TABLES));
  ids = [first.backupId, second.backupId];
  // As a restore through the REST API notes it; the first backup is the one that a prune removes.
  await base.write(`${journalPrefix(first.backupId, '0123456789ab')}run-0.json`, Buffer.from('{}'));
  await base.write(lockKey('0123456789ab', 'left'), Buffer.from('{}'));
  untouched = await databaseFingerprint(observer);
});
afterAll(async () => {
  console.log(`Storage faults met: ${faults}.`);
  await Promise.all([source.drop(), target.drop()]);
});

describe('every storage call of a backup fails once', () => {
  const run = (storage: Storage): Promise<unknown> => backup(context(storage), backupRequest(source, TABLES));

  test('no incomplete backup is listed, and earlier ones are untouched', async () => {
    const earlier = await objectsIn(base);
    await failEvery(run, async (fault, storage) => {
      expect(await completeIds(storage), name(fault)).toEqual(ids);
      expect(await objectsIn(storage), name(fault)).toMatchObject(earlier);
      if (fault.operation === 'write') {
        // The storage works again: the parts of the failed backup were taken back at once.
        expect(await objectsIn(storage), name(fault)).toEqual(earlier);
      }
    });
  });

  test('also when the remains cannot be removed', async () => {
    const { write: writes } = await callsOf(run);
    for (const moment of MOMENTS) {
      for (const removed of MOMENTS) {
        const storage = faultyStorage(await copyOf(base));
        storage.fail(fault('write', writes, moment));
        storage.fail(fault('remove', 1, removed));
        await failure(run(storage));
        expect(storage.missed).toEqual([]);
        faults += 2;
        // Written, the answer lost, and not to be removed: then it must be whole.
        for (const id of await completeIds(storage)) await verify(context(storage), { backup: id });
      }
    }
  });
});

describe('a storage that fails while a large part waits for it', () => {
  test('ends the backup, although the compression is full and nobody reads it', async () => {
    const large = await createDatabase();
    await growLog(await large.client(), 20_000);
    const error = new LifeboatError('failed', 'Full.', { next: 'Make room.' });
    const full: Storage = {
      ...createMemoryStorage(),
      async write(_key, body) {
        if (body instanceof Uint8Array) return;
        const chunks = body[Symbol.asyncIterator]();
        await chunks.next();
        // Meanwhile the compression fills its output and the socket is paused.
        await new Promise((resolve) => setTimeout(resolve, 500));
        throw error;
      },
    };
    expect(await failure(backup(context(full), backupRequest(large, { jobs: 1 })))).toBe(error);
  }, 20_000);
});

describe('every storage call of a restore fails once', () => {
  test('the target is as it was', async () => {
    const scratch = await createDatabase();
    const calls = await callsOf((storage) => restore(context(storage), restoreRequest(scratch)));
    await failEvery(
      (storage) => restore(context(storage), restoreRequest(target)),
      async (fault) => {
        expect(await databaseFingerprint(observer), name(fault)).toEqual(untouched);
      },
      calls,
    );
  });
});

describe('every storage call of a verify fails once', () => {
  test('a storage that fails is not a damaged backup', async () => {
    await failEvery(
      (storage) => verify(context(storage), { backup: 'latest' }),
      (_fault, _storage, error) => {
        expect(error.kind).toBe('failed');
        return Promise.resolve();
      },
    );
  });
});

describe('every storage call of a prune fails once', () => {
  test('what is listed afterwards is whole, and the next prune finishes the work', async () => {
    // The lock is old enough by then.
    const tomorrow = (): Date => new Date(Date.now() + 25 * 3_600_000);
    const run = (storage: Storage): Promise<unknown> =>
      prune(context(storage, { now: tomorrow }), pruneRequest());
    await failEvery(run, async (fault, storage) => {
      const listed = await completeIds(storage);
      expect(listed, name(fault)).toContain(ids[1]);
      for (const id of listed) await verify(context(storage), { backup: id });
      await prune(context(storage, { now: () => new Date(Date.now() + 48 * 3_600_000) }), pruneRequest());
      expect(Object.keys(await objectsIn(storage)).every((key) => key.includes(ids[1] ?? '-'))).toBe(true);
    });
  });
});

type Calls = Readonly<Record<StorageOperation, number>>;
type Run = (storage: Storage) => Promise<unknown>;

/** For all n: runs on a copy of the storage with call n failing, and checks what is left. */
async function failEvery(
  run: Run,
  check: (fault: StorageFault, storage: Storage, error: LifeboatError) => Promise<void>,
  known?: Calls,
): Promise<void> {
  const calls = known ?? (await callsOf(run));
  for (const operation of OPERATIONS) {
    for (let call = 1; call <= calls[operation]; call++) {
      for (const moment of MOMENTS) {
        const inner = await copyOf(base);
        const storage = faultyStorage(inner);
        const planned = fault(operation, call, moment);
        storage.fail(planned);
        const error = await failure(run(storage));
        expect(storage.hit, name(planned)).toEqual([planned]);
        expect(error, name(planned)).toBe(planned.error);
        faults += 1;
        await check(planned, inner, error);
      }
    }
  }
}

async function callsOf(run: Run): Promise<Calls> {
  const storage: FaultyStorage = faultyStorage(await copyOf(base));
  await run(storage);
  return storage.calls;
}

/** The error of a driver, as the contract of the storage has it. */
function fault(operation: StorageOperation, call: number, moment: FaultMoment): StorageFault {
  const error = new LifeboatError('failed', `Cannot ${operation} (${call}, ${moment}).`, {
    next: 'Check the storage.',
  });
  return { operation, call, moment, error };
}

function name({ operation, call, moment }: StorageFault): string {
  return `${operation} ${call} ${moment}`;
}

async function copyOf(storage: Storage): Promise<Storage> {
  const copy = createMemoryStorage();
  for await (const { key } of storage.list('')) await copy.write(key, await readObject(storage, key));
  return copy;
}

async function completeIds(storage: Storage): Promise<readonly string[]> {
  const { entries } = await listBackups(storage, new AbortController().signal);
  for (const entry of entries) expect(entry.problem).toBeUndefined();
  return entries.map((entry) => entry.backupId).sort();
}
