import { describe, expect, test } from 'vitest';
import { listBackups, resolveBackup } from '../../src/engine/catalog.ts';
import { doctor } from '../../src/engine/doctor.ts';
import { makeBackupId, manifestKey } from '../../src/engine/layout.ts';
import { encodeManifest } from '../../src/engine/manifest-text.ts';
import type { Manifest } from '../../src/engine/manifest.ts';
import { prune } from '../../src/engine/prune.ts';
import type { PruneRequest } from '../../src/engine/api.ts';
import { verify } from '../../src/engine/verify.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { backUp, engine, type Engine, failureOf, storageContent, targetOf } from './engine.ts';

const DAY = 24 * 3_600_000;
const START = Date.parse('2026-11-10T12:00:00Z');

/** A storage with a backup a day, oldest first; all but their ids and parts' places are copies of one real backup. */
async function withBackups(count: number): Promise<{ ctx: Engine; ids: readonly string[] }> {
  const real = engine();
  const { manifest } = await backUp(real, await createDatabase(), { tables: ['variable', 'slot_pool'] });
  const ctx = engine({ now: () => new Date(START + count * DAY) });
  const ids: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const id = makeBackupId(new Date(START + at * DAY), (at + 0xa00000).toString(16));
    ids.push(id);
    await copyAs(real.storage, manifest, ctx.storage, id);
  }
  return { ctx, ids };
}

async function copyAs(from: Storage, manifest: Manifest, to: Storage, id: string): Promise<void> {
  const rename = (key: string): string => key.replace(manifest.backupId, id);
  for (const [key, content] of await storageContent(from)) {
    if (key !== manifestKey(manifest.backupId)) await to.write(rename(key), Buffer.from(content, 'base64'));
  }
  // encodeManifest puts a checksum of its own in the place of this one.
  const renamed = JSON.parse(rename(JSON.stringify(manifest)).replaceAll(manifest.backupId, id)) as Manifest;
  await to.write(manifestKey(id), encodeManifest(renamed));
}

async function damage(storage: Storage, key: string): Promise<void> {
  const bytes = Buffer.from((await storageContent(storage)).get(key) ?? '', 'base64');
  bytes[20] = (bytes[20] ?? 0) ^ 1;
  await storage.write(key, bytes);
}

const partOf = (id: string): string => `backups/${id}/tables/variable/0001.csv.gz`;

describe('which backup is meant', () => {
  test('an id, a unique prefix, and what is not there', async () => {
    const { ctx, ids } = await withBackups(3);
    const [first, , last] = ids;
    expect((await resolveBackup(ctx, first ?? '')).backupId).toBe(first);
    expect((await resolveBackup(ctx, '20261110')).backupId).toBe(first);
    expect((await resolveBackup(ctx, 'latest')).backupId).toBe(last);
    const ambiguous = await failureOf(resolveBackup(ctx, '2026111'));
    expect(ambiguous.kind).toBe('usage');
    expect(ambiguous.message).toMatch(/beginning of 3 backup ids/);
    for (const missing of ['20250101', '', 'backups', '20261110T120000000Z-ffffff', '../x']) {
      expect((await failureOf(resolveBackup(ctx, missing))).kind, missing).toBe('not-found');
    }
    const empty = await failureOf(resolveBackup(engine(), 'latest'));
    expect(empty.kind).toBe('not-found');
    expect(empty.next).toMatch(/--storage/);
  });

  test('latest is the newest, readable or not; latest-verified the newest that is whole', async () => {
    const { ctx, ids } = await withBackups(4);
    const [first, second, third, fourth] = ids as [string, string, string, string];
    await damage(ctx.storage, manifestKey(fourth));
    await damage(ctx.storage, partOf(third));
    const latest = await failureOf(resolveBackup(ctx, 'latest'));
    expect(latest.kind).toBe('integrity');
    expect(latest.message).toContain(fourth);
    expect((await resolveBackup(ctx, 'latest-verified')).backupId).toBe(second);
    const passed = ctx.events.flatMap((event) => (event.event === 'warning' ? [event.message] : []));
    expect(passed).toHaveLength(2);
    expect(passed.join()).toMatch(new RegExp(`${fourth}.*${third}`));

    expect((await failureOf(verify(ctx, { backup: third }))).kind).toBe('integrity');
    expect(await verify(ctx, { backup: second })).toMatchObject({ backupId: second, parts: 2 });
    for (const id of [first, second]) await ctx.storage.remove([partOf(id)]);
    const none = await failureOf(resolveBackup(ctx, 'latest-verified'));
    expect(none.kind).toBe('integrity');
    expect(none.message).toMatch(/None of the 4 backups/);
  });

  test('a folder without a manifest is no backup, and whoever names it hears why', async () => {
    const { ctx, ids } = await withBackups(1);
    const id = makeBackupId(new Date(START + 9 * DAY), 'abcdef');
    await ctx.storage.write(partOf(id), Buffer.from('x'));
    expect((await resolveBackup(ctx, 'latest')).backupId).toBe(ids[0]);
    expect((await failureOf(resolveBackup(ctx, id))).message).toMatch(/no manifest: it was never finished/);
  });
});

