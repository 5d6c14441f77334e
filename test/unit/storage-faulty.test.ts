import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import { type FaultMoment, faultyStorage, type StorageOperation } from '../helpers/faulty-storage.ts';

const MOMENTS: readonly (readonly [StorageOperation, FaultMoment])[] = [
  ...(['before', 'during', 'after'] as const).map((moment) => ['write', moment] as const),
  ...(['before', 'during', 'after'] as const).map((moment) => ['read', moment] as const),
  ...(['before', 'during', 'after'] as const).map((moment) => ['list', moment] as const),
  ...(['before', 'during', 'after'] as const).map((moment) => ['remove', moment] as const),
];

test.each(MOMENTS)('the second %s fails %s, and only that', async (operation, moment) => {
  const inner = createMemoryStorage();
  const storage = faultyStorage(inner);
  const run: Readonly<Record<StorageOperation, () => Promise<unknown>>> = {
    write: () => storage.write('new', Buffer.from('new')),
    read: async () => buffer(await storage.read('a')),
    list: async () => {
      for await (const { key } of storage.list('')) expect(key).not.toBe('');
    },
    remove: () => storage.remove(['a', 'b']),
  };
  await inner.write('a', Buffer.from('a'));
  await run[operation]();
  for (const key of ['a', 'b']) await inner.write(key, Buffer.from(key));
  await inner.remove(['new']);
  storage.fail({ operation, call: storage.calls[operation] + 1, moment });
  expect(storage.missed).toHaveLength(1);
  await expect(run[operation]()).rejects.toThrow(`The storage failed (${operation} 2, ${moment}).`);
  expect(storage.missed).toEqual([]);
  expect(storage.hit).toMatchObject([{ operation, moment }]);

  const left: string[] = [];
  for await (const { key } of inner.list('')) left.push(key);
  const removed = { before: ['a', 'b'], during: ['b'], after: [] }[moment];
  const written = moment === 'after' ? ['a', 'b', 'new'] : ['a', 'b'];
  expect(left).toEqual(operation === 'remove' ? removed : operation === 'write' ? written : ['a', 'b']);
  for (const key of ['a', 'b']) await inner.write(key, Buffer.from(key));
  await run[operation]();
});
