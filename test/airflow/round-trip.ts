import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { inOrder } from './dump.ts';
import type { Dump } from './dump.ts';
import { query } from './environment.ts';
import { expectedDump } from './expected.ts';
import type { RestoreSituation } from './expected.ts';
import { airflow, create, diff, dump } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat, lifeboatJson } from './lifeboat.ts';
import { snapshotTime } from './backups.ts';
import type { Preparation } from './prepare.ts';
import { runScheduler, tracebacks } from './scheduler.ts';
import { step } from './step.ts';

// The tests follow one another as a recovery does: each one uses what those before it left.
export function roundTrip(preparation: () => Promise<Preparation>): void {
  let folder: string;
  let source: LabHome;
  let target: LabHome;
  let sourceDump: Dump;
  let freshDump: Dump;
  let storage: string;

  beforeAll(async () => {
    const prepared = await preparation();
    folder = join(prepared.folder, 'round-trip');
    storage = pathToFileURL(join(folder, 'storage')).href;
    await mkdir(join(folder, 'storage'), { recursive: true });
    source = prepared.source;
    target = await prepared.empty('target');
    await step('create the target', () => create(target));
    [sourceDump, freshDump] = await step('dump both', () => Promise.all([dump(source), dump(target)]));
  });

  /** What differs between the database and what a correct restore makes of it; empty when all is well. */
  async function differences(at: LabHome, before: Dump): Promise<string> {
    const situation: RestoreSituation = { before, snapshotTime: await snapshotTime(folder) };
    const expected = join(folder, 'expected.json');
    const actual = join(folder, 'actual.json');
    await writeFile(expected, JSON.stringify(inOrder(expectedDump(sourceDump, situation))));
    await writeFile(actual, JSON.stringify(inOrder(await dump(at))));
    return diff(expected, actual);
  }

  it('fills an Airflow with finished and unfinished runs that its ORM reads without errors', () => {
    expect(sourceDump.errors).toEqual([]);
    for (const table of ['dag_run', 'task_instance', 'xcom', 'trigger', 'variable', 'dataset_event']) {
      expect(sourceDump.row_counts[table], table).toBeGreaterThan(0);
    }
    const states = new Set((sourceDump.semantic.task_instance ?? []).map((row) => row.state));
    for (const state of ['running', 'deferred', 'up_for_retry', 'up_for_reschedule', 'success', 'failed']) {
      expect(states, 'states of task instances').toContain(state);
    }
    expect(freshDump.row_counts.dag_run).toBe(0);
  });

  it('backs up and verifies', async () => {
    const backup = ['backup', '--airflow', source.database, '--storage', storage];
    const summary = await step('lifeboat backup', () => lifeboatJson(backup));
    const verify = ['verify', String(summary.backupId), '--storage', storage];
    await step('lifeboat verify', () => lifeboat(verify));
    const unchanged = await dump(source);
    expect(unchanged, 'the source after a backup').toEqual(sourceDump);
  });

  it('restores into a freshly created environment what Airflow reads the same', async () => {
    const restore = ['restore', 'latest', '--airflow', target.database, '--storage', storage];
    await step('lifeboat restore', () => lifeboat([...restore, '--clean', '--yes']));
    expect(await differences(target, freshDump)).toBe('');
  });

  it('would notice one NULL that came back as an empty string', async () => {
    await query(target, `UPDATE log SET extra = '' WHERE event = 'lab_null'`);
    const found = await differences(target, freshDump);
    await query(target, `UPDATE log SET extra = NULL WHERE event = 'lab_null'`);
    expect(found).toMatch(/^\/semantic\/log/);
    expect(found).toContain('1 differences');
  });

  it('leaves every sequence above every id', async () => {
    const serials = await query(target, SERIAL_COLUMNS);
    expect(serials.length).toBeGreaterThan(15);
    const checks = serials.map(
      ({ table, column, sequence }) =>
        `SELECT '${String(table)}' AS table, nextval('${String(sequence)}') > max("${String(column)}") AS above FROM "${String(table)}"`,
    );
    const rows = await query(target, checks.join(' UNION ALL '));
    expect(rows.filter(({ above }) => above === false)).toEqual([]);
  });

  it("passes Airflow's own checks and shows the same in Airflow's command line", async () => {
    await step('airflow db check', async () => {
      await airflow(target, 'db', 'check');
      await airflow(target, 'db', 'check-migrations', '--migration-wait-timeout', '5');
    });
    await step('airflow … list', async () => {
      for (const command of ['variables list', 'connections list', 'dags list-runs -d lab_everything']) {
        const [there, here] = await Promise.all([list(source, command), list(target, command)]);
        expect(there.length, command).toBeGreaterThan(2);
        expect(here, command).toEqual(there);
      }
    });
  });

  it('restores in place after the database was wrecked', async () => {
    const to = ['--airflow', source.database];
    await step('lifeboat cleanup', () => lifeboat(['cleanup', ...to, '--ignore-running', '--yes']));
    await query(source, 'DELETE FROM variable; DELETE FROM connection; UPDATE slot_pool SET slots = 3');
    await query(source, 'UPDATE dag SET is_paused = NOT is_paused, next_dagrun = NULL');
    const wrecked = await dump(source);
    expect(wrecked.row_counts.dag_run, 'runs after cleanup').toBe(0);
    expect(wrecked.row_counts.task_instance, 'task instances after cleanup').toBe(0);
    expect(wrecked.row_counts.dag, 'DAGs after cleanup').toBe(sourceDump.row_counts.dag);
    const restore = ['restore', 'latest', ...to, '--storage', storage, '--clean', '--ignore-running'];
    await step('lifeboat restore in place', () => lifeboat([...restore, '--yes']));
    expect(await differences(source, wrecked)).toBe('');
  });

  it('lets a scheduler work on the restored environment', async () => {
    const history = `SELECT dag_id, run_id, state, start_date, end_date FROM dag_run
      WHERE state IN ('success', 'failed') AND end_date < '${await snapshotTime(folder)}' ORDER BY 1, 2`;
    const before = await query(target, history);
    const paused = await query(target, `SELECT dag_id FROM dag WHERE is_paused ORDER BY 1`);
    const parsed = async (): Promise<boolean> => {
      const [row] = await query(target, 'SELECT count(*) FILTER (WHERE NOT is_active) = 0 AS all FROM dag');
      return row?.all === true;
    };
    const { survived, log } = await step('airflow scheduler', () =>
      runScheduler(target, { atLeastMs: 30_000, atMostMs: 300_000 }, parsed),
    );
    expect(survived, log.slice(-4000)).toBe(true);
    expect(tracebacks(log)).toEqual([]);
    expect(await parsed(), `every DAG was parsed and is active\n${log.slice(-4000)}`).toBe(true);
    expect(await query(target, history), 'finished runs').toEqual(before);
    expect(await query(target, `SELECT dag_id FROM dag WHERE is_paused ORDER BY 1`)).toEqual(paused);
  });
}

const SERIAL_COLUMNS = `
  SELECT table_name AS table, column_name AS column, pg_get_serial_sequence(table_name, column_name) AS sequence
  FROM information_schema.columns
  WHERE table_schema = 'public' AND pg_get_serial_sequence(table_name, column_name) IS NOT NULL`;

/** Rows of a list command of Airflow's CLI without surrogate ids, in one order. */
async function list(at: LabHome, command: string): Promise<readonly string[]> {
  const { stdout } = await airflow(at, ...command.split(' '), '-o', 'json');
  const rows = JSON.parse(stdout) as Record<string, unknown>[];
  return rows.map((row) => JSON.stringify({ ...row, id: undefined })).sort();
}