test('the list is newest first, and shows what cannot be read with its problem', async () => {
  const { ctx, ids } = await withBackups(3);
  const [first, second, third] = ids as [string, string, string];
  await ctx.storage.write(manifestKey(second), Buffer.from('{"formatVersion": 9}'));
  const id = makeBackupId(new Date(START + 9 * DAY), 'abcdef');
  await ctx.storage.write(partOf(id), Buffer.from('x'));
  await ctx.storage.write('backups/README', Buffer.from('not ours'));
  const { entries, incomplete } = await listBackups(ctx.storage, ctx.signal);
  expect(entries.map(({ backupId }) => backupId)).toEqual([third, second, first]);
  expect(entries[0]?.manifest?.tables).toHaveLength(2);
  expect(entries[1]?.manifest).toBeUndefined();
  expect(entries[1]?.problem).toMatch(/format 9/);
  expect(incomplete).toEqual([id]);
});

test('verify against a database names the tables whose counts differ', async () => {
  const ctx = engine();
  const source = await createDatabase();
  await backUp(ctx, source);
  const request = { backup: 'latest', environment: targetOf(source) };
  expect((await verify(ctx, request)).differences).toEqual([]);
  await (await source.client()).query("INSERT INTO variable (key, val) VALUES ('new', ''); DELETE FROM xcom");
  expect((await verify(ctx, request)).differences).toEqual([
    { table: 'variable', backup: 33, database: 34 },
    { table: 'xcom', backup: 153, database: 0 },
  ]);
});

describe('prune', () => {
  const request = (rules: Partial<PruneRequest>): PruneRequest => ({
    minBackups: 1,
    dryRun: false,
    confirm: () => Promise.resolve(true),
    ...rules,
  });
  const left = async (ctx: Engine): Promise<readonly string[]> =>
    (await listBackups(ctx.storage, ctx.signal)).entries.map(({ backupId }) => backupId).reverse();

  test('removes what no rule keeps, whole, and nothing else', async () => {
    const { ctx, ids } = await withBackups(5);
    await ctx.storage.write('drills/x.json', Buffer.from('{}'));
    const before = await storageContent(ctx.storage);
    const dry = await prune(ctx, request({ keepLast: 2, dryRun: true }));
    expect(dry.plan.remove).toEqual(ids.slice(0, 3));
    expect(await storageContent(ctx.storage)).toEqual(before);
    const refused = await failureOf(
      prune(ctx, request({ keepLast: 2, confirm: () => Promise.resolve(false) })),
    );
    expect(refused.kind).toBe('refused');
    expect(await storageContent(ctx.storage)).toEqual(before);

    const { removed } = await prune(ctx, request({ keepLast: 2 }));
    expect(removed).toMatchObject({ backups: 3, debris: 0, objects: 9 });
    expect(await left(ctx)).toEqual(ids.slice(3));
    const after = await storageContent(ctx.storage);
    expect([...after.keys()]).toEqual(
      [...before.keys()].filter((key) => !ids.slice(0, 3).some((id) => key.includes(id))),
    );
    await verify(ctx, { backup: 'latest' });
  });

  test('the floor counts backups that can be read, and those that cannot are not removed', async () => {
    const { ctx, ids } = await withBackups(4);
    const newest = ids[3] ?? '';
    await damage(ctx.storage, manifestKey(newest));
    const { plan } = await prune(ctx, request({ keepWithin: 1, minBackups: 2 }));
    expect(plan.unreadable).toEqual([newest]);
    expect(plan.keep.map(({ backupId, reasons }) => [backupId, ...reasons])).toEqual([
      [ids[2], 'minimum'],
      [ids[1], 'minimum'],
    ]);
    expect(await left(ctx)).toEqual(ids.slice(1));
  });

  test('debris goes a day after its last write, not sooner', async () => {
    const { ctx, ids } = await withBackups(1);
    const id = makeBackupId(new Date(START), 'abcdef');
    await ctx.storage.write(partOf(id), Buffer.from('x'));
    const at = (ms: number): Engine => ({ ...ctx, now: () => new Date(Date.now() + ms) });
    const young = await prune(at(DAY - 60_000), request({ keepLast: 5 }));
    expect(young.plan).toMatchObject({ debris: [], underWay: [id] });
    expect(young.removed).toMatchObject({ debris: 0, objects: 0 });
    const old = await prune(at(DAY + 60_000), request({ keepLast: 5 }));
    expect(old.removed).toMatchObject({ backups: 0, debris: 1, objects: 1 });
    expect([...(await storageContent(ctx.storage)).keys()].some((key) => key.includes(id))).toBe(false);
    expect(await left(ctx)).toEqual(ids);
  });
});

