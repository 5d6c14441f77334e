import { LifeboatError } from '../errors.ts';

/**
 * File names that the local driver gives to writes in progress. No key may use the prefix, under any driver: what
 * one driver can store, all can.
 */
export const TEMP_PREFIX = '.lifeboat-tmp-';

/** S3's limit on the UTF-8 length of a key; the prefix of the bucket URL counts too and is checked by S3 itself. */
const MAX_KEY_BYTES = 1024;

/** Controls cannot be sent in S3's XML listings, and NUL ends a file name; a lone surrogate has no UTF-8 form. */
// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\u0000-\u001f\u007f\\]|\p{Surrogate}/u;
const DRIVE_LETTER = /^[A-Za-z]:/;

/** Refuses, before any I/O, a key that could leave the storage or that one of the drivers could not keep. */
export function assertKey(key: string): void {
  const fault = key === '' ? 'is empty' : keyFault(key, key.split('/'));
  if (fault !== undefined) throw invalidKey('key', key, fault);
}

/** A prefix is the beginning of a key: empty, or ending anywhere inside a segment, also right after a '/'. */
export function assertPrefix(prefix: string): void {
  if (prefix === '') return;
  const segments = prefix.split('/');
  const fault = keyFault(prefix, segments.at(-1) === '' ? segments.slice(0, -1) : segments);
  if (fault !== undefined) throw invalidKey('prefix', prefix, fault);
}

/** The order of S3 listings: by UTF-8 bytes. JavaScript's own `<` compares UTF-16 and differs beyond U+FFFF. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function keyFault(key: string, segments: readonly string[]): string | undefined {
  if (FORBIDDEN.test(key)) return 'has a backslash, a control character or half a surrogate pair';
  if (DRIVE_LETTER.test(key)) return 'begins with a drive letter';
  if (key.startsWith('/')) return 'is not relative';
  if (segments.includes('')) return 'has an empty segment';
  if (segments.includes('.') || segments.includes('..')) return "has a '.' or '..' segment";
  if (segments.some((segment) => segment.startsWith(TEMP_PREFIX))) {
    return `uses the reserved name ${TEMP_PREFIX}`;
  }
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) return `is longer than ${MAX_KEY_BYTES} bytes`;
  return undefined;
}

function invalidKey(what: 'key' | 'prefix', value: string, fault: string): LifeboatError {
  return new LifeboatError('failed', `The storage ${what} ${JSON.stringify(value)} ${fault}.`, {
    next: "Use relative names joined by '/', such as backups/ID/manifest.json.",
  });
}
