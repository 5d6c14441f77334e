import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { gunzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { diff } from '../../src/engine/diff/diff.ts';
import { exportBackup } from '../../src/engine/export/export.ts';
import { importBackup } from '../../src/engine/import/import.ts';
import { unsealForReading } from '../../src/engine/sealed/open-backup.ts';
import { readSealedPart } from '../../src/engine/sealed/read.ts';
import { verify } from '../../src/engine/verify.ts';
import { fernetEncrypt } from '../../src/secrets/fernet.ts';
import { LifeboatError } from '../../src/errors.ts';
import { createDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { expectedSecrets, mwaaBackup } from '../helpers/mwaa-dr.ts';
import { clearTexts, freshTarget } from '../helpers/secrets.ts';
import { backUp, engine, failureOf, restoreInto, storageContent, targetOf } from './engine.ts';

const TARGET_KEY = randomBytes(32).toString('base64url') + '=';
const UNREADABLE = 'variable lab_other_fernet_key';

async function keyPair(): Promise<{ identity: string; recipient: string }> {
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

test.each(['2.8.1', '2.11.0'] as const)(
  '%s: what is sealed comes back readable with the target’s key alone, by any recipient’s identity',
  async (version) => {
    const ctx = engine();
    const source = await createDatabase({ version });
    const target = await freshTarget(version);
    const [one, other] = [await keyPair(), await keyPair()];
    const { manifest } = await backUp(ctx, source, { sealTo: [one.recipient, other.recipient] });
    expect(manifest.secrets).toMatchObject({
      mode: 'sealed',
      recipients: [one.recipient, other.recipient],
      unreadable: { count: 1, names: [UNREADABLE] },
    });

    // No Fernet key of the source: that environment is gone.
    const { loaded } = await restoreInto(ctx, target, {
      fernetKeys: [TARGET_KEY],
      identities: [other.identity],
      unreadable: 'keep',
    });
    const before = await clearTexts(source, [FIXTURE_FERNET_KEY]);
    const after = await clearTexts(target, [TARGET_KEY]);
    expect(after).toEqual(before);
    expect([...after].filter(([, text]) => text === '?').map(([name]) => name)).toEqual([UNREADABLE]);
    expect(loaded.secrets.reencrypted).toBeGreaterThan(20);
    expect(loaded.unreadableSecrets).toEqual([UNREADABLE]);
    if (version === '2.11.0') {
      expect([...after.keys()].some((name) => name.startsWith('trigger '))).toBe(true);
    }
    expect((await verify(ctx, { backup: 'latest' })).sealed).toBe('not opened');
    expect((await verify(ctx, { backup: 'latest', identities: [one.identity] })).sealed).toBe('opened');
    const wrong = await failureOf(
      verify(ctx, { backup: 'latest', identities: [(await keyPair()).identity] }),
    );
    expect(wrong.kind).toBe('refused');
  },
);

test('no value lies in the storage in clear, also one that the source had in clear, and all else is verifiable', async () => {
  const ctx = engine();
  const source = await createDatabase({ version: '2.8.1' });
  const client = await source.client();
  const marker = 'opensesame-7d1f';
  const token = fernetEncrypt(FIXTURE_FERNET_KEY, marker, { now: new Date(), iv: randomBytes(16) });
  await client.query(
    `INSERT INTO variable (key, val, is_encrypted) VALUES ('crypted', '${token}', true), ('clear', '${marker}', false), ('noflag', '${marker}', NULL);
     INSERT INTO connection (conn_id, conn_type, host, password, extra) VALUES ('clear_one', 'http', 'host.example', '${marker}', '{"a": "${marker}"}');
     INSERT INTO trigger (classpath, kwargs, created_date) VALUES ('a.B', '{"a": "${marker}"}', now())`,
  );
  const { recipient } = await keyPair();
  const { manifest } = await backUp(ctx, source, { sealTo: [recipient] });

  let texts = 0;
  for await (const { key } of ctx.storage.list('')) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await ctx.storage.read(key)) as AsyncIterable<Uint8Array>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const text = (key.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1');
    expect(text.includes(marker), key).toBe(false);
    expect(text.includes(token), key).toBe(false);
    if (key.endsWith('.age')) expect(text.startsWith('age-encryption.org/v1\n-> X25519 ')).toBe(true);
    if (text.includes('host.example')) texts += 1;
  }
  // The rest of a row lies beside its secrets, for everybody.
  expect(texts).toBe(1);
  const tables = new Map(manifest.tables.map((table) => [table.name, table]));
  expect(tables.get('variable')?.columns).toEqual(['id', 'key', 'description', 'is_encrypted']);
  expect(tables.get('connection')?.sealed).toEqual(['password', 'extra']);
  expect(tables.get('trigger')?.sealed).toEqual(['kwargs']);
  const verified = await verify(ctx, { backup: 'latest' });
  expect(verified).toMatchObject({ rows: manifest.totals.rows, parts: manifest.totals.parts });
  expect(manifest.totals.parts).toBe(manifest.totals.tables + 3);
});

test('without a key of the target, without an identity, with another one: refused, and the target stays', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const target = await createDatabase({ from: 'fresh' });
  const { identity, recipient } = await keyPair();
  await backUp(ctx, source, { sealTo: [recipient] });
  const client = await target.client();
  const before = await databaseFingerprint(client);

  const noIdentity = await failureOf(restoreInto(ctx, target, { fernetKeys: [TARGET_KEY] }));
  expect(noIdentity).toMatchObject({ kind: 'refused', details: { blockers: [{ code: 'no-identity' }] } });
  expect(noIdentity.message).toContain(recipient);
  expect(noIdentity.next).toContain('--identity-file');

  const stranger = await keyPair();
  const wrong = await failureOf(
    restoreInto(ctx, target, { fernetKeys: [TARGET_KEY], identities: [stranger.identity], dryRun: true }),
  );
  expect(wrong).toMatchObject({ kind: 'refused', details: { blockers: [{ code: 'wrong-identity' }] } });
  expect(wrong.message).toContain(recipient);
  expect(wrong.message).not.toContain(stranger.identity);

  const noKey = await failureOf(restoreInto(ctx, target, { fernetKeys: [], identities: [identity] }));
  expect(noKey).toMatchObject({ kind: 'refused', details: { blockers: [{ code: 'no-target-key' }] } });
  expect(await databaseFingerprint(client)).toEqual(before);

  // What is not restored needs neither.
  const { loaded } = await restoreInto(ctx, target, {
    fernetKeys: [],
    tables: ['dag_run', 'variable', 'connection'],
    variables: 'skip',
    connections: 'skip',
  });
  expect(loaded.variables).toMatchObject({ added: 0, replaced: 0 });
});

test('a backup is not sealed with a key that reads nothing, or for nobody', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const { recipient } = await keyPair();
  const noKey = await failureOf(backUp(ctx, source, { sealTo: [recipient], fernetKeys: [] }));
  expect(noKey.kind).toBe('refused');
  expect(noKey.next).toContain('LIFEBOAT_FERNET_KEY');
  const wrongKey = await failureOf(backUp(ctx, source, { sealTo: [recipient], fernetKeys: [TARGET_KEY] }));
  expect(wrongKey.kind).toBe('refused');
  expect((await failureOf(backUp(ctx, source, { secrets: 'sealed' }))).kind).toBe('usage');
  expect((await failureOf(backUp(ctx, source, { secrets: 'omit', sealTo: [recipient] }))).kind).toBe('usage');
  expect((await failureOf(backUp(ctx, source, { sealTo: ['age1nobody'] }))).kind).toBe('usage');
  expect(await storageContent(ctx.storage)).toEqual(new Map());
});

