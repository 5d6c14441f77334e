import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { expect, test } from 'vitest';
import { fernetEncrypt } from '../../src/secrets/fernet.ts';
import { createDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { clearTexts, freshTarget } from '../helpers/secrets.ts';
import { backUp, engine, failureOf, restoreInto } from './engine.ts';

const TARGET_KEY = randomBytes(32).toString('base64url') + '=';
const UNREADABLE = 'variable lab_other_fernet_key';
const keep = {
  fernetKeys: [TARGET_KEY],
  sourceFernetKeys: [FIXTURE_FERNET_KEY],
  unreadable: 'keep',
} as const;

async function tokens(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ token: string }>(
    `SELECT val AS token FROM variable WHERE is_encrypted AND val <> ''
     UNION ALL SELECT password FROM connection WHERE is_encrypted AND password <> ''
     UNION ALL SELECT extra FROM connection WHERE is_extra_encrypted AND extra <> ''`,
  );
  return rows.map((row) => row.token);
}

test.each(['2.8.1', '2.11.0'] as const)(
  '%s: secrets become readable with the target’s key alone',
  async (version) => {
    const ctx = engine();
    const source = await createDatabase({ version });
    const target = await freshTarget(version);
    await backUp(ctx, source);
    const { loaded } = await restoreInto(ctx, target, keep);

    const before = await clearTexts(source, [FIXTURE_FERNET_KEY]);
    const after = await clearTexts(target, [TARGET_KEY]);
    expect(after).toEqual(before);
    expect([...after].filter(([, text]) => text === '?').map(([name]) => name)).toEqual([UNREADABLE]);
    expect(loaded.secrets.reencrypted).toBeGreaterThan(20);
    expect(loaded.secrets.encrypted).toBe(0);
    expect(loaded.unreadableSecrets).toEqual([UNREADABLE]);
    if (version === '2.11.0') {
      expect([...after.keys()].some((name) => name.startsWith('trigger '))).toBe(true);
    }
  },
);

test('what no known key reads is refused by name, and the target stays as it was', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const target = await createDatabase({ from: 'fresh' });
  await backUp(ctx, source);
  const client = await target.client();
  const before = await databaseFingerprint(client);

  const withoutSource = await failureOf(restoreInto(ctx, target, { fernetKeys: [TARGET_KEY] }));
  expect(withoutSource.kind).toBe('refused');
  expect(withoutSource.next).toContain('LIFEBOAT_SOURCE_FERNET_KEY');
  expect(withoutSource.details.unreadable).toContain(UNREADABLE);
  expect((withoutSource.details.unreadable as string[]).length).toBeGreaterThan(20);

  const withSource = await failureOf(restoreInto(ctx, target, { ...keep, unreadable: 'refuse' }));
  expect(withSource.details.unreadable).toEqual([UNREADABLE]);
  expect(await databaseFingerprint(client)).toEqual(before);
});

test('with the same key every token stays as it is, unreadable ones too', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const target = await freshTarget('2.8.1');
  await backUp(ctx, source);
  const { loaded } = await restoreInto(ctx, target, { fernetKeys: [TARGET_KEY, FIXTURE_FERNET_KEY] });
  expect(loaded.secrets).toEqual({ reencrypted: 0, encrypted: 0 });
  const [from, to] = [await source.client(), await target.client()];
  expect((await tokens(to)).toSorted()).toEqual((await tokens(from)).toSorted());
});

test('a backup that does not know its key: a target key that reads none of it is another key', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const target = await freshTarget('2.8.1');
  await backUp(ctx, source, { fernetKeys: [] });
  expect((await failureOf(restoreInto(ctx, target, { fernetKeys: [TARGET_KEY] }))).kind).toBe('refused');
  const { loaded } = await restoreInto(ctx, target);
  expect(loaded.unreadableSecrets).toEqual([UNREADABLE]);
});

test('entries that are skipped need no key', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const target = await createDatabase({ from: 'fresh' });
  await backUp(ctx, source);
  const { loaded } = await restoreInto(ctx, target, {
    fernetKeys: [TARGET_KEY],
    variables: 'skip',
    connections: 'skip',
  });
  expect(loaded.secrets.reencrypted).toBe(0);
});

test('rows in clear stay in clear, unless they are to be encrypted', async () => {
  const ctx = engine();
  const source = await createDatabase();
  await backUp(ctx, source);
  const plain = await freshTarget('2.8.1');
  await restoreInto(ctx, plain, keep);
  const flags = `SELECT key, is_encrypted FROM variable WHERE val <> '' ORDER BY key`;
  const [from, to] = [await source.client(), await plain.client()];
  expect((await to.query(flags)).rows).toEqual((await from.query(flags)).rows);

  const sealed = await freshTarget('2.8.1');
  const { loaded } = await restoreInto(ctx, sealed, { ...keep, encryptClear: true });
  expect(loaded.secrets.encrypted).toBeGreaterThan(0);
  const left = await (
    await sealed.client()
  ).query(`SELECT key FROM variable WHERE val <> '' AND is_encrypted IS NOT TRUE`);
  expect(left.rows).toEqual([]);
  expect(await clearTexts(sealed, [TARGET_KEY])).toEqual(await clearTexts(source, [FIXTURE_FERNET_KEY]));
});

test('no clear text stands in a statement or parameter that the server logs', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const target = await freshTarget('2.8.1');
  const marker = `clear-${randomBytes(8).toString('hex')}`;
  const client = await source.client();
  const token = fernetEncrypt(FIXTURE_FERNET_KEY, marker, { now: new Date(), iv: randomBytes(16) });
  await client.query(`INSERT INTO variable (key, val, is_encrypted) VALUES ('marked', $1, true)`, [token]);
  await backUp(ctx, source);

  // What a server with log_statement=all writes down is what the client sends: statements and parameters.
  const sent: string[] = [];
  const pgModule = await import('pg');
  const prototype = pgModule.default.Client.prototype as { query: (...args: unknown[]) => unknown };
  const { query } = prototype;
  prototype.query = function spy(this: unknown, ...args: unknown[]): unknown {
    sent.push(
      JSON.stringify(
        args.map((arg) => (typeof arg === 'object' ? Object.values(arg ?? {}) : arg)).map(String),
      ),
    );
    return query.apply(this, args);
  };
  try {
    await restoreInto(ctx, target, keep);
  } finally {
    prototype.query = query;
  }
  expect(sent.some((text) => text.includes('lifeboat_rekeyed'))).toBe(true);
  expect(sent.filter((text) => text.includes(marker))).toEqual([]);
  expect((await clearTexts(target, [TARGET_KEY])).get('variable marked')).toBe(marker);
});
