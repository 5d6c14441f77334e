import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateAliasCommand, CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createOpener, createSeal } from '../../src/secrets/seal.ts';
import { createDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { freePort } from '../helpers/free-port.ts';
import { clearTexts, freshTarget } from '../helpers/secrets.ts';
import { backUp, engine, failureOf, restoreInto } from './engine.ts';

/** The server of moto (https://docs.getmoto.org), whose KMS others wrote; without it only the fake one of test/helpers is asked. */
const MOTO = process.env.LIFEBOAT_TEST_MOTO ?? 'moto_server';
const installed = spawnSync(MOTO, ['--help'], { stdio: 'ignore', timeout: 30_000 }).status === 0;
const TARGET_KEY = `${randomBytes(32).toString('base64url')}=`;
const TO = 'awskms://alias/dr?region=eu-west-1';

async function makeKey(region: string, alias: string): Promise<void> {
  const client = new KMSClient({ region });
  const made = await client.send(new CreateKeyCommand({}));
  await client.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: made.KeyMetadata?.KeyId }));
  client.destroy();
}

describe.skipIf(!installed)('KMS as an emulator has it', () => {
  let stop: () => Promise<void>;

  beforeAll(async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const server = spawn(MOTO, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
    const exited = once(server, 'exit');
    stop = async () => {
      server.kill('SIGKILL');
      await exited;
    };
    vi.stubEnv('AWS_ENDPOINT_URL_KMS', url);
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
    vi.stubEnv('AWS_REGION', 'us-east-1');
    for (let attempt = 0; attempt < 300; attempt += 1) {
      const answer = await fetch(`${url}/moto-api/data.json`).catch(() => undefined);
      if (answer?.ok === true) break;
      await sleep(100);
    }
    await makeKey('eu-west-1', 'alias/dr');
  }, 60_000);

  afterAll(async () => {
    vi.unstubAllEnvs();
    await stop();
  });

  test('a backup sealed with a KMS key is restored without an identity, readable with the target’s key alone', async () => {
    const ctx = engine();
    const source = await createDatabase({ version: '2.11.0' });
    const target = await freshTarget('2.11.0');
    const { manifest } = await backUp(ctx, source, { sealTo: [TO] });
    expect(manifest.secrets).toMatchObject({ mode: 'sealed', recipients: [TO] });
    await restoreInto(ctx, target, { fernetKeys: [TARGET_KEY], unreadable: 'keep' });
    const before = await clearTexts(source, [FIXTURE_FERNET_KEY]);
    expect(before.size).toBeGreaterThan(20);
    expect(await clearTexts(target, [TARGET_KEY])).toEqual(before);
  }, 120_000);

  test('what was sealed for one backup opens for no other', async () => {
    const bytes = Buffer.from('opensesame-7d1f');
    const one = '20261121T013012345Z-4f3a9c';
    const chunks = async function* (content: Uint8Array): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(content);
    };
    const seal = await createSeal([TO], one);
    const sealed = await buffer(await seal.seal(chunks(bytes)));
    const open = async (backupId: string, recipient: string): Promise<Buffer> => {
      const opener = await createOpener({ identities: [], recipients: [recipient], backupId });
      return buffer(await opener.open(chunks(sealed)));
    };
    expect(await open(one, TO)).toEqual(bytes);
    const other = await failureOf(open('20261122T013012345Z-000000', TO));
    expect(other.kind).toBe('refused');
  }, 60_000);
});
