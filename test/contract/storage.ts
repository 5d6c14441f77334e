import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LifeboatError, ObjectExistsError, ObjectNotFoundError } from '../../src/errors.ts';
import { compareKeys } from '../../src/storage/keys.ts';
import type { Storage, StoredObject } from '../../src/storage/storage.ts';
import { chunksOf, peakMemory } from '../helpers/bytes.ts';

export interface StorageUnderTest {
  readonly storage: Storage;
  /** A second instance on the same place, as another process would have it. */
  readonly other: Storage;
  close(): Promise<void>;
}

export interface ContractOptions {
  /** Bytes of the large object; none for a driver that keeps its objects in memory. */
  readonly large?: number;
  /** How much the resident set may grow while the large object goes in and out. */
  readonly memory?: number;
}

const MIB = 1024 * 1024;
/** More than one part of a multipart upload, so that the parts must be taken back, too. */
const TWO_PARTS = 17 * MIB;

/** Every numbered promise of src/storage/storage.ts, against one driver. */
export function describeStorageContract(
  name: string,
  open: () => Promise<StorageUnderTest>,
  { large = 0, memory = 128 * MIB }: ContractOptions = {},
): void {
  describe(`storage contract: ${name}`, () => {
    let under: StorageUnderTest;
    let storage: Storage;
    let other: Storage;
    beforeAll(async () => {
      under = await open();
      ({ storage, other } = under);
    });
    afterAll(() => under.close());

    const put = (key: string, text: string): Promise<void> => storage.write(key, Buffer.from(text));
    const get = async (key: string): Promise<string> => (await buffer(await other.read(key))).toString();
    const keys = async (prefix: string): Promise<string[]> =>
      (await listed(other, prefix)).map(({ key }) => key);

    describe('1: whole or not at all', () => {
      test.each([
        ['before its first byte', 0],
        ['in a small body', 1000],
        ['in the middle of a large body', TWO_PARTS],
      ])('a body that throws %s leaves no object and not an earlier one', async (_when, bytes) => {
        await put('1/earlier', 'earlier');
        await expect(storage.write('1/throws', failingBody(bytes))).rejects.toThrow('the body broke');
        await expect(storage.write('1/earlier', failingBody(bytes))).rejects.toThrow('the body broke');
        expect(await keys('1/')).toEqual(['1/earlier']);
        expect(await get('1/earlier')).toBe('earlier');
      });

      test('an overwrite is seen as the old object or the new one, never as a mixture', async () => {
        const bodies = ['a', 'b'].map((letter) => Buffer.alloc(3 * MIB, letter));
        await storage.write('1/swapped', bodies[0] ?? Buffer.alloc(0));
        const writer = { done: false };
        const reader = (async () => {
          const seen = new Set<number>();
          while (!writer.done) {
            const bytes = await buffer(await other.read('1/swapped'));
            const which = bodies.findIndex((body) => body.equals(bytes));
            expect(which).toBeGreaterThanOrEqual(0);
            seen.add(which);
            // In memory a read never waits, and a loop of reads would keep the writer's timer from running.
            await sleep(1);
          }
          return seen;
        })();
        for (let round = 0; round < 12; round++) {
          await storage.write('1/swapped', Readable.from([bodies[(round + 1) % 2]]));
          await sleep(5);
        }
        writer.done = true;
        expect([...(await reader)].sort()).toEqual([0, 1]);
      });

      test('a body that fails is closed, so that what feeds it ends as well', async () => {
        const controller = new AbortController();
        // In the middle, however fast the storage takes it.
        async function* stopped(): AsyncGenerator<Uint8Array> {
          let sent = 0;
          for await (const chunk of chunksOf(64 * MIB)) {
            sent += chunk.length;
            if (sent > 8 * MIB) controller.abort(new Error('stop'));
            yield chunk;
          }
        }
        const body = Readable.from(stopped());
        const writing = storage.write('1/closed', body, { signal: controller.signal });
        await expect(writing).rejects.toThrow('stop');
        await expect.poll(() => body.destroyed).toBe(true);
        expect(await keys('1/closed')).toEqual([]);
      });
    });

    describe('2: read after write', () => {
      test.each([
        ['bytes', Buffer.from('some bytes')],
        ['nothing', Buffer.alloc(0)],
        ['all byte values', Buffer.from(Array.from({ length: 256 }, (_value, index) => index))],
      ])('%s, whole and streamed, come back at once', async (_what, bytes) => {
        await storage.write('2/whole', bytes);
        expect(await buffer(await other.read('2/whole'))).toEqual(bytes);
        await storage.write('2/streamed', Readable.from([bytes]));
        expect(await buffer(await other.read('2/streamed'))).toEqual(bytes);
        const [entry] = await listed(other, '2/whole');
        expect(entry).toMatchObject({ key: '2/whole', bytes: bytes.length });
        expect(Math.abs(Date.now() - (entry?.modified.getTime() ?? 0))).toBeLessThan(60_000);
      });

      test('a body without any chunk is an empty object', async () => {
        await storage.write('2/empty', Readable.from([]));
        expect(await get('2/empty')).toBe('');
      });

      test('a plain generator is a body, and the view of a larger buffer is only its own bytes', async () => {
        await storage.write('2/view', Buffer.from('0123456789').subarray(2, 5));
        expect(await get('2/view')).toBe('234');
        await storage.write('2/generator', chunksOf(3 * MIB));
        expect((await buffer(await other.read('2/generator'))).length).toBe(3 * MIB);
      });
    });

    describe('3: reading', () => {
      test('a missing key, and one that is only the beginning of another, reject before a byte', async () => {
        await put('3/folder/object', 'x');
        for (const key of ['3/missing', '3/folder', 'nowhere/at/all', '3/folder/object/below']) {
          await expect(storage.read(key)).rejects.toThrow(ObjectNotFoundError);
          await expect(storage.read(key)).rejects.toMatchObject({ kind: 'not-found', key });
        }
      });

      test.each([
        [{ start: 0 }, '0123456789'],
        [{ start: 3 }, '3456789'],
        [{ start: 0, end: 0 }, '0'],
        [{ start: 2, end: 4 }, '234'],
        [{ start: 9 }, '9'],
        [{ start: 7, end: 100 }, '789'],
      ])('the range %j is %s', async (range, expected) => {
        await put('3/range', '0123456789');
        expect((await buffer(await storage.read('3/range', { range }))).toString()).toBe(expected);
      });

      test.each([
        [{ start: 10 }],
        [{ start: 99, end: 100 }],
        [{ start: -1 }],
        [{ start: 4, end: 3 }],
        [{ start: 0.5 }],
      ])('the range %j is refused', async (range) => {
        await put('3/range', '0123456789');
        await expect(storage.read('3/range', { range })).rejects.toThrow(LifeboatError);
      });

      test('a range of a missing key is a missing key, and no range fits an empty object', async () => {
        await put('3/empty', '');
        await expect(storage.read('3/none', { range: { start: 1 } })).rejects.toThrow(ObjectNotFoundError);
        await expect(storage.read('3/empty', { range: { start: 0 } })).rejects.toThrow(LifeboatError);
      });

      test('many readers of one object, and readers that leave early, do not disturb each other', async () => {
        await storage.write('3/shared', chunksOf(2 * MIB));
        const whole = await digest(chunksOf(2 * MIB));
        const readers = Array.from({ length: 8 }, async (_value, index) => {
          const stream = await storage.read('3/shared');
          if (index % 2 === 0) {
            expect(await digest(stream)).toBe(whole);
            return;
          }
          if (index % 4 === 1) for await (const chunk of stream) if (chunk) break;
          stream.destroy();
        });
        await Promise.all(readers);
      });
    });

    describe('4: listing', () => {
      const names = ['a-b', 'a.b', 'a/b-c', 'a/b/c', 'a/b0', 'a0', 'ab', 'B', 'z/z', '\uffee', '\u{1f6df}'];

      test('every key of the prefix, ordered by its UTF-8 bytes', async () => {
        for (const name of names) await put(`4/order/${name}`, name);
        const expected = names.map((name) => `4/order/${name}`).sort(compareKeys);
        expect(await keys('4/order/')).toEqual(expected);
        for (const prefix of [
          '4/order/a',
          '4/order/a/',
          '4/order/a/b',
          '4/order/z/z',
          '4/ord',
          '4/order/none',
          'nothing/',
        ]) {
          expect(await keys(prefix)).toEqual(expected.filter((key) => key.startsWith(prefix)));
        }
        expect(await keys('')).toEqual(expect.arrayContaining(expected));
      });

      test('more objects than fit a page', async () => {
        const many = Array.from(
          { length: 1203 },
          (_value, index) => `4/many/${String(index).padStart(5, '0')}`,
        );
        await inParallel(many, 40, (key) => put(key, key));
        expect(await keys('4/many/')).toEqual(many);
        await storage.remove(many);
        expect(await keys('4/many/')).toEqual([]);
      });
    });

    describe('5: removing', () => {
      test('removes what is named, and only that; missing and repeated keys are no error', async () => {
        for (const key of ['5/a', '5/c']) await put(key, key);
        await storage.remove(['5/a', '5/a', '5/missing', 'no/such/folder/x']);
        expect(await keys('5/')).toEqual(['5/c']);
        await expect(other.read('5/a')).rejects.toThrow(ObjectNotFoundError);
        await storage.remove([]);
      });

      test('a removed key can be written again, also while its folder is being removed', async () => {
        await Promise.all(
          Array.from({ length: 40 }, async (_value, index) => {
            await put(`5/race/${index % 4}/${index}`, 'x');
            await other.remove([`5/race/${index % 4}/${index}`]);
          }),
        );
        expect(await keys('5/race/')).toEqual([]);
        await put('5/race/1/1', 'again');
        expect(await get('5/race/1/1')).toBe('again');
      });
    });

    describe('6: createOnly', () => {
      test('an existing object stays, for a whole body and a streamed one', async () => {
        await storage.write('6/once', Buffer.from('first'), { createOnly: true });
        for (const body of [
          Buffer.from('second'),
          Readable.from([Buffer.from('third')]),
          chunksOf(TWO_PARTS),
        ]) {
          await expect(other.write('6/once', body, { createOnly: true })).rejects.toThrow(ObjectExistsError);
        }
        expect(await get('6/once')).toBe('first');
        expect(await keys('6/')).toEqual(['6/once']);
      });

      test.each([
        ['whole', (index: number) => Buffer.from(`writer ${index}`)],
        ['streamed', (index: number) => Readable.from([Buffer.from('writer '), Buffer.from(String(index))])],
      ])('of twenty racing writers of a %s body exactly one wins', async (kind, bodyOf) => {
        const outcomes = await Promise.allSettled(
          Array.from({ length: 20 }, (_value, index) =>
            (index % 2 === 0 ? storage : other).write(`6/race-${kind}`, bodyOf(index), { createOnly: true }),
          ),
        );
        const winners = outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []));
        expect(winners).toHaveLength(1);
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ObjectExistsError);
        }
        expect(await get(`6/race-${kind}`)).toBe(`writer ${winners[0]}`);
      });
    });

    describe('7: keys', () => {
      const odd = [
        'with space/and more',
        'plus+sign',
        'percent%20%zz%',
        'ünïcode/日本語/🛟',
        'quotes\'"`',
        'a&b<c>d;e?f#g',
        '=+,@:~!$()*[]{}|^',
        'trailing.',
        '.hidden/..almost/...',
        'x'.repeat(200),
      ];

      test.each(odd)('%s is a key like any other', async (name) => {
        const key = `7/odd/${name}`;
        await put(key, name);
        expect(await get(key)).toBe(name);
        expect(await keys(`7/odd/${name}`)).toEqual([key]);
        await storage.remove([key]);
        expect(await keys('7/odd/')).toEqual([]);
      });

      const invalid = [
        '',
        '/',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        '../a',
        'a/..',
        'a/../b',
        './a',
        'a/./b',
        'a\\b',
        '..\\a',
      ];
      test.each([
        ...invalid,
        'C:/a',
        'c:a',
        'a\0b',
        'a\nb',
        'a\u007f',
        '\ud800',
        '.lifeboat-tmp-x',
        'x'.repeat(1025),
      ])('%j is refused by every operation', async (key) => {
        await expect(storage.write(key, Buffer.from('x'))).rejects.toThrow(/The storage key/);
        await expect(storage.read(key)).rejects.toThrow(/The storage key/);
        await expect(storage.remove(['fine', key])).rejects.toThrow(/The storage key/);
      });

      test.each(['/', '../', '..', 'a/../', 'a//', '/a', 'a\\', 'C:/'])(
        'the prefix %j is refused',
        async (prefix) => {
          await expect(listed(storage, prefix)).rejects.toThrow(/The storage prefix/);
        },
      );
    });

    describe('10: aborting', () => {
      test.each([
        ['a body that has stalled', () => stalledBody(1000)],
        ['a large body that has stalled', () => stalledBody(TWO_PARTS)],
        ['a body that goes on for ever', () => chunksOf(Number.MAX_SAFE_INTEGER)],
      ])('ends the write of %s with the reason, and leaves nothing', async (_what, bodyOf) => {
        await put('10/earlier', 'earlier');
        for (const key of ['10/new', '10/earlier']) {
          const controller = new AbortController();
          const writing = storage.write(key, bodyOf(), { signal: controller.signal });
          setTimeout(() => {
            controller.abort(new Error('the reason'));
          }, 60);
          await expect(writing).rejects.toThrow('the reason');
        }
        expect(await keys('10/')).toEqual(['10/earlier']);
        expect(await get('10/earlier')).toBe('earlier');
      });

      test('before the start nothing happens', async () => {
        await put('10/kept', 'kept');
        const signal = AbortSignal.abort(new Error('the reason'));
        await expect(storage.write('10/never', Buffer.from('x'), { signal })).rejects.toThrow('the reason');
        await expect(storage.read('10/kept', { signal })).rejects.toThrow('the reason');
        await expect(listed(storage, '10/', signal)).rejects.toThrow('the reason');
        await expect(storage.remove(['10/kept'], signal)).rejects.toThrow('the reason');
        expect(await keys('10/')).toEqual(expect.not.arrayContaining(['10/never']));
        expect(await get('10/kept')).toBe('kept');
      });

      test('in the middle of a read, the stream fails', async () => {
        await storage.write('10/read', chunksOf(8 * MIB));
        const controller = new AbortController();
        const stream = await storage.read('10/read', { signal: controller.signal });
        const reading = (async () => {
          for await (const chunk of stream) if (chunk) controller.abort(new Error('the reason'));
        })();
        await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
      });
    });

    describe('11: leftovers', () => {
      test('after failed and aborted writes there is nothing to sweep', async () => {
        await expect(storage.write('11/failed', failingBody(TWO_PARTS))).rejects.toThrow('the body broke');
        const soon = new Date(Date.now() + 3_600_000);
        expect((await storage.sweep?.(soon, { dryRun: true })) ?? []).toEqual([]);
      });
    });

    if (large > 0) {
      test(`8: an object of ${Math.round(large / MIB)} MiB goes in and out in flat memory`, async ({
        annotate,
      }) => {
        const expected = await digest(chunksOf(large));
        const written = await peakMemory(() => storage.write('8/large', chunksOf(large)));
        await annotate(`written: ${told(large, written)}`);
        expect(written.grown, 'writing').toBeLessThan(memory);
        const read = await peakMemory(async () => digest(await other.read('8/large')));
        expect(read.result).toBe(expected);
        await annotate(`read and hashed: ${told(large, read)}`);
        expect(read.grown, 'reading').toBeLessThan(memory);
        expect(await listed(other, '8/large')).toMatchObject([{ bytes: large }]);
        await storage.remove(['8/large']);
      });
    }
  });
}

async function listed(storage: Storage, prefix: string, signal?: AbortSignal): Promise<StoredObject[]> {
  const objects: StoredObject[] = [];
  for await (const object of storage.list(prefix, signal)) objects.push(object);
  return objects;
}

async function* failingBody(bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunksOf(bytes);
  throw new Error('the body broke');
}

async function* stalledBody(bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunksOf(bytes);
  await new Promise(() => undefined);
}

async function digest(body: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of body) hash.update(chunk);
  return hash.digest('hex');
}

function told(bytes: number, { grown, seconds }: { grown: number; seconds: number }): string {
  const rate = Math.round(bytes / MIB / seconds);
  return `${seconds.toFixed(1)} s, ${rate} MiB/s, memory grew by ${Math.round(grown / MIB)} MiB`;
}

async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
