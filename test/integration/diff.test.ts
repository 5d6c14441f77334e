import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DiffRequest, DiffResult, DiffTable, EngineContext } from '../../src/engine/api.ts';
import { diff } from '../../src/engine/diff/diff.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY, FIXTURE_VERSIONS } from '../helpers/fixtures.ts';
import { hurtfulRows } from '../helpers/hurtful-rows.ts';
import { backUp, engine, failureOf, restoreInto, targetOf } from './engine.ts';
import { otherHistory } from './other-history.ts';

/** Temporary files go here, so that another test's do not count. */
const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-diff-tests-'));
const { TMPDIR } = process.env;

beforeAll(() => {
  process.env.TMPDIR = scratch;
});

afterAll(() => {
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
  rmSync(scratch, { recursive: true });
});

async function diffWith(
  ctx: EngineContext,
  other: TestDatabase | string,
  request: Partial<DiffRequest> = {},
): Promise<DiffResult> {
  const result = await diff(ctx, {
    backup: 'latest',
    other: typeof other === 'string' ? { backup: other } : { environment: targetOf(other) },
    fernetKeys: [FIXTURE_FERNET_KEY],
    ...request,
  });
  expect(readdirSync(scratch), 'temporary files').toEqual([]);
  return result;
}

/** "table missing/added/changed/notComparable" of each table that differs. */
function differing(result: DiffResult): readonly string[] {
  return result.tables
    .filter((one) => one.missing + one.added + one.changed + one.notComparable > 0)
    .map((one) => `${one.table} ${one.missing}/${one.added}/${one.changed}/${one.notComparable}`);
}

function tableOf(result: DiffResult, name: string): DiffTable {
  return result.tables.find((one) => one.table === name)!;
}

test.each(FIXTURE_VERSIONS)(
  '%s: a backup equals its source, rows made to hurt too, and another backup of it',
  { timeout: 120_000 },
  async (version) => {
    const source = await createDatabase({ version });
    const client = await source.client();
    await hurtfulRows(client);
    const before = await databaseFingerprint(client);
    const ctx = engine();
    const { backupId, manifest } = await backUp(ctx, source);
    const result = await diffWith(ctx, source);
    expect(differing(result)).toEqual([]);
    expect(result).toMatchObject({ backupId, different: false, notCompared: [] });
    // Names of users only translate ids.
    const compared = manifest.tables.filter((table) => table.name !== 'ab_user');
    expect(result.tables.map((one) => [one.table, one.rows, one.otherRows]).sort()).toEqual(
      compared.map((table) => [table.name, table.rows, table.rows]).sort(),
    );
    expect(await databaseFingerprint(client), 'the database was only read').toEqual(before);

    // Every row in another place, so that neither order nor parts are the same.
    await client.query(
      'CREATE INDEX by_dag ON task_instance (dag_id DESC, run_id DESC); CLUSTER task_instance USING by_dag; DROP INDEX by_dag',
    );
    await backUp(ctx, source, { compression: { codec: 'gzip', level: 9 } });
    expect(differing(await diffWith(ctx, backupId))).toEqual([]);
  },
);