test('sealed bytes that changed are damage (12), whether or not the manifest says so', async () => {
  const ctx = engine();
  const source = await createDatabase({ version: '2.8.1' });
  const { identity, recipient } = await keyPair();
  const { manifest } = await backUp(ctx, source, { sealTo: [recipient], tables: ['variable'] });
  const part = manifest.tables[0]?.parts[0]?.sealed;
  if (!part) throw new Error('There is no sealed part.');
  const chunks: Uint8Array[] = [];
  const stored = (await ctx.storage.read(part.key)) as AsyncIterable<Uint8Array>;
  for await (const chunk of stored) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  const flipped = Buffer.from(whole);
  flipped[flipped.length - 5] = (flipped[flipped.length - 5] ?? 0) ^ 1;
  const unsealing = await unsealForReading(ctx, manifest, manifest.tables, [identity]);
  for (const bytes of [flipped, whole.subarray(0, -20), Buffer.concat([whole, Buffer.from('x')])]) {
    await ctx.storage.write(part.key, bytes);
    expect((await failureOf(verify(ctx, { backup: 'latest' }))).kind).toBe('integrity');
    // The same bytes, described as they are: only age can tell.
    const table = manifest.tables[0]!;
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const lying = { ...table.parts[0]!, sealed: { key: part.key, bytes: bytes.length, sha256 } };
    const read = async (): Promise<void> => {
      const damaged = (key: string, problem: string): LifeboatError =>
        new LifeboatError('integrity', `${key}: ${problem}`);
      const rows = readSealedPart(ctx, table, lying, unsealing!, { onBytes: () => undefined, damaged });
      for await (const chunk of rows) expect(chunk.length).toBeGreaterThan(0);
    };
    expect((await failureOf(read())).message).toContain('age does not accept it');
  }
  await ctx.storage.write(part.key, whole);
  await verify(ctx, { backup: 'latest', identities: [identity] });
});

