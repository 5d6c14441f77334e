import { describe, expect, test } from 'vitest';
import { LifeboatError } from '../../src/errors.ts';
import { parseIdentities, parseRecipient } from '../../src/secrets/recipients.ts';

const ARN = 'arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef';
const IDENTITY = 'AGE-SECRET-KEY-1XUXLW9P0CR6JDF9RNZUZ0CE75CJWF2N7P80TW2E5N6VWSA93GNUQZCRZA8';

function failure(work: () => unknown): LifeboatError {
  try {
    work();
  } catch (error) {
    if (error instanceof LifeboatError) return error;
  }
  throw new Error('This should have been refused.');
}

describe('recipients', () => {
  test.each([
    ['awskms://alias/dr?region=eu-west-1', 'alias/dr', 'eu-west-1'],
    ['AWSKMS://1234abcd-12ab-34cd-56ef-1234567890ab', '1234abcd-12ab-34cd-56ef-1234567890ab', undefined],
    [`awskms://${ARN}`, ARN, 'eu-west-1'],
    [`awskms://${ARN}?region=eu-west-1`, ARN, 'eu-west-1'],
  ])('%s', (text, key, region) => {
    expect(parseRecipient(text)).toEqual({ kind: 'awskms', key, region });
  });

  test.each([
    ['', /no recipient/],
    ['ssh-ed25519 AAAA', /ssh key/],
    ['awskms://', /no KMS key/],
    ['awskms://alias/dr?regoin=x', /unknown parameter regoin/],
    [`awskms://${ARN}?region=us-east-1`, /two regions/],
    ['awskms://alias/dr?region=eu%20west', /names no region/],
    ['passphrase', /no recipient/],
  ])('%j is refused', (text, says) => {
    expect(failure(() => parseRecipient(text))).toMatchObject({ kind: 'usage' });
    expect(failure(() => parseRecipient(text)).message).toMatch(says);
  });

  test('an identity in their place is refused and not repeated', () => {
    const error = failure(() => parseRecipient(IDENTITY));
    expect(error.message).toContain('identity');
    expect(error.message + (error.next ?? '')).not.toContain(IDENTITY.slice(16));
  });
});

describe('identity files', () => {
  test('one a line, comments and empty lines between, also with CR', () => {
    const text = `# created: 2026-11-21\r\n# public key: age1…\r\n${IDENTITY}\r\n\n  ${IDENTITY}\n`;
    expect(parseIdentities(text, 'key')).toEqual([IDENTITY, IDENTITY]);
  });

  test.each([
    ['# nothing\n', /holds no identity/],
    ['age-encryption.org/v1\n-> scrypt x 18\n', /itself encrypted/],
    ['-----BEGIN AGE ENCRYPTED FILE-----\n', /itself encrypted/],
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\n', /ssh or TLS key/],
    [`${IDENTITY}\nhunter2-is-no-key\n`, /Line 2 of the identity file/],
  ])('%j is refused', (text, says) => {
    const error = failure(() => parseIdentities(text, '/run/secrets/recovery.key'));
    expect(error.kind).toBe('usage');
    expect(error.message).toMatch(says);
    expect(error.message).toContain('/run/secrets/recovery.key');
    expect(`${error.message}${error.next ?? ''}`).not.toMatch(/hunter2|1XUXLW|b3Blbn/);
  });
});
