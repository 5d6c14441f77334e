import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { DrillRequest, DrillResult, EngineContext } from '../../src/engine/api.ts';
import { listBackups } from '../../src/engine/catalog.ts';
import { drill } from '../../src/engine/drill.ts';
import type { DrillRecord } from '../../src/engine/drill-record.ts';
import { prune } from '../../src/engine/prune.ts';
import { status } from '../../src/engine/status.ts';
import { verify } from '../../src/engine/verify.ts';
import { LifeboatError } from '../../src/errors.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { backUp, engine, failureOf, restoreInto, storageContent, targetOf } from './engine.ts';
import { atLoadOf, liveLife, RUN } from './live-life.ts';
import { otherHistory } from './other-history.ts';

/** "life" in ASCII. */
const ENVIRONMENT_LOCK = 0x6c696665;

function drillIn(
  ctx: EngineContext,
  database: TestDatabase,
  request: Partial<DrillRequest> = {},
): Promise<DrillResult> {
  return drill(ctx, {
    environment: targetOf(database),
    backup: 'latest',
    variables: 'append',
    connections: 'append',
    fernetKeys: [FIXTURE_FERNET_KEY],
    ...request,
  });
}

async function records(storage: Storage): Promise<readonly DrillRecord[]> {
  return [...(await storageContent(storage))]
    .filter(([key]) => key.startsWith('drills/'))
    .map(([, text]) => JSON.parse(Buffer.from(text, 'base64').toString()) as DrillRecord);
}

