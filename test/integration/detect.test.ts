import { beforeAll, describe, expect, test } from 'vitest';
import { databaseSource } from '../../src/engine/manifest.ts';
import { createDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { backUp, cleanUp, engine, type Engine, failureOf, restoreInto, storageContent } from './engine.ts';

/** What is in alembic_version, and what the refusal must say. */
const HEADS: readonly (readonly [name: string, sql: string, message: RegExp, next: RegExp])[] = [
  [
    '2.4',
    "UPDATE alembic_version SET version_num = 'e07f49787c9d'",
    /Airflow 2\.4 .*e07f49787c9d/,
    /2\.5 to 2\.11/,
  ],
  [
    '3.0',
    "UPDATE alembic_version SET version_num = '29ce7909c52b'",
    /Airflow 3\.0 .*29ce7909c52b/,
    /2\.5 to 2\.11/,
  ],
  ['3.4', "UPDATE alembic_version SET version_num = 'b4f1a7d2c903'", /Airflow 3\.4 /, /2\.5 to 2\.11/],
  [
    'unknown',
    "UPDATE alembic_version SET version_num = 'abcdefabcdef'",
    /unknown .*abcdefabcdef/,
    /migration|update/,
  ],
  ['two heads', "INSERT INTO alembic_version VALUES ('abcdefabcdef')", /2 Alembic heads/, /migration/],
  ['no head', 'DELETE FROM alembic_version', /0 Alembic heads \(none\)/, /migration/],
  ['no table', 'DROP TABLE alembic_version', /no Airflow in schema public .*alembic_version/, /--schema/],
];

let ctx: Engine;
let stored: ReadonlyMap<string, string>;

beforeAll(async () => {
  ctx = engine();
  const source = await createDatabase();
  await backUp(ctx, source);
  stored = await storageContent(ctx.storage);
  await source.drop();
});

describe.each(HEADS)('a database with Alembic head: %s', (_, sql, message, next) => {
  test('is refused by every command, untouched', async () => {
    const bad = await createDatabase();
    const client = await bad.client();
    await client.query(sql);
    const before = await databaseFingerprint(client);
    for (const work of [
      () => backUp(ctx, bad),
      () => restoreInto(ctx, bad, { clean: true }),
      () => cleanUp(ctx, bad),
    ]) {
      const error = await failureOf(work());
      expect(error.kind).toBe('unsupported');
      expect(error.message).toMatch(message);
      expect(error.next).toMatch(next);
    }
    expect(await databaseFingerprint(client)).toEqual(before);
    expect(await storageContent(ctx.storage)).toEqual(stored);
  });
});

test('an unknown head is answered with what was found and what is expected', async () => {
  const bad = await createDatabase();
  await (await bad.client()).query("UPDATE alembic_version SET version_num = 'abcdefabcdef'");
  const { details } = await failureOf(backUp(engine(), bad));
  expect(details.found).toBe('abcdefabcdef');
  expect(details.expected).toMatch(/290244fb8b83 \(2\.5\.0.*5f2621c13b39 \(2\.10\.3/);
});

test('a target of an older minor is refused with both named', async () => {
  for (const version of ['2.5.1', '2.7.2'] as const) {
    const target = await createDatabase({ version });
    const client = await target.client();
    const before = await databaseFingerprint(client);
    const error = await failureOf(restoreInto(ctx, target, { clean: true }));
    expect(error.kind).toBe('unsupported');
    expect(error.message).toMatch(/is of Airflow 2\.8 .*same minor/);
    expect(error.message).toContain(version.slice(0, 3));
    expect(error.next).toMatch(/Airflow 2\.8/);
    expect(await databaseFingerprint(client)).toEqual(before);
  }
  expect(await storageContent(ctx.storage)).toEqual(stored);
});

test('patch releases of one minor restore into each other, and the plan says so', async () => {
  const own = engine();
  const source = await createDatabase({ version: '2.6.3' });
  await (await source.client()).query("UPDATE alembic_version SET version_num = '98ae134e6fff'");
  const { manifest } = await backUp(own, source);
  expect(manifest.source).toMatchObject({ airflow: '2.6', alembicHead: '98ae134e6fff' });
  const target = await createDatabase({ version: '2.6.3', from: 'fresh' });
  const { plan, loaded } = await restoreInto(own, target);
  expect(plan.warnings).toContainEqual(expect.objectContaining({ code: 'patch-release' }));
  expect(loaded.rows).toBeGreaterThan(500);
});

test.each(['2.10.3', '2.11.0'] as const)(
  '%s is called what its head can tell: 2.10.3–2.11',
  async (version) => {
    const { manifest } = await backUp(engine(), await createDatabase({ version }));
    expect(manifest.source.airflow).toBe('2.10.3–2.11');
    expect(databaseSource(manifest).alembicHead).toBe('5f2621c13b39');
  },
);

test('2.10.0 restores into 2.11', async () => {
  const own = engine();
  const source = await createDatabase({ version: '2.10.3' });
  await (await source.client()).query("UPDATE alembic_version SET version_num = '22ed7efa9da2'");
  const { manifest } = await backUp(own, source);
  expect(manifest.source.airflow).toBe('2.10');
  await restoreInto(own, await createDatabase({ version: '2.11.0', from: 'fresh' }));
});
