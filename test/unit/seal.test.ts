import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { describe, expect, test } from 'vitest';
import { LifeboatError } from '../../src/errors.ts';
import { createOpener, createSeal, SealError } from '../../src/secrets/seal.ts';

const ID = '20261121T013012345Z-4f3a9c';

/** Made by age 1.2.1 (filippo.io/age, in Go): gzip of two fields a record, for this identity. */
const IDENTITY = 'AGE-SECRET-KEY-1XUXLW9P0CR6JDF9RNZUZ0CE75CJWF2N7P80TW2E5N6VWSA93GNUQZCRZA8';
const RECIPIENT = 'age162ra6dmlfezxq3jacrdeq3r7c9puxtpuqvak02ydvs949ekmh9sstacs5c';
const BY_GO = Buffer.from(
  `YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBaOEd6VERBdkpkaStiRTFpY3BHTFVUdE9tOGlNSFJoZzlhVnZQaUlRSkdz
CmlNaXJoYVEySHlJa1dxL0NGajdpMkJhb3daVFAyQmRnazhaSWd6aDgrRjAKLS0tIGc4YWtrK2IzL3F3WjZjQWttZnFZNTZuMjBa
MGtvTGdDTmdxSXgycTh1RjgKDjXCb6Yjvd8Wpb5WDg0l2zfoT90vMkJFiSaRuJet/jjRlMl/J72/qP4qjBAYczv3e5AVSppFNe1k
r6iKmU7jAPxlw8j93Hx/OY1EBiJo7if5+8tbEFAVhVWUppeWrTg=`,
  'base64',
);
const PLAIN = '"first, ""quoted""",c\n"zweite\nZeile",e\n,\n"",c\n';

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

async function sealed(recipients: readonly string[], clear: Uint8Array, piece = 1000): Promise<Buffer> {
  const seal = await createSeal(recipients, ID);
  return buffer(await seal.seal(inPieces(clear, piece)));
}

async function opened(identities: readonly string[], bytes: Uint8Array, piece = 1000): Promise<Buffer> {
  const opener = await createOpener({ identities, recipients: [RECIPIENT], backupId: ID });
  return buffer(await opener.open(inPieces(bytes, piece)));
}

/** Any error, with what one of ours has besides. */
type Failure = Error & Partial<Pick<LifeboatError, 'kind' | 'next' | 'details'>>;

async function failure(work: Promise<unknown>): Promise<Failure> {
  try {
    await work;
  } catch (error) {
    return error as Failure;
  }
  throw new Error('This should have failed.');
}

describe('files of age', () => {
  test.each([1, 7, 100_000])('made by another program open, in pieces of %i bytes', async (piece) => {
    expect(gunzipSync(await opened([IDENTITY], BY_GO, piece)).toString()).toBe(PLAIN);
  });

  test.each([0, 1, 65_535, 65_536, 65_537, 300_000])('%i bytes come back', async (size) => {
    const clear = randomBytes(size);
    expect((await opened([IDENTITY], await sealed([RECIPIENT], clear))).equals(clear)).toBe(true);
  });

  test('each of several recipients opens alone, also a post-quantum one', async () => {
    const [other, hybrid] = [await generateX25519Identity(), await generateHybridIdentity()];
    const recipients = [RECIPIENT, await identityToRecipient(other)];
    const bytes = await sealed(recipients, Buffer.from(PLAIN));
    expect((await opened([IDENTITY], bytes)).toString()).toBe(PLAIN);
    expect((await opened([await generateX25519Identity(), other], bytes)).toString()).toBe(PLAIN);
    // A file for a post-quantum recipient and another one would be as weak as the other.
    const strong = await sealed([await identityToRecipient(hybrid)], Buffer.from(PLAIN));
    expect((await opened([hybrid], strong)).toString()).toBe(PLAIN);
  });

  test('another identity, or none: refused, with the recipients and not with the identity', async () => {
    const stranger = await generateX25519Identity();
    for (const identities of [[stranger], []]) {
      const error = await failure(opened(identities, BY_GO));
      expect(error).toMatchObject({ kind: 'refused', details: { recipients: [RECIPIENT] } });
      expect(error.next).toContain('--identity-file');
      expect(JSON.stringify([error.message, error.stack, error.details])).not.toContain(stranger.slice(20));
    }
  });

  test('every byte that is changed, cut off or added is noticed', async () => {
    const small = await sealed([RECIPIENT], Buffer.from('secret'));
    for (let at = 0; at < small.length; at += 3) {
      const bytes = Buffer.from(small);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      const error = await failure(opened([IDENTITY], bytes));
      // In the wrapped key a changed bit cannot be told from another recipient's file.
      expect(error instanceof SealError || error.kind === 'refused', `byte ${at}`).toBe(true);
    }
    for (let length = 0; length < small.length; length += 5) {
      expect(await failure(opened([IDENTITY], small.subarray(0, length)))).toBeInstanceOf(SealError);
    }
    expect(await failure(opened([IDENTITY], Buffer.concat([small, Buffer.from('x')])))).toBeInstanceOf(
      SealError,
    );
    // At the border of two chunks nothing is missing but the mark of the last.
    const large = await sealed([RECIPIENT], Buffer.alloc(2 * 65_536));
    const cut = large.subarray(0, large.length - 65_536 - 16);
    expect(await failure(opened([IDENTITY], cut))).toBeInstanceOf(SealError);
  });

  test('an error of the source stays what it is, on both ways', async () => {
    const broken = (): Readable =>
      Readable.from(
        (async function* () {
          yield await Promise.resolve(BY_GO.subarray(0, 250));
          throw new LifeboatError('failed', 'The disk is gone.');
        })(),
      );
    const opener = await createOpener({ identities: [IDENTITY], recipients: [], backupId: ID });
    const reading = failure(opener.open(broken()).then((chunks) => buffer(chunks)));
    expect(await reading).toMatchObject({ message: 'The disk is gone.' });
    const seal = await createSeal([RECIPIENT], ID);
    const writing = failure(seal.seal(broken()).then((chunks) => buffer(chunks)));
    expect(await writing).toMatchObject({ message: 'The disk is gone.' });
  });

  test('a gigabyte would need no more memory than a megabyte: the reader sets the pace', async () => {
    let made = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        made += 65_536;
        yield await Promise.resolve(Buffer.alloc(65_536));
      }
    }
    const seal = await createSeal([RECIPIENT], ID);
    let read = 0;
    for await (const chunk of await seal.seal(endless())) {
      read += chunk.length;
      if (read > 3_000_000) break;
    }
    expect(made).toBeLessThan(read + 10 * 65_536);
  });
});
