import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  canRead,
  fernetDecrypt,
  fernetEncrypt,
  fernetFingerprint,
  parseFernetKeys,
} from '../../src/secrets/fernet.ts';

interface Vectors {
  readonly valid: readonly {
    readonly key: string;
    readonly time: number;
    readonly iv: string;
    readonly plain: string;
    readonly token: string;
  }[];
  readonly invalid: readonly { readonly why: string; readonly key: string; readonly token: string }[];
}

const vectors = JSON.parse(
  readFileSync(new URL('../fixtures/fernet/vectors.json', import.meta.url), 'utf8'),
) as Vectors;
const keys = [...new Set(vectors.valid.map(({ key }) => key))];
const [first = '', second = ''] = keys;

describe("Fernet against Python's cryptography", () => {
  it.each(vectors.valid)('reads and writes the token of $time', ({ key, time, iv, plain, token }) => {
    expect(fernetDecrypt([key], token)?.toString()).toBe(plain);
    expect(fernetDecrypt([key], Buffer.from(token))?.toString()).toBe(plain);
    const made = fernetEncrypt(key, plain, { now: new Date(time * 1000 + 999), iv: Buffer.from(iv, 'hex') });
    expect(made).toBe(token);
  });

  it.each(vectors.invalid)('does not read a token: $why', ({ key, token }) => {
    expect(fernetDecrypt([key], token)).toBeUndefined();
    expect(canRead([key], token)).toBe(false);
  });

  it('refuses every single flipped bit', () => {
    const { key, token } = vectors.valid[4] ?? { key: '', token: '' };
    const bytes = Buffer.from(token, 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const text = damaged.toString('base64url').padEnd(token.length, '=');
      expect(fernetDecrypt([key], text), `bit ${bit}`).toBeUndefined();
    }
  });
});

describe('several keys', () => {
  it('decrypts with any of them, as MultiFernet does', () => {
    for (const { token, plain } of vectors.valid) expect(fernetDecrypt(keys, token)?.toString()).toBe(plain);
    expect(fernetDecrypt([], vectors.valid[0]?.token ?? '')).toBeUndefined();
  });

  it('reads a comma list with blanks, and none from an empty one', () => {
    expect(parseFernetKeys(` ${first}, ${second} ,`, 'X')).toEqual([first, second]);
    expect(parseFernetKeys('', 'X')).toEqual([]);
    expect(parseFernetKeys(' , ', 'X')).toEqual([]);
  });

  it.each(['short', 'x'.repeat(44), first.slice(0, -4), `${first.slice(0, 20)}!${first.slice(21)}`])(
    'refuses an invalid key without showing it (%#)',
    (bad) => {
      const thrown = thrownBy(() => parseFernetKeys(`${first},${bad}`, 'THE_VARIABLE'));
      expect(thrown).toMatchObject({ kind: 'usage' });
      expect(thrown.message).toContain('Fernet key 2 of 2 in THE_VARIABLE');
      expect(JSON.stringify([thrown, thrown.message])).not.toContain(bad.slice(0, 8));
      expect(thrown.message).not.toContain(first.slice(0, 8));
    },
  );
});

describe('fingerprints', () => {
  it('tell keys apart, are the same for both alphabets and padding, and hold nothing of the key', () => {
    const all = keys.map(fernetFingerprint);
    expect(new Set(all).size).toBe(keys.length);
    for (const one of all) expect(one).toMatch(/^[0-9a-f]{16}$/);
    const standard = keys.find((key) => /[+/]/.test(key)) ?? '';
    expect(standard).not.toBe('');
    const urlSafe = standard.replaceAll('+', '-').replaceAll('/', '_').replace('=', '');
    expect(fernetFingerprint(urlSafe)).toBe(fernetFingerprint(standard));
  });

  it('stay as they are: manifests hold them', () => {
    expect(fernetFingerprint('BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSY=')).toBe('1d646c4dae6b0053');
  });
});

function thrownBy(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('nothing was thrown');
}
