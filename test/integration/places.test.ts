import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type pg from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { activate } from '../../src/engine/activate.ts';
import { doctor } from '../../src/engine/doctor.ts';
import { verify } from '../../src/engine/verify.ts';
import { quoteIdent } from '../../src/db/introspect.ts';
import { snapshotTables } from '../helpers/compare.ts';
import { createDatabase, withClient, type TestDatabase } from '../helpers/databases.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { databaseSource } from '../../src/engine/manifest.ts';
import { openFixture } from '../helpers/fixtures.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { hurtfulRows } from '../helpers/hurtful-rows.ts';
import { backUp, cleanUp, engine, failureOf, restoreInto, targetOf } from './engine.ts';
import { diffContent, expectedContent, resolveIds } from './expected.ts';

describe.each(['airflow', 'Air-Flow', 'it"s \\ a schema'])('Airflow in the schema %s', (schema) => {
  test('goes through the whole cycle, and public is not touched', async () => {
    const source = await movedTo(schema, await createDatabase());
    const target = await movedTo(schema, await createDatabase({ from: 'fresh' }));
    for (const { client } of [source, target]) {
      await client.query('CREATE TABLE public.dag_run (id int); INSERT INTO public.dag_run VALUES (1)');
    }
    const content = await snapshotTables(source.client, { schema });
    const ctx = engine();
    const { manifest } = await backUp(ctx, source);
    expect(databaseSource(manifest).schema).toBe(schema);
    const before = await snapshotTables(target.client, { schema });
    await restoreInto(ctx, target);
    const expected = expectedContent(content, before, { clean: false, snapshotTime: manifest.snapshotTime });
    expect(diffContent(expected, resolveIds(await snapshotTables(target.client, { schema })))).toEqual([]);
    const environment = targetOf(target, schema);
    const { differences } = await verify(ctx, { backup: 'latest', environment });
    // The target had three log lines and no dead job of its own.
    expect(differences?.map(({ table }) => table)).toEqual(['log']);
    await restoreInto(ctx, target, { clean: true });
    await activate(ctx, { environment, backup: 'latest', dryRun: false });
    const { checks } = await doctor(ctx, { environment, fernetKeys: [], checkStorage: false });
    expect(checks.filter(({ status }) => status === 'failed')).toEqual([]);
    await cleanUp(ctx, target);
    await target.client.query(`INSERT INTO ${quoteIdent(schema)}.log (event, dttm) VALUES ('x', now())`);
    const { rows } = await target.client.query('SELECT id FROM public.dag_run');
    expect(rows).toEqual([{ id: 1 }]);
    const wrong = await failureOf(backUp(ctx, { url: source.url }));
    expect(wrong.message).toMatch(/no Airflow in schema public/);
  });
});

interface Place {
  readonly url: string;
  readonly schema: string;
  readonly client: pg.Client;
}

async function movedTo(schema: string, database: TestDatabase): Promise<Place> {
  const client = await database.client();
  await client.query(`ALTER SCHEMA public RENAME TO ${quoteIdent(schema)}; CREATE SCHEMA public`);
  return { url: database.url, schema, client };
}

let roles = 0;

