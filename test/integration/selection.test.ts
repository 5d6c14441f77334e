import { expect, test } from 'vitest';
import { snapshotTables } from '../helpers/compare.ts';
import { createDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { backup } from '../../src/engine/backup.ts';
import { cleanup } from '../../src/engine/cleanup.ts';
import type { BackupPlan } from '../../src/engine/plans.ts';
import { LEFT_OUT_TABLES } from '../../src/tables/index.ts';
import { backUp, cleanUp, engine, failureOf, restoreInto, storageContent, targetOf } from './engine.ts';
import { namedRows } from './expected.ts';

test('--tables takes parents along, and plan and manifest say so', async () => {
  const ctx = engine();
  const { manifest } = await backUp(ctx, await createDatabase(), { tables: ['xcom', 'variable'] });
  const [plan] = ctx.events.flatMap((event) => (event.event === 'plan' ? [event.plan as BackupPlan] : []));
  const chosen = ['variable', 'log_template', 'job', 'trigger', 'dag_run', 'task_instance', 'xcom'];
  expect(manifest.tables.map(({ name }) => name).sort()).toEqual([...chosen].sort());
  const added = new Map(plan?.tables.map(({ table, addedFor }) => [table, addedFor]));
  expect(added.get('task_instance')).toBe('xcom');
  expect(added.get('job')).toMatch(/dag_run|task_instance|trigger/);
  expect(added.get('variable')).toBeUndefined();
  const reasons = new Map(manifest.leftOut.map(({ table, reason }) => [table, reason]));
  expect(reasons.get('log')).toMatch(/not chosen/);

  const target = await createDatabase({ from: 'fresh' });
  const before = await snapshotTables(await target.client());
  const { loaded, plan: restorePlan } = await restoreInto(ctx, target);
  expect(loaded.tables.map(({ table }) => table).sort()).toEqual([...chosen].sort());
  expect(restorePlan.warnings.find(({ code }) => code === 'partial')?.message).toMatch(/sla_miss/);
  const after = await snapshotTables(await target.client());
  expect(namedRows(after, 'xcom').length).toBe(manifest.tables.find(({ name }) => name === 'xcom')?.rows);
  expect(after.get('log')).toEqual(before.get('log'));
  expect(after.get('connection')).toEqual(before.get('connection'));
});

test('--exclude-tables leaves out leaves, and refuses to make orphans', async () => {
  const ctx = engine();
  const source = await createDatabase();
  const { manifest } = await backUp(ctx, source, { excludeTables: ['log', 'rendered_task_instance_fields'] });
  const names = manifest.tables.map(({ name }) => name);
  expect(names).not.toContain('log');
  expect(names).toContain('task_instance');
  const stored = await storageContent(ctx.storage);
  for (const parent of ['dag_run', 'task_instance', 'trigger', 'dataset', 'dag']) {
    const error = await failureOf(backUp(ctx, source, { excludeTables: [parent] }));
    expect(error.kind).toBe('usage');
    expect(error.message).toMatch(new RegExp(`--exclude-tables ${parent} would leave rows of .*without`));
  }
  for (const request of [{ tables: ['nope'] }, { excludeTables: ['nope'] }, { tables: ['serialized_dag'] }]) {
    const error = await failureOf(backUp(ctx, source, request));
    expect(error.kind).toBe('usage');
    expect(error.message).toMatch(/unknown tables/);
  }
  const nothing = await failureOf(backUp(ctx, source, { tables: ['variable'], excludeTables: ['variable'] }));
  expect(nothing.message).toMatch(/No table is left/);
  expect(await storageContent(ctx.storage)).toEqual(stored);
});

test('the manifest names everything that it leaves out, with reasons', async () => {
  const source = await createDatabase();
  await (
    await source.client()
  ).query(
    `CREATE TABLE theirs (id int); CREATE TABLE _airflow_deleted__xcom__20260101 (id int); CREATE TABLE celery_taskmeta (id int);
     ALTER TABLE dag ADD tenant text`,
  );
  const { manifest } = await backUp(engine(), source);
  const { rows } = await (
    await source.client()
  ).query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
  );
  const stored = manifest.tables.map(({ name }) => name);
  const whole = manifest.leftOut.filter(({ columns }) => columns === undefined).map(({ table }) => table);
  expect([...stored, ...whole].sort()).toEqual(rows.map(({ name }) => name).sort());
  const reason = (table: string, column?: string): string | undefined =>
    manifest.leftOut.find(
      (one) => one.table === table && (column ? one.columns?.includes(column) : one.columns === undefined),
    )?.reason;
  expect(reason('theirs')).toBe('not a table of this Airflow');
  expect(reason('_airflow_deleted__xcom__20260101')).toMatch(/db clean/);
  expect(reason('celery_taskmeta')).toMatch(/Celery/);
  expect(reason('dag', 'tenant')).toBe('not a column of this Airflow');
  expect(reason('dag', 'pickle_id')).toMatch(/dag_pickle/);
  expect(reason('ab_user', 'password')).toMatch(/belong to the target/);
  for (const { name, reason: text } of LEFT_OUT_TABLES) {
    if (reason(name) !== undefined) expect(reason(name)).toBe(text);
  }
  // What was left out is in no part either: users are only names.
  const users = manifest.tables.find(({ name }) => name === 'ab_user');
  expect(users?.columns).toEqual(['id', 'username']);
});

