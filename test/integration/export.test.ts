import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import copyStreams from 'pg-copy-streams';
import { afterAll, describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import type { ExportRequest, ExportResult } from '../../src/engine/api.ts';
import { exportBackup } from '../../src/engine/export/export.ts';
import { fernetDecrypt, fernetEncrypt } from '../../src/secrets/fernet.ts';
import { createDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { hurtfulRows } from '../helpers/hurtful-rows.ts';
import { backUp, engine, failureOf, type Engine } from './engine.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-export-'));
let directories = 0;
const OTHER_KEY = Buffer.alloc(32, 7).toString('base64url');

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

function freshDirectory(): string {
  directories += 1;
  return join(scratch, `made/${directories}`);
}

function run(ctx: Engine, request: Partial<ExportRequest> = {}): Promise<ExportResult> {
  return exportBackup(ctx, {
    backup: 'latest',
    to: freshDirectory(),
    format: 'json',
    withSecrets: true,
    fernetKeys: [FIXTURE_FERNET_KEY],
    ...request,
  });
}

function textOf(result: ExportResult, file: string): string {
  return readFileSync(join(result.directory, file), 'utf8');
}

/** Names to content of one of Airflow's files; a reviver keeps `__proto__` a name like any other. */
function jsonOf(result: ExportResult, file: string): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(JSON.parse(textOf(result, file)) as object));
}

function without(row: Readonly<Record<string, unknown>>, column: string): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== column));
}

/** As Airflow reads it: a token by its flag, `undefined` where the key does not read it. */
function clear(value: string | null, token: boolean | null): string | null | undefined {
  if (token !== true || value === null || value === '') return value;
  return fernetDecrypt([FIXTURE_FERNET_KEY], value)?.toString('utf8');
}

async function expectedVariables(client: pg.Client): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ key: string; val: string | null; token: boolean | null }>(
    'SELECT key, val, is_encrypted AS token FROM variable',
  );
  return new Map(
    rows.flatMap(({ key, val, token }) => {
      const text = clear(val, token);
      return typeof text === 'string' ? [[key, text]] : [];
    }),
  );
}

async function expectedConnections(client: pg.Client): Promise<ReadonlyMap<string, unknown>> {
  const { rows } = await client.query<Record<string, string | null> & { conn_id: string }>(
    `SELECT conn_id, conn_type, description, login, password, host, port, schema, extra,
            is_encrypted AS token, is_extra_encrypted AS extra_token FROM connection`,
  );
  return new Map(
    rows.map(({ conn_id, token, extra_token, password, extra, ...rest }) => [
      conn_id,
      {
        ...rest,
        password: clear(password ?? null, token as unknown as boolean | null),
        extra: clear(extra ?? null, extra_token as unknown as boolean | null),
      },
    ]),
  );
}

describe.each(['2.5.1', '2.8.1', '2.11.0'] as const)('%s', (version) => {
  test('JSON and YAML hold every value that Airflow has, hurtful ones too', async () => {
    const ctx = engine();
    const source = await createDatabase({ version });
    const client = await source.client();
    await hurtfulRows(client);
    await client.query(
      `INSERT INTO variable (key, val, is_encrypted) VALUES ('__proto__', '{"value": 1}', false)`,
    );
    await backUp(ctx, source);
    const json = await run(ctx);
    const yaml = await run(ctx, { format: 'yaml' });

    const variables = await expectedVariables(client);
    expect(variables.size).toBeGreaterThan(40);
    expect(jsonOf(json, 'variables.json')).toEqual(variables);
    const connections = await expectedConnections(client);
    expect(jsonOf(json, 'connections.json')).toEqual(connections);
    const { rows: pools } = await client.query<Record<string, unknown> & { pool: string }>(
      'SELECT * FROM slot_pool',
    );
    // At the others Airflow's import stops.
    const importable = pools.filter(({ pool, slots }) => pool.trim() !== '' && slots !== null);
    expect(importable.length).toBeLessThan(pools.length);
    const bare = new Map(importable.map(({ pool, ...rest }) => [pool, without(rest, 'id')]));
    expect(jsonOf(json, 'pools.json')).toEqual(bare);
    // 2.5 and 2.6 refuse a pool with three fields.
    expect('include_deferred' in (bare.get('default_pool') ?? {})).toBe(version !== '2.5.1');

    for (const kind of ['variables', 'connections', 'pools']) {
      // PyYAML reads YAML 1.1.
      for (const yamlVersion of ['1.1', '1.2'] as const) {
        const read = parseYaml(textOf(yaml, `${kind}.yaml`), { version: yamlVersion, mapAsMap: true }) as Map<
          string,
          unknown
        >;
        const plain = new Map(
          [...read].map(([name, value]) => [name, value instanceof Map ? Object.fromEntries(value) : value]),
        );
        expect(plain).toEqual(jsonOf(json, `${kind}.json`));
      }
      expect(/^[\n\x20-\x7f]*$/.test(textOf(json, `${kind}.json`))).toBe(true);
      // PyYAML refuses a DEL.
      expect(/^[\n\x20-\x7e]*$/.test(textOf(yaml, `${kind}.yaml`))).toBe(true);
    }
    expect(json.leftOut).toContainEqual({
      table: 'variable',
      rows: 2,
      names: expect.arrayContaining(['hurtful_0', 'lab_null_val']) as string[],
      reason: 'it has no value (NULL)',
    });
  });
});

