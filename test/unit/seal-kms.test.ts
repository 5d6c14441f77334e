import { buffer } from 'node:stream/consumers';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LifeboatError } from '../../src/errors.ts';
import { createOpener, createSeal } from '../../src/secrets/seal.ts';
import { startFakeKms, type FakeKms } from '../helpers/fake-kms.ts';

const ID = '20261121T013012345Z-4f3a9c';
const KEY = '1234abcd-12ab-34cd-56ef-1234567890ab';
const MULTI_REGION = 'mrk-0123456789abcdef0123456789abcdef';
const TO = 'awskms://alias/dr?region=eu-west-1';
const CLEAR = Buffer.from('opensesame-7d1f');
let kms: FakeKms;

beforeEach(async () => {
  kms = await startFakeKms({ [KEY]: 'dr', [MULTI_REGION]: 'everywhere' });
  for (const [name, value] of Object.entries(kms.env)) vi.stubEnv(name, value);
  vi.stubEnv('AWS_REGION', 'us-east-1');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await kms.close();
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

async function sealed(recipients: readonly string[], backupId = ID): Promise<Buffer> {
  const seal = await createSeal(recipients, backupId);
  return buffer(await seal.seal(once(CLEAR)));
}

async function opened(
  bytes: Uint8Array,
  { identities = [] as readonly string[], backupId = ID } = {},
): Promise<Buffer> {
  const opener = await createOpener({ identities, recipients: [TO], backupId });
  return buffer(await opener.open(once(bytes)));
}

async function failure(work: Promise<unknown>): Promise<LifeboatError> {
  try {
    await work;
  } catch (error) {
    return error as LifeboatError;
  }
  throw new Error('This should have failed.');
}

describe('KMS as recipient', () => {
  test('wraps the file key alone, under a context that names the backup, and needs no identity to open', async () => {
    const bytes = await sealed([TO]);
    expect(bytes.toString('latin1')).toContain(
      `-> airflow-lifeboat/awskms arn:aws:kms:eu-west-1:111122223333:key/${KEY} eu-west-1\n`,
    );
    expect(await opened(bytes)).toEqual(CLEAR);
    const context = { 'airflow-lifeboat:backup': ID };
    expect(kms.calls).toEqual([
      { action: 'Encrypt', region: 'eu-west-1', context },
      { action: 'Encrypt', region: 'eu-west-1', context },
      { action: 'Decrypt', region: 'eu-west-1', context },
    ]);
    expect(kms.traffic.join()).not.toContain(CLEAR.toString('base64').slice(0, 12));
  });

  test('beside an age recipient: whoever has that identity asks no KMS', async () => {
    const identity = await generateX25519Identity();
    const bytes = await sealed([TO, await identityToRecipient(identity)]);
    kms.denied.add('Decrypt');
    expect(await opened(bytes, { identities: [identity] })).toEqual(CLEAR);
    expect(kms.calls.some(({ action }) => action === 'Decrypt')).toBe(false);
  });

  test('what was sealed for one backup does not open for another', async () => {
    const error = await failure(opened(await sealed([TO]), { backupId: '20261121T013012345Z-000000' }));
    expect(error.kind).toBe('refused');
    expect(error.message).toContain('not wrapped for this backup');
  });

  test('a role that may not decrypt: refused, with the key and without what was sent', async () => {
    const bytes = await sealed([TO]);
    kms.denied.add('Decrypt');
    const error = await failure(opened(bytes));
    expect(error.kind).toBe('refused');
    expect(error.message).toContain(`${KEY}: access is denied`);
    expect(error.next).toContain('kms:Decrypt');
    expect(JSON.stringify([error.message, error.details])).not.toContain('CiphertextBlob');
  });

  test('the first key that opens is enough', async () => {
    const bytes = await sealed([TO, 'awskms://alias/everywhere?region=us-east-1']);
    kms.down.add('eu-west-1');
    expect(await opened(bytes)).toEqual(CLEAR);
  });

  test('a multi-Region key opens where we are when its own region is gone; another key does not', async () => {
    const everywhere = await sealed(['awskms://alias/everywhere?region=eu-west-1']);
    const regional = await sealed([TO]);
    kms.down.add('eu-west-1');
    expect(await opened(everywhere)).toEqual(CLEAR);
    expect(kms.calls.at(-1)?.region).toBe('us-east-1');
    expect((await failure(opened(regional))).kind).toBe('failed');
  });

  test('a key that cannot seal stops the backup before its first row', async () => {
    const missing = await failure(createSeal(['awskms://alias/nobody?region=eu-west-1'], ID));
    expect(missing).toMatchObject({ kind: 'failed' });
    expect(missing.message).toContain('no such key in this region');
    kms.denied.add('Encrypt');
    const denied = await failure(createSeal([TO], ID));
    expect(denied.next).toContain('kms:Encrypt');
  });

  test('an endpoint that is not there is an error within 30 s', async () => {
    vi.stubEnv('AWS_ENDPOINT_URL_KMS', 'http://127.0.0.1:9');
    const started = Date.now();
    const error = await failure(createSeal([TO], ID));
    expect(error.message).toContain('the connection was refused');
    expect(Date.now() - started).toBeLessThan(30_000);
  }, 40_000);
});