/** What a drill asks of live tables while somebody holds every one of them against all but readers. */
async function locksWhile<T>(
  database: TestDatabase,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<{ readonly result: T; readonly modes: readonly string[] }> {
  const [holder, watcher] = [await database.client(), await database.client()];
  const { rows } = await holder.query<{ name: string }>(
    `SELECT format('%I', tablename) AS name FROM pg_tables WHERE schemaname = 'public'`,
  );
  const all = rows.map((row) => row.name).join(', ');
  // EXCLUSIVE lets in ACCESS SHARE alone: whatever else is asked for waits until it is seen here.
  await holder.query(`BEGIN; LOCK TABLE ${all} IN EXCLUSIVE MODE`);
  const { rows: held } = await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  const stop = new AbortController();
  const seen = new Set<string>();
  const done = new AbortController();
  const watching = (async () => {
    while (!done.signal.aborted) {
      const found = await watcher.query<{ mode: string }>(
        `SELECT DISTINCT l.mode || CASE WHEN l.mode = 'AccessShareLock' THEN '' ELSE ' on ' || c.relname END AS mode
           FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
          WHERE c.relnamespace = 'public'::regnamespace AND l.pid NOT IN (pg_backend_pid(), $1)
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        [held[0]?.pid],
      );
      for (const { mode } of found.rows) seen.add(mode);
      if ([...seen].some((mode) => mode !== 'AccessShareLock')) stop.abort(new Error([...seen].join(', ')));
      await sleep(3);
    }
  })();
  try {
    const result = await work(stop.signal);
    return { result, modes: [...seen] };
  } finally {
    done.abort();
    await watching;
    await holder.query('ROLLBACK');
  }
}

async function expectNoShadow(client: pg.Client): Promise<void> {
  const { rows } = await client.query(`SELECT nspname FROM pg_namespace WHERE nspname LIKE 'lifeboat%'`);
  expect(rows).toEqual([]);
}

describe.each(['2.8.1', '2.11.0'] as const)('%s', (version) => {
  test('in its own source a backup passes, and nothing there is touched', { timeout: 120_000 }, async () => {
    const source = await createDatabase({ version });
    const ctx = engine();
    const { manifest, backupId } = await backUp(ctx, source);
    const client = await source.client();
    const before = await databaseFingerprint(client);
    const { result, modes } = await locksWhile(source, (signal) => drillIn({ ...ctx, signal }, source));
    expect(modes).toEqual(['AccessShareLock']);
    expect(await databaseFingerprint(client)).toEqual(before);
    await expectNoShadow(client);

    expect(result).toMatchObject({ result: 'passed', failure: null, backupId, recorded: true });
    expect(result.phases.map(({ phase }) => phase)).toEqual(['plan', 'load', 'settle', 'check', 'drop']);
    const counted = Object.fromEntries(result.tables.map(({ table, rows }) => [table, rows]));
    const stored = Object.fromEntries(
      manifest.tables.filter(({ name }) => name !== 'ab_user').map(({ name, rows }) => [name, rows]),
    );
    expect(counted).toEqual(stored);
    expect(result.rows).toBeGreaterThan(500);
    expect(result.references?.checked).toBeGreaterThan(8);
    expect(result.references?.dangling).toEqual([]);
    expect(result.inFlight?.resumedRuns).toBeGreaterThan(0);
    expect(result.unreadableSecrets).toEqual(['variable lab_other_fernet_key']);

    const [written, ...others] = await records(ctx.storage);
    expect({ ...written, recorded: true }).toEqual({ formatVersion: 1, ...result });
    expect(others).toEqual([]);
    const told = await status(ctx, {});
    expect(told.lastDrill).toMatchObject({ backupId, result: 'passed', problem: null });
    expect(told.provenBackup).toMatchObject({ backupId, snapshotTime: told.snapshotTime });
  });
});

test('the folder of drills is no backup, to nobody', async () => {
  const source = await createDatabase();
  const ctx = engine();
  const { backupId } = await backUp(ctx, source);
  await drillIn(ctx, source);
  const listed = await listBackups(ctx.storage, ctx.signal);
  expect(listed.entries.map((entry) => entry.backupId)).toEqual([backupId]);
  expect(listed.incomplete).toEqual([]);
  expect((await verify(ctx, { backup: 'latest' })).backupId).toBe(backupId);
  const later = { ...ctx, now: () => new Date(Date.now() + 40 * 86_400_000) };
  const { plan } = await prune(later, {
    keepLast: 1,
    minBackups: 1,
    dryRun: false,
    confirm: () => Promise.resolve(true),
  });
  expect(plan).toMatchObject({ remove: [], debris: [], underWay: [] });
  expect(await records(ctx.storage)).toHaveLength(1);
});

test.each([
  ['of the same minor', '2.8.1'],
  ['of a newer minor', '2.11.0'],
] as const)('what a drill says of a target %s is what the restore then does', async (_which, version) => {
  const source = await createDatabase();
  const ctx = engine();
  await backUp(ctx, source);
  const target = await createDatabase({ from: 'fresh', version });
  const client = await target.client();
  if (version === '2.8.1') {
    await otherHistory(client);
    const task = { ...RUN, taskId: 'restore' };
    await liveLife(client, 1);
    const said = await drillIn(ctx, target, { carriedBy: task, inFlight: 'fail' });
    await compare(said, { carriedBy: task, inFlight: 'fail', clean: true });
  } else {
    await compare(await drillIn(ctx, target), { clean: true });
  }

  async function compare(said: DrillResult, request: Parameters<typeof restoreInto>[2]): Promise<void> {
    const { loaded } = await restoreInto(ctx, target, { ...request, via: 'shadow' });
    const tables = ['dag_run', 'job', 'trigger', 'log'];
    const history = said.tables.filter(({ table }) => tables.includes(table));
    expect(history).toHaveLength(4);
    for (const { table, rows, moved } of history) {
      expect(
        loaded.tables.find((one) => one.table === table),
        table,
      ).toMatchObject({ rows, moved });
    }
    expect(said.inFlight).toEqual(loaded.inFlight);
    expect(said.unreadableSecrets).toEqual(loaded.unreadableSecrets);
    expect(said.secrets).toEqual(loaded.secrets);
  }
});

test('one flipped byte of a part fails it, and leaves no schema', async () => {
  const source = await createDatabase();
  const ctx = engine();
  const { manifest, backupId } = await backUp(ctx, source);
  const key = manifest.tables.find(({ name }) => name === 'task_instance')?.parts[0]?.key ?? '';
  const bytes = Buffer.from((await storageContent(ctx.storage)).get(key) ?? '', 'base64');
  bytes[bytes.length >> 1]! ^= 1;
  await ctx.storage.write(key, bytes);
  const client = await source.client();
  const before = await databaseFingerprint(client);
  const result = await drillIn(ctx, source);
  expect(result).toMatchObject({
    result: 'failed',
    backupId,
    failure: {
      kind: 'integrity',
      phase: 'load',
      message: expect.stringContaining('task_instance') as string,
    },
  });
  await expectNoShadow(client);
  expect(await databaseFingerprint(client)).toEqual(before);
  expect(await records(ctx.storage)).toMatchObject([{ result: 'failed', failure: { kind: 'integrity' } }]);
  expect((await status(ctx, {})).lastDrill).toMatchObject({ result: 'failed', backupId });
});

test('rows that the server refuses are damage, when they are not what was written', async () => {
  const source = await createDatabase();
  const ctx = engine();
  const { manifest } = await backUp(ctx, source);
  const key = manifest.tables.find(({ name }) => name === 'sla_miss')?.parts[0]?.key ?? '';
  await ctx.storage.write(key, gzipSync('no,rows,of,sla_miss\n'));
  const result = await drillIn(ctx, source);
  expect(result.failure).toMatchObject({ kind: 'integrity', phase: 'load' });
  await expectNoShadow(await source.client());
});

test.each([
  [
    'to a merged table',
    `UPDATE dag_run SET log_template_id = 4711 WHERE id = (SELECT min(id) FROM dag_run)`,
    { table: 'dag_run', parent: 'log_template', rows: 1 },
  ],
  [
    'to a DAG',
    `INSERT INTO dataset_dag_run_queue SELECT id, d, now() FROM dataset, unnest(ARRAY['gone', 'gone too']) d WHERE id = (SELECT min(id) FROM dataset)`,
    { table: 'dataset_dag_run_queue', parent: 'dag', rows: 2 },
  ],
  [
    'of a row that is merged',
    `INSERT INTO dag_tag (name, dag_id) VALUES ('x', 'gone')`,
    { table: 'dag_tag', parent: 'dag', rows: 1 },
  ],
])('a reference that leads nowhere fails it: %s', async (_which, sql, dangling) => {
  const source = await createDatabase();
  const target = await createDatabase({ from: 'fresh' });
  await (await source.client()).query(`SET session_replication_role = replica; ${sql}`);
  const ctx = engine();
  await backUp(ctx, source);
  const result = await drillIn(ctx, target);
  expect(result).toMatchObject({
    result: 'failed',
    failure: { kind: 'failed', phase: 'check', message: expect.stringContaining(dangling.table) as string },
    references: { dangling: [dangling] },
  });
  await expectNoShadow(await target.client());
  // As the restore does, which this is the rehearsal of.
  expect((await failureOf(restoreInto(ctx, target, { via: 'shadow' }))).kind).toBe('failed');
});

test('a row whose parent the merge would bring is no reference that leads nowhere', async () => {
  const source = await createDatabase();
  const target = await createDatabase({ from: 'fresh' });
  const [from, into] = [await source.client(), await target.client()];
  await from.query('UPDATE log_template SET filename = filename || $$/other$$');
  await into.query('SELECT setval($$log_template_id_seq$$, 500)');
  const ctx = engine();
  await backUp(ctx, source);
  const templates = await into.query('SELECT * FROM log_template');
  expect(await drillIn(ctx, target)).toMatchObject({ result: 'passed', references: { dangling: [] } });
  expect((await into.query('SELECT * FROM log_template')).rows).toEqual(templates.rows);
});

test('a reference within the shadow that leads nowhere fails while it loads', async () => {
  const source = await createDatabase();
  await (
    await source.client()
  ).query(
    `SET session_replication_role = replica; UPDATE xcom SET task_id = 'gone' WHERE ctid = (SELECT min(ctid) FROM xcom)`,
  );
  const ctx = engine();
  await backUp(ctx, source);
  const result = await drillIn(ctx, source);
  expect(result.failure).toMatchObject({ kind: 'failed', phase: 'load' });
  await expectNoShadow(await source.client());
});

test('rows that are missing when they are counted fail it, with the table', async () => {
  const source = await createDatabase();
  const client = await source.client();
  const inner = createMemoryStorage();
  await backUp(engine({ storage: inner }), source);
  const storage = atLoadOf(inner, 'dagrun_dataset_event', async () => {
    for (;;) {
      const { rows } = await client.query<{ name: string }>(
        `SELECT format('%I.log', nspname) AS name FROM pg_namespace n WHERE nspname LIKE 'lifeboat%' AND to_regclass(format('%I.log', nspname)) IS NOT NULL`,
      );
      const name = rows[0]?.name;
      if (name !== undefined) {
        await client.query(`DELETE FROM ${name} WHERE id = (SELECT max(id) FROM ${name})`);
        return;
      }
      await sleep(10);
    }
  });
  storage.begin();
  const result = await drillIn(engine({ storage }), source);
  expect(result.failure).toMatchObject({
    kind: 'failed',
    phase: 'load',
    message: expect.stringMatching(/other rows than the backup: log \d+ instead of \d+\./) as string,
  });
});

test('secrets that the target’s key does not read end it as they end a restore', async () => {
  const source = await createDatabase();
  const target = await createDatabase({ from: 'fresh' });
  const ctx = engine();
  await backUp(ctx, source);
  const other = `${randomBytes(32).toString('base64url')}=`;
  const refused = await drillIn(ctx, target, { fernetKeys: [other] });
  expect(refused.failure).toMatchObject({ kind: 'refused', phase: 'settle' });
  expect(refused.failure?.message).toContain('no known key reads');
  const kept = await drillIn(ctx, target, {
    fernetKeys: [other],
    sourceFernetKeys: [FIXTURE_FERNET_KEY],
    unreadable: 'keep',
  });
  expect(kept).toMatchObject({ result: 'passed', unreadableSecrets: ['variable lab_other_fernet_key'] });
  expect(kept.secrets?.reencrypted).toBeGreaterThan(20);
  expect((await drillIn(ctx, target, { fernetKeys: [] })).unreadableSecrets).toBeNull();
  expect(await records(ctx.storage)).toHaveLength(3);
});

test('where the tables cannot be exchanged it is refused, with the reason', async () => {
  const source = await createDatabase();
  const ctx = engine();
  await backUp(ctx, source);
  await (await source.client()).query('CREATE VIEW failed AS SELECT * FROM dag_run WHERE state = $$failed$$');
  expect(await drillIn(ctx, source)).toMatchObject({
    failure: {
      kind: 'refused',
      phase: 'plan',
      message: expect.stringMatching(/view public.failed needs dag_run/) as string,
      next: expect.not.stringContaining('--via') as string,
    },
  });
});

test('while another works there it ends with locked, and has nothing to tell of the backup', async () => {
  const source = await createDatabase();
  const ctx = engine();
  await backUp(ctx, source);
  const holder = await source.client();
  await holder.query(`BEGIN; SELECT pg_advisory_xact_lock(${ENVIRONMENT_LOCK}, 0)`);
  expect((await failureOf(drillIn(ctx, source))).kind).toBe('locked');
  await holder.query('ROLLBACK');
  expect(await records(ctx.storage)).toEqual([]);
  expect((await failureOf(drillIn(ctx, source, { backup: '2000' }))).kind).toBe('not-found');
  expect((await status(ctx, {})).lastDrill).toBeNull();
});

test('a manifest that cannot be read is a drill that failed', async () => {
  const source = await createDatabase({ from: 'fresh' });
  const ctx = engine();
  const { backupId } = await backUp(ctx, source);
  await ctx.storage.write(`backups/${backupId}/manifest.json`, Buffer.from('{'));
  expect(await drillIn(ctx, source)).toMatchObject({
    backupId: null,
    requested: 'latest',
    failure: { kind: 'integrity', phase: 'plan' },
  });
  expect(await records(ctx.storage)).toHaveLength(1);
});

test('a storage that will not have the record is a warning', async () => {
  const source = await createDatabase({ from: 'fresh' });
  const inner = createMemoryStorage();
  await backUp(engine({ storage: inner }), source);
  const ctx = engine({
    storage: {
      ...inner,
      write: () => Promise.reject(new LifeboatError('failed', 'This storage is read-only.')),
    },
  });
  expect(await drillIn(ctx, source)).toMatchObject({ result: 'passed', recorded: false });
  expect(ctx.events).toContainEqual(
    expect.objectContaining({ event: 'warning', code: 'drill-not-recorded' }),
  );
});

test('a record that is damaged, or of a newer Lifeboat, is told and hides nothing', async () => {
  const source = await createDatabase({ from: 'fresh' });
  const ctx = engine();
  const { backupId } = await backUp(ctx, source);
  await drillIn(ctx, source);
  await ctx.storage.write('drills/notes.txt', Buffer.from('not ours'));
  expect((await status(ctx, {})).lastDrill?.result).toBe('passed');
  const newest = '29991231T235959999Z-abcdef';
  for (const text of ['{', '{}', `{"formatVersion":2,"drillId":"${newest}"}`]) {
    await ctx.storage.write(`drills/${newest}.json`, Buffer.from(text));
    expect(await status(ctx, {})).toMatchObject({
      backupId,
      lastDrill: { drillId: newest, result: 'unreadable' },
      provenBackup: { backupId },
    });
  }
});

test('a backup stays proven while it is there, whatever newer drills find', async () => {
  const source = await createDatabase({ from: 'fresh' });
  const ctx = engine();
  const { backupId: proven } = await backUp(ctx, source);
  const { drillId } = await drillIn(ctx, source);
  const { backupId: damaged } = await backUp(ctx, source);
  await ctx.storage.write(`backups/${damaged}/manifest.json`, Buffer.from('{'));
  expect(await drillIn(ctx, source)).toMatchObject({ result: 'failed' });
  const later = { ...ctx, now: () => new Date(Date.now() + 3_600_000) };
  const { lastDrill, provenBackup } = await status(later, {});
  expect(lastDrill?.result).toBe('failed');
  expect(provenBackup).toMatchObject({ backupId: proven, drillId });
  expect(provenBackup?.ageSeconds).toBeGreaterThan(3599);

  // What is no longer there proves nothing.
  await backUp(ctx, source);
  await ctx.storage.remove([`backups/${proven}/manifest.json`]);
  expect((await status(ctx, {})).provenBackup).toBeNull();
});