test('restore --tables loads these and their parents, and leaves the rest alone', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase());
  const target = await createDatabase({ from: 'fresh' });
  const client = await target.client();
  const before = await snapshotTables(client);
  const { loaded } = await restoreInto(ctx, target, { tables: ['variable', 'dag_tag'] });
  expect(loaded.tables.map(({ table }) => table).sort()).toEqual(['dag', 'dag_tag', 'variable']);
  const after = await snapshotTables(client);
  const changed = [...after.keys()].filter((table) => after.get(table)?.sha256 !== before.get(table)?.sha256);
  expect(changed.sort()).toEqual(['dag', 'dag_tag', 'variable']);
  const error = await failureOf(restoreInto(ctx, target, { tables: ['nope'] }));
  expect(error.kind).toBe('usage');
});

test('a partial --clean that would delete what it does not bring back is refused', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase());
  const target = await createDatabase();
  const client = await target.client();
  const before = await databaseFingerprint(client);
  const error = await failureOf(restoreInto(ctx, target, { tables: ['dag_run'], clean: true }));
  expect(error.kind).toBe('refused');
  expect(error.message).toMatch(/task_instance/);
  expect(await databaseFingerprint(client)).toEqual(before);
});

test('a history without --clean is refused, and dry runs touch neither side', async () => {
  const ctx = engine();
  const source = await createDatabase();
  await backUp(ctx, source);
  const target = await createDatabase();
  const client = await target.client();
  const [database, storage] = [await databaseFingerprint(client), await storageContent(ctx.storage)];
  const error = await failureOf(restoreInto(ctx, target));
  expect(error.kind).toBe('refused');
  expect(error.message).toMatch(/history.*rows in dag_run.*rows in task_instance.*rows in xcom/);
  expect(error.next).toMatch(/--clean/);

  let asked = 0;
  const confirm = (): Promise<boolean> => {
    asked += 1;
    return Promise.resolve(false);
  };
  const dry = await restoreInto(ctx, target, { clean: true, dryRun: true, confirm });
  expect(dry.loaded).toBeUndefined();
  const plan = new Map(dry.plan.tables.map((table) => [table.table, table]));
  expect(plan.get('dag_run')).toMatchObject({ action: 'load', deletes: 23, loads: 23, keeps: 0 });
  expect(plan.get('variable')).toMatchObject({ action: 'merge', deletes: 0, keeps: 33 });
  expect(JSON.parse(JSON.stringify(dry.plan))).toEqual(dry.plan);
  const environment = targetOf(target);
  const { plan: cleanPlan } = await cleanup(ctx, { environment, dryRun: true, ignoreRunning: true, confirm });
  expect(cleanPlan.tables.find(({ table }) => table === 'dag_run')).toMatchObject({ deletes: 23, keeps: 0 });
  expect(cleanPlan.untouched).toEqual(expect.arrayContaining(['variable', 'ab_user', 'dag', 'log_template']));
  await backup(ctx, {
    environment,
    jobs: 2,
    compression: { codec: 'gzip', level: 1 },
    fernetKeys: [],
    dryRun: true,
  });
  expect(asked).toBe(0);
  for (const work of [
    () => restoreInto(ctx, target, { clean: true, confirm }),
    () => cleanup(ctx, { environment, dryRun: false, ignoreRunning: true, confirm }),
  ]) {
    expect((await failureOf(work())).message).toMatch(/not confirmed/);
  }
  expect(asked).toBe(2);
  expect(await databaseFingerprint(client)).toEqual(database);
  expect(await storageContent(ctx.storage)).toEqual(storage);
});

test('each kind of history alone is enough to be refused; logs and jobs are not', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase());
  const target = await createDatabase({ from: 'fresh' });
  const client = await target.client();
  await client.query(
    `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, clear_number) VALUES ('d', 'r', now(), 'manual', 0)`,
  );
  expect((await failureOf(restoreInto(ctx, target))).message).toMatch(/1 rows in dag_run/);
  await client.query(
    `DELETE FROM dag_run; INSERT INTO job (state, job_type, hostname) VALUES ('success', 'SchedulerJob', 'mine');
     INSERT INTO log (event, dttm) VALUES ('mine', now())`,
  );
  const { rows: mine } = await client.query(
    `SELECT id FROM job UNION ALL SELECT id FROM log WHERE event = 'mine'`,
  );
  const { loaded } = await restoreInto(ctx, target);
  expect(loaded.tables.find(({ table }) => table === 'log')?.moved).toBeGreaterThan(0);
  const { rows: stayed } = await client.query(
    `SELECT id FROM job WHERE hostname = 'mine' UNION ALL SELECT id FROM log WHERE event = 'mine'`,
  );
  expect(stayed).toEqual(mine);
});

test('a foreign table with a key to what is deleted is a refusal that names it', async () => {
  const ctx = engine();
  await backUp(ctx, await createDatabase());
  const target = await createDatabase();
  const client = await target.client();
  await client.query(
    `CREATE SCHEMA "Their's"; CREATE TABLE "Their's".notes (run int REFERENCES dag_run (id) ON DELETE CASCADE);
     INSERT INTO "Their's".notes SELECT id FROM dag_run`,
  );
  const before = await databaseFingerprint(client);
  for (const work of [() => restoreInto(ctx, target, { clean: true }), () => cleanUp(ctx, target)]) {
    const error = await failureOf(work());
    expect(error.kind).toBe('refused');
    expect(error.message).toMatch(/"Their's"\.notes.*foreign key to dag_run/);
  }
  expect(await databaseFingerprint(client)).toEqual(before);
});