/** Loads a CSV file beside its table and compares the columns that it has, as text. */
async function differencesTo(client: pg.Client, table: string, csv: string, where: string): Promise<unknown> {
  const columns = csv.slice(0, csv.indexOf('\n'));
  await client.query(`DROP TABLE IF EXISTS back; CREATE TABLE back (LIKE ${table})`);
  const required = await client.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute WHERE attrelid = 'back'::regclass AND attnum > 0 AND attnotnull`,
  );
  for (const { name } of required.rows) await client.query(`ALTER TABLE back ALTER ${name} DROP NOT NULL`);
  const quoted = columns
    .split(',')
    .map((name) => `"${name}"`)
    .join(', ');
  const copy = client.query(copyStreams.from(`COPY back (${quoted}) FROM STDIN WITH (FORMAT csv, HEADER)`));
  await pipeline([csv], copy);
  const side = (name: string): string => `SELECT ROW(${quoted})::text FROM ${name} WHERE ${where}`;
  const { rows } = await client.query(
    `(${side(table)} EXCEPT ALL ${side('back')}) UNION ALL (${side('back')} EXCEPT ALL ${side(table)})`,
  );
  return { table, rows };
}

describe('CSV', () => {
  test('COPY reads every table back as it is, NULL and empty texts apart', async () => {
    const ctx = engine();
    const source = await createDatabase();
    const client = await source.client();
    await hurtfulRows(client);
    const { manifest } = await backUp(ctx, source);
    const result = await run(ctx, { format: 'csv' });

    const withoutClear = new Map(
      // What was a token is clear in the file: only what was clear before can be equal.
      Object.entries({
        variable: 'is_encrypted IS NOT TRUE',
        connection: 'is_encrypted IS NOT TRUE AND is_extra_encrypted IS NOT TRUE',
      }),
    );
    expect(result.files.map(({ table }) => table).sort()).toEqual(
      manifest.tables.map(({ name }) => name).sort(),
    );
    for (const { file, table, rows } of result.files) {
      const csv = textOf(result, file);
      if (table === 'dag' || table === 'ab_user') continue; // Columns of theirs are not backed up.
      if (withoutClear.has(table)) {
        await client.query(
          `CREATE VIEW clear_${table} AS SELECT * FROM ${table} WHERE ${withoutClear.get(table) ?? ''}`,
        );
      }
      if (rows === 0) continue;
      const names = csv.slice(0, csv.indexOf('\n')).split(',');
      expect(names).toEqual(manifest.tables.find(({ name }) => name === table)?.columns);
      if (withoutClear.has(table)) {
        await client.query(`DELETE FROM ${table} WHERE NOT (${withoutClear.get(table) ?? ''})`);
        const loaded = await differencesTo(client, table, csv, `id IN (SELECT id FROM clear_${table})`);
        expect(loaded).toEqual({ table, rows: [] });
      } else {
        expect(await differencesTo(client, table, csv, 'true')).toEqual({ table, rows: [] });
      }
    }
  });

  test('without --with-secrets it lacks the secret columns; with it they are in clear', async () => {
    const ctx = engine();
    const source = await createDatabase({ version: '2.11.0' });
    const client = await source.client();
    const kwargs = fernetEncrypt(FIXTURE_FERNET_KEY, '{"token": "trigger-secret"}', {
      now: new Date(),
      iv: Buffer.alloc(16),
    });
    await client.query(`INSERT INTO trigger (classpath, kwargs, created_date) VALUES ('a.B', $1, now())`, [
      kwargs,
    ]);
    await backUp(ctx, source);
    const tables = ['variable', 'connection', 'trigger'];
    const masked = await run(ctx, { format: 'csv', tables, withSecrets: false, fernetKeys: [] });
    const open = await run(ctx, { format: 'csv', tables });

    const header = (result: ExportResult, file: string): string => textOf(result, file).split('\n')[0] ?? '';
    expect(header(masked, 'variable.csv')).toBe('id,key,description,is_encrypted');
    expect(header(masked, 'connection.csv')).not.toMatch(/password|,extra/);
    expect(header(masked, 'trigger.csv')).not.toContain('kwargs');
    expect(textOf(open, 'trigger.csv')).toContain('""trigger-secret""');
    for (const { file } of masked.files) {
      expect(/gAAAA|trigger-secret/.test(textOf(masked, file))).toBe(false);
    }
    for (const { file } of open.files) expect(/"gAAAA[\w=-]{90}/.test(textOf(open, file))).toBe(false);
    expect(Object.fromEntries(masked.leftOut.map(({ table, columns }) => [table, columns]))).toEqual({
      variable: ['val'],
      connection: ['password', 'extra'],
      trigger: ['kwargs'],
    });
  });

  test('kwargs of a trigger before 2.9 are as secret, though no token', async () => {
    const ctx = engine();
    const source = await createDatabase({ version: '2.8.1' });
    await backUp(ctx, source);
    const result = await run(ctx, { format: 'csv', tables: ['trigger'], withSecrets: false });
    expect(textOf(result, 'trigger.csv').split('\n')[0]).toBe('id,classpath,created_date,triggerer_id');
  });
});

describe('secrets', () => {
  test('not asked for: no variable, and only connections without any', async () => {
    const ctx = engine();
    const source = await createDatabase();
    const client = await source.client();
    await backUp(ctx, source);
    const result = await run(ctx, { withSecrets: false, fernetKeys: [] });
    const { rows } = await client.query<{ conn_id: string; secret: boolean }>(
      `SELECT conn_id, coalesce(password, '') <> '' OR coalesce(extra, '') <> '' AS secret FROM connection`,
    );
    const open = rows.filter(({ secret }) => !secret).map(({ conn_id }) => conn_id);
    expect(open.length).toBeGreaterThan(0);
    expect(rows.length).toBeGreaterThan(open.length);
    expect([...jsonOf(result, 'connections.json').keys()].sort()).toEqual(open.sort());
    // An empty variables.json would say that there were none.
    expect(readdirSync(result.directory).sort()).toEqual(['connections.json', 'pools.json']);
    const left = result.leftOut.find(({ table }) => table === 'connection');
    expect(left).toMatchObject({ rows: rows.length - open.length });
    expect(ctx.events).toContainEqual(
      expect.objectContaining({ event: 'warning', code: 'secrets-left-out' }),
    );
  });

  test('what no key reads is left out and named', async () => {
    const ctx = engine();
    const source = await createDatabase();
    await backUp(ctx, source);
    const json = await run(ctx);
    expect(json.unreadableSecrets).toEqual(['variable lab_other_fernet_key']);
    expect(jsonOf(json, 'variables.json').has('lab_other_fernet_key')).toBe(false);
    const csv = await run(ctx, { format: 'csv', tables: ['variable'] });
    expect(csv.unreadableSecrets).toEqual(['variable lab_other_fernet_key']);
    expect(textOf(csv, 'variable.csv')).not.toContain('lab_other_fernet_key');
  });

  test.each([{ fernetKeys: [] }, { fernetKeys: [OTHER_KEY] }])(
    'a key that reads nothing is refused, and nothing is written',
    async (keys) => {
      const ctx = engine();
      await backUp(ctx, await createDatabase());
      const to = freshDirectory();
      const error = await failureOf(run(ctx, { to, ...keys }));
      expect(error).toMatchObject({ kind: 'refused' });
      expect(() => readdirSync(to)).toThrow('ENOENT');
    },
  );
});

describe('files', () => {
  test('are for their owner alone, in a directory made for him', async () => {
    const ctx = engine();
    await backUp(ctx, await createDatabase());
    const result = await run(ctx);
    expect(statSync(result.directory).mode & 0o777).toBe(0o700);
    expect(result.files).toHaveLength(3);
    expect(readdirSync(result.directory).sort()).toEqual(result.files.map(({ file }) => file).sort());
    for (const { file, bytes } of result.files) {
      const { mode, size } = statSync(join(result.directory, file));
      expect({ mode: mode & 0o777, size }).toEqual({ mode: 0o600, size: bytes });
    }
  });

  test('one that exists stops the export, and stays', async () => {
    const ctx = engine();
    await backUp(ctx, await createDatabase());
    const to = mkdtempSync(join(scratch, 'used-'));
    writeFileSync(join(to, 'pools.json'), 'mine');
    const error = await failureOf(run(ctx, { to }));
    expect(error).toMatchObject({ kind: 'usage', details: { files: [join(to, 'pools.json')] } });
    expect(readdirSync(to)).toEqual(['pools.json']);
    expect(readFileSync(join(to, 'pools.json'), 'utf8')).toBe('mine');
    expect(await failureOf(run(ctx, { to: join(to, 'pools.json') }))).toMatchObject({ kind: 'usage' });
  });

  test.each(['json', 'csv'] as const)('a damaged part leaves none (%s)', async (format) => {
    const ctx = engine();
    const { manifest } = await backUp(ctx, await createDatabase(), {
      compression: { codec: 'gzip', level: 1 },
    });
    const part = manifest.tables.find(({ name }) => name === 'slot_pool')?.parts[0];
    if (part === undefined) throw new Error('The backup has no pools.');
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await ctx.storage.read(part.key)) as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
    }
    const bytes = Buffer.concat(chunks);
    // The operating system in gzip's header: the text stays whole, only the hash can tell.
    bytes[9] = (bytes[9] ?? 0) ^ 1;
    await ctx.storage.write(part.key, bytes);
    const to = freshDirectory();
    const error = await failureOf(run(ctx, { to, format }));
    expect(error).toMatchObject({ kind: 'integrity' });
    expect(error.message).toContain(part.key);
    expect(() => readdirSync(to)).toThrow('ENOENT');
  });
});

test('an interrupt leaves nothing behind', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase());
  const controller = new AbortController();
  const to = freshDirectory();
  let directorySeen = false;
  const interrupted = {
    ...ctx,
    signal: controller.signal,
    report: ({ event }: { readonly event: string }) => {
      if (event !== 'progress') return;
      directorySeen = readdirSync(to).length > 0;
      controller.abort();
    },
  };
  await expect(run(interrupted, { to, format: 'csv' })).rejects.toThrow('abort');
  expect(directorySeen).toBe(true);
  expect(() => readdirSync(to)).toThrow('ENOENT');
});

test('tables that the format or the backup does not have are usage errors', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase(), { tables: ['slot_pool'] });
  const refused = (request: Partial<ExportRequest>): Promise<unknown> => failureOf(run(ctx, request));
  expect(await refused({ tables: ['dag_run'] })).toMatchObject({ kind: 'usage' });
  expect(await refused({ tables: ['variable'] })).toMatchObject({ kind: 'usage' });
  expect(await refused({ tables: ['dagrun'], format: 'csv' })).toMatchObject({ kind: 'usage' });
  expect((await run(ctx)).files.map(({ file }) => file)).toEqual(['pools.json']);
});
