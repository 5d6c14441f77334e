import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { compressor, decompressor } from '../../src/engine/codec.ts';
import { isLifeboatError } from '../../src/errors.ts';
import { isInflateError } from '../../src/engine/verify-parts.ts';
import { noise } from '../helpers/hurtful-values.ts';

const through = (bytes: Uint8Array, key: string): Promise<Buffer> =>
  buffer(Readable.from([bytes]).pipe(decompressor(key)));

describe.each([
  ['nothing', Buffer.alloc(0)],
  ['a line', Buffer.from('a,b\n')],
  ['noise', Buffer.from(noise(3_000_000))],
  ['what compresses well', Buffer.alloc(3_000_000, 'a')],
])('gzip of %s', (_, bytes) => {
  test.each([1, 6, 9])('level %i', async (level) => {
    const stored = await buffer(Readable.from([bytes]).pipe(compressor({ codec: 'gzip', level })));
    expect((await through(stored, 'x.csv.gz')).equals(bytes)).toBe(true);
  });
});

test('a cut and a flipped member are errors of the archive, not of the program', async () => {
  const stored = gzipSync(noise(100_000));
  const flipped = Buffer.from(stored);
  flipped.writeUInt8((flipped[20_000] ?? 0) ^ 1, 20_000);
  for (const bytes of [stored.subarray(0, 40_000), flipped, Buffer.from('no gzip at all')]) {
    const error = await failure(through(bytes, 'x.csv.gz'));
    expect(isInflateError(error), String(error)).toBe(true);
  }
});

/** Streams that fail take their error through the decompressor. */
async function failure(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  return undefined;
}

test('a part of another form is refused', () => {
  expect(() => decompressor('backups/x/tables/log/0001.csv')).toThrow(/unknown form/);
});

const hasZstd = 'createZstdCompress' in (await import('node:zlib'));

test.skipIf(hasZstd)('without zstd in Node, the answer says which Node has it', () => {
  for (const make of [() => compressor({ codec: 'zstd', level: 1 }), () => decompressor('x.csv.zst')]) {
    try {
      make();
      expect.unreachable();
    } catch (error) {
      expect(isLifeboatError(error, 'usage')).toBe(true);
      expect((error as { next?: string }).next).toMatch(/Node 22\.15/);
    }
  }
});

test.runIf(hasZstd)('zstd comes back', async () => {
  const bytes = Buffer.from(noise(500_000));
  const stored = await buffer(Readable.from([bytes]).pipe(compressor({ codec: 'zstd', level: 1 })));
  expect((await through(stored, 'x.csv.zst')).equals(bytes)).toBe(true);
});
