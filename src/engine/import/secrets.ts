import { randomBytes } from 'node:crypto';
import { LifeboatError } from '../../errors.ts';
import { canRead, fernetEncrypt, fernetFingerprint } from '../../secrets/fernet.ts';
import type { Row } from './foreign.ts';

const IV_BYTES = 16;

export interface Sealer {
  /** A token for the first key. */
  encrypt(clear: string | Uint8Array): string;
  /** Notes whether a known key reads this token of the source. */
  seeToken(token: string): void;
  /** Fingerprints for the manifest: none when a token was met that no known key reads. */
  fingerprints(): readonly string[];
}

/** @param keys the first encrypts; the others are only tried on tokens. Empty: whatever needs a key is refused (14). */
export function createSealer(keys: readonly string[], now: Date): Sealer {
  const used = new Set<string>();
  let unreadable = false;
  return {
    encrypt: (clear) => {
      const [first] = keys;
      if (first === undefined) throw noKey();
      used.add(first);
      return fernetEncrypt(first, clear, { now, iv: randomBytes(IV_BYTES) });
    },
    seeToken: (token) => {
      const reader = keys.find((key) => canRead([key], token));
      if (reader === undefined) unreadable = true;
      else used.add(reader);
    },
    fingerprints: () => (unreadable ? [] : keys.filter((key) => used.has(key)).map(fernetFingerprint)),
  };
}

export function noKey(): LifeboatError {
  return new LifeboatError(
    'refused',
    'This backup holds secrets in clear text, and no Fernet key is known to encrypt them.',
    {
      next: 'Set LIFEBOAT_FERNET_KEY to the key of the Airflow that they will be restored into, or seal them with --seal-to.',
    },
  );
}

/** As Airflow's set_val does, which encrypts an empty value too. */
export function sealVariable(row: Row, sealer: Sealer): void {
  row.val = sealer.encrypt(row.val ?? '');
  row.is_encrypted = 't';
}

/** As Airflow's set_password and set_extra do, which leave what is empty as it is. */
export function sealConnection(row: Row, sealer: Sealer): void {
  row.is_encrypted = typeof row.password !== 'string' ? 'f' : 't';
  row.is_extra_encrypted = typeof row.extra !== 'string' ? 'f' : 't';
  if (typeof row.password === 'string') row.password = sealer.encrypt(row.password);
  if (typeof row.extra === 'string') row.extra = sealer.encrypt(row.extra);
}

/** A value with its flag, as a database has them: clear ones are encrypted, tokens stay to the byte. */
export function sealFlagged(row: Row, column: string, flag: string, sealer: Sealer): void {
  const value = row[column];
  if (typeof value !== 'string' || value === '') return;
  if (row[flag] === 't') {
    sealer.seeToken(value);
    return;
  }
  row[column] = sealer.encrypt(value);
  row[flag] = 't';
}