test('what was deleted, changed and added is counted and named', async () => {
  const source = await createDatabase();
  const client = await source.client();
  const ctx = engine();
  await client.query(
    `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, state, clear_number) SELECT 'lost', 'run ' || n, now() + n * interval '1 s', 'manual', 'success', 0 FROM generate_series(1, 7) n;
     INSERT INTO task_instance (dag_id, run_id, task_id, map_index, pool, pool_slots) SELECT 'lost', 'run ' || n, 'mapped', m, 'default_pool', 1 FROM generate_series(1, 7) n, generate_series(-1, 1) m;
     INSERT INTO xcom (dag_run_id, dag_id, run_id, task_id, map_index, key, timestamp, value) SELECT id, dag_id, run_id, 'mapped', 0, 'k', now(), 'old' FROM dag_run WHERE dag_id = 'lost';
     INSERT INTO dag_run_note (dag_run_id, content, created_at, updated_at) SELECT id, 'note', now(), now() FROM dag_run WHERE dag_id = 'lost';
     INSERT INTO variable (key, val) VALUES ('gone', '1'), ('other', '1'), ('', ''), (E'new\\nline', NULL)`,
  );
  const { backupId } = await backUp(ctx, source);
  await client.query(
    `DELETE FROM dag_run WHERE dag_id = 'lost' AND run_id IN ('run 1', 'run 2');
     UPDATE xcom SET value = 'new' WHERE run_id = 'run 3' AND dag_id = 'lost';
     UPDATE xcom SET dag_run_id = 999999 WHERE run_id = 'run 4' AND dag_id = 'lost';
     UPDATE task_instance SET state = 'failed' WHERE dag_id = 'lost' AND run_id = 'run 3' AND map_index = 1;
     UPDATE variable SET val = NULL WHERE key = '';
     UPDATE variable SET val = '' WHERE key = E'new\\nline';
     DELETE FROM variable WHERE key = 'gone';
     INSERT INTO variable (key, val) VALUES ('came', '1');
     DELETE FROM log WHERE id IN (SELECT id FROM log ORDER BY id LIMIT 2);
     INSERT INTO log (dttm, event) VALUES (now(), 'x'), (now(), 'x'), (now(), 'x')`,
  );
  const result = await diffWith(ctx, source);
  expect([...differing(result)].sort()).toEqual([
    'dag_run 2/0/0/0',
    'dag_run_note 2/0/0/0',
    'log 2/3/0/0',
    'task_instance 6/0/1/0',
    'variable 1/1/2/0',
    // Those of the lost runs; one with another value, and one that names a run that is not there.
    'xcom 2/0/2/0',
  ]);
  expect(result.different).toBe(true);
  expect(tableOf(result, 'dag_run').examples.missing).toEqual(['lost/run 1', 'lost/run 2']);
  expect(tableOf(result, 'dag_run').missingByDag).toEqual([{ dag: 'lost', rows: 2 }]);
  expect(tableOf(result, 'task_instance').examples.changed).toEqual(['lost/run 3/mapped[1]']);
  // Five of the six: which one is left out depends on the salt of the hashes.
  const { missing } = tableOf(result, 'task_instance').examples;
  expect(missing).toHaveLength(5);
  expect(missing.filter((name) => !/^lost\/run [12]\/mapped(\[[01]\])?$/.test(name))).toEqual([]);
  expect(tableOf(result, 'task_instance').missingByDag).toEqual([{ dag: 'lost', rows: 6 }]);
  expect(tableOf(result, 'variable').examples).toEqual({
    missing: ['gone'],
    added: ['came'],
    changed: ['', 'new\nline'],
    notComparable: [],
  });
  expect(tableOf(result, 'xcom').examples.missing).toEqual([
    'lost/run 1/mapped[0]/k',
    'lost/run 2/mapped[0]/k',
  ]);
  expect(tableOf(result, 'log').examples).toEqual({ missing: [], added: [], changed: [], notComparable: [] });

  // The same from the other side, between two backups.
  const later = await backUp(ctx, source);
  const back = await diffWith(ctx, backupId, { backup: later.backupId });
  expect(back).toMatchObject({ backupId: later.backupId, otherBackupId: backupId, different: true });
  expect([...differing(back)].sort()).toEqual([
    'dag_run 0/2/0/0',
    'dag_run_note 0/2/0/0',
    'log 3/2/0/0',
    'task_instance 0/6/1/0',
    'variable 1/1/2/0',
    'xcom 0/2/2/0',
  ]);
  expect(tableOf(back, 'dag_run').examples.added).toEqual(['lost/run 1', 'lost/run 2']);

  const chosen = await diffWith(ctx, source, { backup: backupId, tables: ['variable', 'xcom'] });
  expect(chosen.tables.map((one) => one.table).sort()).toEqual(['variable', 'xcom']);
  expect([...differing(chosen)].sort()).toEqual(['variable 1/1/2/0', 'xcom 2/0/2/0']);
});

test('a restore that moved every id shows the documented differences only', async () => {
  for (const version of ['2.8.1', '2.11.0'] as const) {
    const source = await createDatabase({ version });
    const ctx = engine();
    await backUp(ctx, source);
    const target = await createDatabase({ version, from: 'fresh' });
    const client = await target.client();
    await otherHistory(client);
    await client.query('DELETE FROM connection; DELETE FROM log_template; UPDATE dataset SET id = id + 5000');
    // Live jobs keep their ids and make room for nothing.
    await restoreInto(ctx, target, { clean: true });
    const result = await diffWith(ctx, target);
    const tables = result.tables
      .filter((one) => one.missing + one.changed + one.notComparable > 0)
      .map((one) => one.table);
    // job: unfinished ones are stored as failed; dag: not parsed yet; dataset: what the target registered stays;
    // task_instance and trigger: unfinished tasks are made ready for the target's scheduler.
    const documented = ['job', 'dag', 'dataset', 'task_instance', 'trigger'];
    expect(tables.filter((name) => !documented.includes(name))).toEqual([]);
    expect(tables).toContain('job');
  }
});

