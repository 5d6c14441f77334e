import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { sampleRows } from '../helpers/fake-airflow-sample.ts';
import { startFakeMwaa } from '../helpers/fake-mwaa.ts';
import { cli, type CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-rest-cleanup-'));
const storage = ['--storage', join(folder, 'storage')];
let fake: FakeAirflowApi;
const env = {
  LIFEBOAT_REST_USER: FAKE_USER.user,
  LIFEBOAT_REST_PASSWORD: FAKE_USER.password,
  LIFEBOAT_FERNET_KEY: `${Buffer.alloc(32, 7).toString('base64url')}=`,
};

beforeEach(async () => {
  fake = await startFakeAirflowApi({ version: '3.2.1', rows: sampleRows('3') });
});
afterEach(async () => {
  await fake.close();
  rmSync(folder, { recursive: true, force: true });
});

const lifeboat = (words: string, more: Readonly<Record<string, string>> = {}): Promise<CliResult> =>
  cli(words.split(' '), { env: { ...env, ...more } });
const flat = (text: string): string => text.replaceAll(/\s+/g, ' ');
const runs = (): unknown[] => fake.rows.dag_runs.map((run) => run.dag_run_id);

describe('a cleanup through the REST API', () => {
  test('--dry-run prints where, what is deleted, what stays, and what no API deletes', async () => {
    const { code, stdout } = await lifeboat(`cleanup --airflow ${fake.url} --ignore-running --dry-run`);
    expect(code).toBe(0);
    const plan = flat(stdout);
    expect(plan).toMatch(/Target 127\.0\.0\.1:\d+, through its REST API Airflow 3\.2\.1, REST API v2/);
    expect(plan).toMatch(/Scheduler last heartbeat .*\(2026-11-21 11:59:30 UTC\)/);
    expect(plan).toContain('of them 1 unfinished, ended as failed first; 1 queued event');
    expect(plan).toMatch(/etl 2 1 total 2 1/);
    expect(plan).toMatch(/Keep 1 run the newest of its DAG’s schedule.*: etl\/scheduled__1/);
    expect(plan).toContain('asset_event, backfill, import_error, job, log: the API deletes none of it');
    expect(plan).toContain('Dry run: nothing was changed.');
    expect(runs()).toHaveLength(3);
  });

  test('tasks at work refuse it', async () => {
    const { code, stderr } = await lifeboat(`cleanup --airflow ${fake.url} --yes`);
    expect(code).toBe(14);
    expect(flat(stderr)).toContain('is running or queued: etl.load, run manual__unfinished (running)');
    expect(runs()).toHaveLength(3);
  });

  test('asks, and without anybody to answer refuses', async () => {
    const { code, stderr } = await lifeboat(`cleanup --airflow ${fake.url} --ignore-running`);
    expect(code).toBe(14);
    expect(flat(stderr)).toMatch(
      /This deletes 2 runs with all that hangs on them and 1 queued event from 127\.0\.0\.1:\d+\. Nobody/,
    );
    expect(runs()).toHaveLength(3);
  });

  test('its events and summary keep to the schema', async () => {
    const result = await lifeboat(`cleanup --airflow ${fake.url} --ignore-running --yes --json`);
    const { summary, lines } = checkedLines(result);
    expect(result.code).toBe(0);
    expect(lines.map(({ event }) => event)).toContain('plan');
    expect(summary).toMatchObject({
      command: 'cleanup',
      plan: { kind: 'rest-cleanup' },
      cleaned: { runs: 2, ended: 1, queuedEvents: 1, refused: [] },
    });
    expect(runs()).toEqual(['scheduled__1']);
  });

  test('as a task it leaves its own run alone', async () => {
    const { code } = await lifeboat(`cleanup --yes --airflow ${fake.url}`, {
      AIRFLOW_CTX_DAG_ID: 'etl',
      AIRFLOW_CTX_DAG_RUN_ID: 'manual__unfinished',
      AIRFLOW_CTX_TASK_ID: 'load',
    });
    expect(code).toBe(0);
    expect(runs()).toEqual(['scheduled__1', 'manual__unfinished']);
  });

  test('what Airflow does not delete ends with 3', async () => {
    fake.faults.push({ method: 'DELETE', path: 'manual__failed', kind: { status: 409 } });
    const { code, stdout } = await lifeboat(
      `cleanup --airflow ${fake.url} --ignore-running --catchup start --yes`,
    );
    expect(code).toBe(3);
    expect(flat(stdout)).toMatch(
      /Deleted 2 runs .*Not deleted: dag_run etl\/manual__failed: .* answered 409/,
    );
  });

  test('what no path of InvokeRestApi reaches is named, and ends with 3', async () => {
    const mwaa = await startFakeMwaa({ environment: 'dr', version: '3.2.1', url: fake.url, ...FAKE_USER });
    fake.rows.dag_runs.push({ dag_id: 'etl', dag_run_id: `manual__${'x'.repeat(60)}`, state: 'success' });
    const words = 'cleanup --airflow mwaa://dr?region=eu-west-1 --ignore-running --yes';
    const { code, stdout } = await cli(words.split(' '), { env: { ...env, ...mwaa.env } });
    await mwaa.close();
    expect({ code, stdout }).toMatchObject({ code: 3 });
    expect(flat(stdout)).toMatch(
      /Not deleted: dag_run etl\/manual__x+: its path is longer than InvokeRestApi/,
    );
    expect(runs()).toHaveLength(2);
  });

  test('--schema is for databases, and --catchup is not', async () => {
    expect((await lifeboat(`cleanup --airflow ${fake.url} --schema x --yes`)).code).toBe(2);
    const url = 'postgresql://nobody@127.0.0.1:1/airflow';
    expect((await lifeboat(`cleanup --airflow ${url} --catchup start --yes`)).code).toBe(2);
    expect((await lifeboat(`activate latest --airflow ${url} --catchup start`)).code).toBe(2);
  });
});

describe('activate through the REST API', () => {
  const activate = (words: string): Promise<CliResult> =>
    lifeboat(`activate latest --airflow ${fake.url} ${storage.join(' ')} ${words}`.trim());
  const paused = (): unknown[] => fake.rows.dags.map((dag) => dag.is_paused);

  beforeEach(async () => {
    const soon = '2999-01-01T00:00:00Z';
    fake.rows.dags.splice(
      0,
      1,
      { dag_id: 'etl_a', is_paused: false, next_dagrun_run_after: soon },
      { dag_id: 'etl_b', is_paused: false, next_dagrun_run_after: soon },
      {
        dag_id: 'past',
        is_paused: false,
        next_dagrun_run_after: '2026-01-01T00:00:00Z',
        catchup: true,
        timetable_summary: '@daily',
      },
      { dag_id: 'off', is_paused: true },
    );
    expect((await lifeboat(`backup --airflow ${fake.url} ${storage.join(' ')}`)).code).toBe(0);
    for (const dag of fake.rows.dags) dag.is_paused = true;
  });

  test('gives DAGs the states of the backup in waves, and holds what would catch up', async () => {
    const plan = await activate('--dry-run');
    expect(flat(plan.stdout)).toContain('Would unpause (2): etl_a, etl_b');
    expect(paused()).toEqual([true, true, true, true]);
    expect((await activate('--dags *_b')).code).toBe(0);
    expect(paused()).toEqual([true, false, true, true]);
    const all = await activate('');
    expect(flat(all.stdout)).toMatch(/Unpaused \(1\): etl_a .*Already as in the backup: 2/);
    expect(flat(all.stdout)).toMatch(/Still paused: 1 DAG .*past \(\d+ runs\)/);
    expect(paused()).toEqual([false, false, true, true]);
    expect((await activate('--catchup start --json')).code).toBe(0);
    expect(paused()).toEqual([false, false, false, true]);
  });

  test('what Airflow does not take ends with 3', async () => {
    fake.faults.push({ method: 'PATCH', path: 'etl_a', kind: { status: 404 } });
    const { code, stdout } = await activate('');
    expect(code).toBe(3);
    expect(flat(stdout)).toMatch(/Airflow did not take etl_a: .* 404/);
    expect(paused()).toEqual([true, false, true, true]);
  });
});

test.each(['drill latest', 'doctor'])('%s says what goes through an API', async (words) => {
  const { code, stderr } = await lifeboat(`${words} --airflow ${fake.url} ${storage.join(' ')}`);
  expect(code).toBe(2);
  expect(flat(stderr)).toMatch(
    /works on the metadata database alone .*lifeboat backup, restore, activate, cleanup/,
  );
});