/** A role that may sign in and nothing more, and the database through its eyes. */
async function asRole(database: TestDatabase, grants: (role: string) => string): Promise<{ url: string }> {
  roles += 1;
  const role = `lifeboat_test_role_${inject('runId')}_${process.pid}_${roles}`;
  const client = await database.client();
  await client.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`);
  onTestFinished(async () => {
    await database.drop();
    await withClient(inject('postgresUrl'), (one) => one.query(`DROP ROLE IF EXISTS ${role}`));
  });
  await client.query(grants(role));
  const url = new URL(database.url);
  url.username = role;
  url.password = 'x';
  return { url: url.href };
}

const READ = (role: string): string => `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`;
/** What a careful owner gives to a service: no TRUNCATE, no ownership of tables or sequences. */
const WRITE = (
  role: string,
): string => `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
  GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${role}`;

describe('roles', () => {
  test('one with only SELECT backs up', async () => {
    const ctx = engine();
    const source = await createDatabase();
    await backUp(ctx, await asRole(source, READ));
    await restoreInto(ctx, await createDatabase({ from: 'fresh' }));
  });

  test('one without SELECT on a table is told which, and doctor says what to grant', async () => {
    const source = await createDatabase();
    const role = await asRole(source, (name) => `${READ(name)}; REVOKE SELECT ON xcom FROM ${name}`);
    const error = await failureOf(backUp(engine(), role));
    expect(error.message).toMatch(/xcom/);
    const { checks } = await doctor(engine(), {
      environment: targetOf(role),
      fernetKeys: [],
      checkStorage: false,
    });
    const check = checks.find((one) => one.check === 'right to back up');
    expect(check).toMatchObject({ status: 'failed', found: 'no SELECT on xcom' });
    expect(check?.fix).toMatch(/GRANT SELECT/);
    expect(checks.find((one) => one.check === 'right to restore')?.status).toBe('warning');
  });

  test('one that may only change rows restores, cleans up and lifts sequences', async () => {
    const ctx = engine();
    const source = await createDatabase();
    const content = await snapshotTables(await source.client());
    const { manifest } = await backUp(ctx, source);
    const target = await createDatabase();
    const client = await target.client();
    await client.query("INSERT INTO log (event, dttm) VALUES ('later', now())");
    const before = await snapshotTables(client);
    const role = await asRole(target, WRITE);
    await restoreInto(ctx, role, { clean: true });
    const expected = expectedContent(content, before, { clean: true, snapshotTime: manifest.snapshotTime });
    expect(diffContent(expected, resolveIds(await snapshotTables(client)))).toEqual([]);
    await client.query("INSERT INTO log (event, dttm) VALUES ('new', now())");
    await client.query("INSERT INTO job (state, job_type) VALUES ('running', 'x')");
    await cleanUp(ctx, role);
    expect((await client.query('SELECT 1 FROM dag_run')).rowCount).toBe(0);
    const { checks } = await doctor(ctx, {
      environment: targetOf(role),
      fernetKeys: [],
      checkStorage: false,
    });
    expect(checks.find((one) => one.check === 'right to restore')).toMatchObject({ status: 'warning' });
  });

  test('one that may not write is refused before anything is deleted', async () => {
    const ctx = engine();
    const source = await createDatabase();
    await backUp(ctx, source);
    const client = await source.client();
    const before = await databaseFingerprint(client);
    const role = await asRole(source, READ);
    const withRole = await databaseFingerprint(client);
    const error = await failureOf(restoreInto(ctx, role, { clean: true }));
    expect(error.message).toMatch(/permission denied|privilege|not allowed|may not/i);
    expect(error.next).toBeTruthy();
    expect((await databaseFingerprint(client)).tables).toEqual(before.tables);
    expect(await databaseFingerprint(client)).toEqual(withRole);
  });

  test('a row policy that hides rows stops the backup instead of thinning it', async () => {
    const source = await createDatabase();
    const role = await asRole(
      source,
      (name) => `${READ(name)}; ALTER TABLE xcom ENABLE ROW LEVEL SECURITY;
        CREATE POLICY some_rows ON xcom FOR SELECT TO ${name} USING (dag_id = 'lab_everything')`,
    );
    const error = await failureOf(backUp(engine(), role));
    expect(error.message).toMatch(/row-level security|row.*policy/i);
  });
});

/** A database of another encoding: the session speaks UTF-8, and the server translates. */
async function encoded(
  encoding: string,
  from: 'data' | 'fresh',
): Promise<{ url: string; client: pg.Client }> {
  // Its name and its end are the copy's; what is in it is loaded anew, because templates keep their encoding.
  const empty = await createDatabase({ from: 'empty' });
  await withClient(inject('postgresUrl'), async (client) => {
    await client.query(`DROP DATABASE ${empty.name}`);
    await client.query(
      `CREATE DATABASE ${empty.name} TEMPLATE template0 ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C'`,
    );
  });
  const client = await empty.client();
  // LATIN1 has no Chinese character, and the fresh fixture has one, in a permission.
  const dump =
    encoding === 'LATIN1' ? (await text(openFixture(from, '2.8.1'))).replaceAll('池', 'x') : undefined;
  await loadSqlDump(
    client,
    dump === undefined ? openFixture(from, '2.8.1') : Readable.from([Buffer.from(dump)]),
  );
  return { url: empty.url, client: await empty.client() };
}

describe('encodings', () => {
  test('SQL_ASCII, where the server checks nothing, gives and takes the same bytes', async () => {
    const ctx = engine();
    const source = await encoded('SQL_ASCII', 'data');
    const content = await snapshotTables(source.client);
    const { manifest } = await backUp(ctx, source);
    const target = await createDatabase({ from: 'fresh' });
    const client = await target.client();
    const before = await snapshotTables(client);
    await restoreInto(ctx, target);
    const expected = expectedContent(content, before, { clean: false, snapshotTime: manifest.snapshotTime });
    expect(diffContent(expected, resolveIds(await snapshotTables(client)))).toEqual([]);
  });

  test('LATIN1 as a target refuses what it cannot hold, and stays as it was', async () => {
    const ctx = engine();
    const source = await createDatabase();
    await hurtfulRows(await source.client());
    await backUp(ctx, source);
    const target = await encoded('LATIN1', 'fresh');
    const before = await databaseFingerprint(target.client);
    const error = await failureOf(restoreInto(ctx, target));
    expect(error.message).toMatch(/cannot be stored in the encoding of the database: table \w+/);
    expect((await databaseFingerprint(target.client)).tables).toEqual(before.tables);
  });
});