describe('doctor', () => {
  const found = async (
    sql: string,
    keys: readonly string[] = [FIXTURE_FERNET_KEY],
  ): Promise<(check: string) => { status: string; found: string; fix?: string } | undefined> => {
    const database = await createDatabase();
    if (sql !== '') await (await database.client()).query(sql);
    const ctx = engine();
    const { checks } = await doctor(ctx, {
      environment: targetOf(database),
      fernetKeys: keys,
      checkStorage: true,
    });
    expect(await storageContent(ctx.storage), 'the storage after the probe').toEqual(new Map());
    for (const { status, fix } of checks) expect(fix === undefined).toBe(status === 'ok');
    return (check) => checks.find((one) => one.check === check);
  };

  test('finds a healthy environment healthy, and names the secret that no key reads', async () => {
    const check = await found('');
    expect(check('version')).toMatchObject({
      status: 'ok',
      found: expect.stringContaining('88344c1d9134') as string,
    });
    for (const name of [
      'connection',
      'schema',
      'right to back up',
      'right to restore',
      'temporary tables',
      'backups',
    ]) {
      expect(check(name)?.status, name).toBe('ok');
    }
    expect(check('secrets')).toMatchObject({
      status: 'warning',
      found: expect.stringContaining('lab_other_fernet_key') as string,
    });
  });

  test('tells drift that does no harm from drift that does, and lists all of it', async () => {
    const harmless = await found('ALTER TABLE dag ADD tenant text');
    expect(harmless('schema')).toMatchObject({
      status: 'warning',
      found: expect.stringContaining('dag.tenant') as string,
    });
    const harmful = await found('ALTER TABLE xcom DROP value; DROP TABLE sla_miss');
    expect(harmful('version')?.status).toBe('failed');
    expect(harmful('version')?.found).toMatch(/xcom\.value is missing/);
    expect(harmful('version')?.found).toMatch(/sla_miss is missing/);
  });

  test('an unknown Airflow and a server that is not there are findings, not failures', async () => {
    const unknown = await found("UPDATE alembic_version SET version_num = 'abcdefabcdef'");
    expect(unknown('version')).toMatchObject({ status: 'failed' });
    const nobody = targetOf({ url: 'postgresql://u:p@127.0.0.1:1/none' });
    const { checks } = await doctor(engine(), { environment: nobody, fernetKeys: [], checkStorage: false });
    expect(checks.find(({ check }) => check === 'connection')).toMatchObject({ status: 'failed' });
    expect(JSON.stringify(checks)).not.toMatch(/u:p/);
  });
});