test('omit: what holds a secret is not stored and not restored, and both sides say what', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const target = await freshTarget('2.8.1');
  const client = await source.client();
  await client.query(
    `INSERT INTO connection (conn_id, conn_type, host) VALUES ('open_house', 'http', 'host.example')`,
  );
  const { rows } = await client.query<{ count: number }>(
    `SELECT count(*)::int FROM variable WHERE val <> ''`,
  );
  const { manifest } = await backUp(ctx, source, { secrets: 'omit', fernetKeys: [] });
  expect(manifest.secrets.mode).toBe('omit');
  expect(manifest.tables.map((table) => table.name)).not.toContain('trigger');
  const left = manifest.leftOut.find(({ table }) => table === 'variable');
  expect(left?.rows).toBe(rows[0]?.count);
  expect(left?.names).toContain('lab_other_fernet_key');

  const there = await target.client();
  await there.query(
    `INSERT INTO variable (key, val, is_encrypted) VALUES ('lab_other_fernet_key', 'mine', false)`,
  );
  const { plan, loaded } = await restoreInto(ctx, target, { variables: 'replace', connections: 'replace' });
  expect(plan.warnings.filter(({ code }) => code === 'secrets-omitted')).toHaveLength(2);
  const without = await client.query<{ conn_id: string }>(
    `SELECT conn_id FROM connection WHERE coalesce(password, '') = '' AND coalesce(extra, '') = '' ORDER BY 1`,
  );
  const come = await there.query<{ conn_id: string }>('SELECT conn_id FROM connection ORDER BY 1');
  expect(come.rows).toEqual(without.rows);
  expect(loaded.connections.added).toBe(without.rows.length);
  const kept = await there.query(`SELECT val FROM variable WHERE val IS NOT NULL`);
  expect(kept.rows).toEqual([{ val: 'mine' }]);
  const clear = await clearTexts(source, [FIXTURE_FERNET_KEY]);
  for (const [key, stored] of await storageContent(ctx.storage)) {
    const bytes = Buffer.from(stored, 'base64');
    const text = (key.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
    if (/tables.(variable|connection)/.test(key)) {
      for (const value of clear.values()) expect(value.length < 6 || !text.includes(value), key).toBe(true);
      expect(text).not.toContain('gAAAA');
    }
  }
});

