import { createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { LifeboatError } from '../errors.ts';

/**
 * Fernet as Airflow uses it (Python's cryptography, MultiFernet): a token is base64url of
 * version 0x80 | seconds since 1970 (u64be) | IV (16) | AES-128-CBC, PKCS#7 | HMAC-SHA256 (32) over all before it;
 * a key is base64url of 16 bytes for the HMAC and 16 for AES. Airflow sets no time to live.
 * Source: https://github.com/fernet/spec/blob/master/Spec.md
 */
const VERSION = 0x80;
const KEY_BYTES = 32;
const IV_BYTES = 16;
const HMAC_BYTES = 32;
const HEADER_BYTES = 1 + 8 + IV_BYTES;
/** Makes a fingerprint worthless for any other use of the same hash. */
const FINGERPRINT_DOMAIN = 'airflow-lifeboat fernet key fingerprint v1\0';
const FINGERPRINT_DIGITS = 16;

/**
 * Keys of Airflow's fernet_key setting: a comma list, the first encrypts, any decrypts. Empty means none, as in
 * Airflow. `setting` names where the text came from; an invalid key is a usage error that shows nothing of it.
 */
export function parseFernetKeys(text: string, setting: string): readonly string[] {
  const keys = text
    .split(',')
    .map((key) => key.trim())
    .filter((key) => key !== '');
  keys.forEach((key, index) => {
    if (decodeBase64Url(key)?.length === KEY_BYTES) return;
    const which = keys.length === 1 ? 'The Fernet key' : `Fernet key ${index + 1} of ${keys.length}`;
    throw new LifeboatError(
      'usage',
      `${which} in ${setting} is not one: it must be 32 bytes in base64url (44 characters).`,
      {
        next: `Copy it from the environment's [core] fernet_key.`,
      },
    );
  });
  return keys;
}

/** The clear bytes, or undefined when no key reads the token (wrong key, damaged, or no token at all). */
export function fernetDecrypt(keys: readonly string[], token: string | Uint8Array): Buffer | undefined {
  const text = (typeof token === 'string' ? token : Buffer.from(token).toString('latin1')).trim();
  // Python reads no token without its padding: what it cannot read, Airflow cannot.
  const bytes = text.length % 4 === 0 ? decodeBase64Url(text) : undefined;
  if (bytes === undefined || bytes.length < HEADER_BYTES + 16 + HMAC_BYTES || bytes[0] !== VERSION) {
    return undefined;
  }
  const signed = bytes.subarray(0, bytes.length - HMAC_BYTES);
  const signature = bytes.subarray(bytes.length - HMAC_BYTES);
  for (const key of keys) {
    const { signing, encryption } = splitKey(key);
    if (!timingSafeEqual(createHmac('sha256', signing).update(signed).digest(), signature)) continue;
    try {
      const decipher = createDecipheriv('aes-128-cbc', encryption, signed.subarray(9, HEADER_BYTES));
      return Buffer.concat([decipher.update(signed.subarray(HEADER_BYTES)), decipher.final()]);
    } catch {
      // Signed with this key, but its padding is wrong: not made by Fernet.
    }
  }
  return undefined;
}

/** A token for `plain`. `iv` must be 16 fresh random bytes: the same one twice with one key shows equal beginnings. */
export function fernetEncrypt(
  key: string,
  plain: string | Uint8Array,
  { now, iv }: { readonly now: Date; readonly iv: Uint8Array },
): string {
  if (iv.length !== IV_BYTES) throw new RangeError(`A Fernet IV has ${IV_BYTES} bytes, not ${iv.length}.`);
  const { signing, encryption } = splitKey(key);
  const header = Buffer.alloc(HEADER_BYTES);
  header[0] = VERSION;
  header.writeBigUInt64BE(BigInt(Math.floor(now.getTime() / 1000)), 1);
  header.set(iv, 9);
  const cipher = createCipheriv('aes-128-cbc', encryption, iv);
  const signed = Buffer.concat([header, cipher.update(plain), cipher.final()]);
  const signature = createHmac('sha256', signing).update(signed).digest();
  return encodeBase64Url(Buffer.concat([signed, signature]));
}

export function canRead(keys: readonly string[], token: string | Uint8Array): boolean {
  return fernetDecrypt(keys, token) !== undefined;
}

/**
 * 16 hex digits that tell two keys apart and say nothing about either: the key has 256 random bits, so its hash cannot
 * be searched. SHA-256 of a fixed domain string and the key's bytes, so that padding and alphabet do not count.
 */
export function fernetFingerprint(key: string): string {
  const { signing, encryption } = splitKey(key);
  const hash = createHash('sha256').update(FINGERPRINT_DOMAIN).update(signing).update(encryption);
  return hash.digest('hex').slice(0, FINGERPRINT_DIGITS);
}

// --- utils ---

function splitKey(key: string): { readonly signing: Buffer; readonly encryption: Buffer } {
  const bytes = decodeBase64Url(key);
  if (bytes?.length !== KEY_BYTES) {
    throw new LifeboatError('usage', 'A Fernet key is not 32 bytes in base64url.');
  }
  return { signing: bytes.subarray(0, 16), encryption: bytes.subarray(16) };
}

/**
 * Both alphabets, as in Python: keys made with `openssl rand -base64 32` work in Airflow. Strict where Node is lenient:
 * Buffer.from skips what is not base64, so a damaged token would still decode.
 */
function decodeBase64Url(text: string): Buffer | undefined {
  const body = text.trim().replace(/=+$/, '');
  if (body === '' || body.length % 4 === 1 || !/^[A-Za-z0-9+/_-]+$/.test(body)) return undefined;
  return Buffer.from(body, 'base64url');
}

function encodeBase64Url(bytes: Buffer): string {
  const text = bytes.toString('base64url');
  // Python decodes tokens with their padding only.
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}