test('secrets are compared by what they hold', async () => {
  const key = randomBytes(32).toString('base64url') + '=';
  const source = await createDatabase();
  const ctx = engine();
  await backUp(ctx, source);
  const target = await createDatabase({ from: 'fresh' });
  const client = await target.client();
  await client.query('DELETE FROM connection; DELETE FROM variable');
  await restoreInto(ctx, target, {
    fernetKeys: [key],
    sourceFernetKeys: [FIXTURE_FERNET_KEY],
    unreadable: 'keep',
  });
  const tables = ['variable', 'connection'];

  expect(differing(await diffWith(ctx, target, { tables, fernetKeys: [key, FIXTURE_FERNET_KEY] }))).toEqual(
    [],
  );
  // Without a key the tokens alone tell nothing: not equal, not changed.
  const blind = await diffWith(ctx, target, { tables, fernetKeys: [] });
  expect(blind.different).toBe(true);
  expect(tableOf(blind, 'variable')).toMatchObject({ missing: 0, added: 0, changed: 0 });
  expect(tableOf(blind, 'variable').notComparable).toBeGreaterThan(5);
  expect(tableOf(blind, 'connection').notComparable).toBeGreaterThan(5);
  expect(differing(await diffWith(ctx, source, { tables, fernetKeys: [] }))).toEqual([]);

  const { rows } = await client.query<{ key: string }>(
    `UPDATE variable SET val = (SELECT val FROM variable WHERE is_encrypted AND val <> '' ORDER BY key LIMIT 1)
      WHERE key = (SELECT key FROM variable WHERE is_encrypted AND val <> '' ORDER BY key DESC LIMIT 1) RETURNING key`,
  );
  const changed = await diffWith(ctx, target, { tables, fernetKeys: [key, FIXTURE_FERNET_KEY] });
  expect(tableOf(changed, 'variable').examples.changed).toEqual(rows.map((row) => row.key));
  expect(JSON.stringify(changed)).not.toContain('gAAAA');
});

test('another minor: what both have is compared, and said', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase({ version: '2.9.2' }));
  const newer = await createDatabase({ version: '2.10.3' });
  const result = await diffWith(ctx, newer);
  expect(result.notCompared.map((one) => one.table)).toContain('task_instance_history');
  expect(tableOf(result, 'task_instance').columnsNotCompared).toContain('executor');
  expect(ctx.events.some((event) => event.event === 'warning' && event.code === 'other-version')).toBe(true);
});

test('a partial backup: what it lacks is not a difference', async () => {
  const ctx = engine();
  const source = await createDatabase();
  await backUp(ctx, source, { tables: ['variable', 'slot_pool'] });
  const result = await diffWith(ctx, source);
  expect(result.different).toBe(false);
  expect(result.tables.map((one) => one.table).sort()).toEqual(['slot_pool', 'variable']);
  expect(result.notCompared.map((one) => one.table)).toContain('dag_run');
  expect((await failureOf(diffWith(ctx, source, { tables: ['dag_run'] }))).kind).toBe('usage');
  expect((await failureOf(diffWith(ctx, source, { tables: ['dagrun'] }))).message).toContain('dagrun');
});

test('a damaged part is an integrity error, not a difference', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const { manifest } = await backUp(ctx, source);
  const key = manifest.tables.find((table) => table.name === 'variable')!.parts[0]!.key;
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await ctx.storage.read(key)) as AsyncIterable<Uint8Array>) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const damages: readonly ((copy: Buffer) => Uint8Array)[] = [
    (copy: Buffer) => copy.fill(7, 4, 8),
    (copy: Buffer) => copy.fill(1, copy.length >> 1),
    (copy: Buffer) => copy.subarray(0, copy.length - 9),
  ];
  for (const damage of damages) {
    await ctx.storage.remove([key]);
    await ctx.storage.write(key, damage(Buffer.from(bytes)));
    const error = await failureOf(diffWith(ctx, source));
    expect(error.kind).toBe('integrity');
    expect(error.message).toContain(key);
  }
  await ctx.storage.remove([key]);
  expect((await failureOf(diffWith(ctx, source))).message).toContain('missing');
});