test('export and diff read sealed secrets with an identity, and say what they lack without', async () => {
  const ctx = engine();
  const source = await createDatabase({ version: '2.11.0' });
  const { identity, recipient } = await keyPair();
  await backUp(ctx, source, { sealTo: [recipient] });

  const other = { environment: targetOf(source) };
  const compare = { backup: 'latest', other, fernetKeys: [FIXTURE_FERNET_KEY] };
  const opened = await diff(ctx, { ...compare, identities: [identity] });
  const variables = opened.tables.find(({ table }) => table === 'variable');
  expect(variables).toMatchObject({ missing: 0, added: 0, changed: 0 });
  expect(variables?.columnsNotCompared).toEqual(['id']);
  const client = await source.client();
  const token = fernetEncrypt(FIXTURE_FERNET_KEY, 'another value', { now: new Date(), iv: randomBytes(16) });
  const { rows } = await client.query<{ key: string }>(
    `UPDATE variable SET val = '${token}' WHERE id = (SELECT min(id) FROM variable WHERE is_encrypted) RETURNING key`,
  );
  const changed = await diff(ctx, { ...compare, identities: [identity], tables: ['variable'] });
  expect(changed.tables[0]?.examples.changed).toEqual([rows[0]?.key]);
  const closed = await diff(ctx, { ...compare, tables: ['variable', 'connection'] });
  expect(closed.tables[0]?.changed).toBe(0);
  expect(closed.tables.find(({ table }) => table === 'variable')?.columnsNotCompared).toContain('val');
  expect(ctx.events.some((event) => event.event === 'warning' && event.code === 'sealed-secrets')).toBe(true);

  const folder = mkdtempSync(join(tmpdir(), 'lifeboat-sealed-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const asked = {
    backup: 'latest',
    format: 'json',
    fernetKeys: [],
    tables: ['variable', 'connection'],
  } as const;
  const without = await exportBackup(ctx, { ...asked, to: join(folder, 'without'), withSecrets: false });
  expect(without.files).toEqual([]);
  expect(without.leftOut.map(({ table }) => table)).toEqual(['variable', 'connection']);
  const refused = await failureOf(exportBackup(ctx, { ...asked, to: join(folder, 'no'), withSecrets: true }));
  expect(refused.kind).toBe('refused');
  expect(refused.next).toContain('--identity-file');
  await exportBackup(ctx, { ...asked, to: join(folder, 'open'), withSecrets: true, identities: [identity] });
  const values = JSON.parse(readFileSync(join(folder, 'open', 'variables.json'), 'utf8')) as Record<
    string,
    string
  >;
  for (const [name, text] of await clearTexts(source, [FIXTURE_FERNET_KEY])) {
    const key = /^variable (.+)$/s.exec(name)?.[1];
    if (key === undefined || key === rows[0]?.key || text === '?') continue;
    expect(values[key], key).toBe(Buffer.from(text, 'latin1').toString('utf8'));
  }
});

test('import --seal-to: what mwaa_dr stored in clear is sealed, and needs no Fernet key', async () => {
  const ctx = engine();
  const { identity, recipient } = await keyPair();
  const { manifest } = await importBackup(ctx, {
    from: await mwaaBackup('clean'),
    format: 'mwaa-dr',
    airflowVersion: '2.8.1',
    compression: { codec: 'gzip', level: 1 },
    fernetKeys: [],
    sealTo: [recipient],
  });
  expect(manifest.secrets).toMatchObject({ mode: 'sealed', recipients: [recipient] });
  await verify(ctx, { backup: 'latest', identities: [identity] });
  const target = await freshTarget('2.8.1');
  await restoreInto(ctx, target, { fernetKeys: [TARGET_KEY], identities: [identity] });
  const after = await clearTexts(target, [TARGET_KEY]);
  const expected = Object.entries(expectedSecrets('clean', 'variable'));
  expect(expected.length).toBeGreaterThan(5);
  for (const [key, row] of expected) {
    if (row.val === '') continue;
    expect(after.get(`variable ${key}`), key).toBe(Buffer.from(String(row.val)).toString('latin1'));
  }
});
