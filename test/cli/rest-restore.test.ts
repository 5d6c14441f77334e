import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { sampleRows } from '../helpers/fake-airflow-sample.ts';
import { type FakeMwaa, startFakeMwaa } from '../helpers/fake-mwaa.ts';
import { cli, type CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-rest-restore-'));
const storage = ['--storage', join(folder, 'storage')];
const KEY = `${Buffer.alloc(32, 7).toString('base64url')}=`;
let source: FakeAirflowApi;
let target: FakeAirflowApi;
let behind: FakeAirflowApi;
let mwaa: FakeMwaa;
const env = {
  LIFEBOAT_REST_USER: FAKE_USER.user,
  LIFEBOAT_REST_PASSWORD: FAKE_USER.password,
  LIFEBOAT_FERNET_KEY: KEY,
};

beforeAll(async () => {
  source = await startFakeAirflowApi({ version: '3.0.6', rows: sampleRows('3') });
  target = await startFakeAirflowApi({
    version: '3.2.1',
    // Tokens end in the middle of it.
    tokenUses: 5,
    rows: { dags: [{ dag_id: 'etl', is_paused: true, tasks: ['load', 'report'] }] },
  });
  behind = await startFakeAirflowApi({ version: '3.2.1' });
  mwaa = await startFakeMwaa({ environment: 'dr', version: '3.2.1', url: behind.url, ...FAKE_USER });
  expect((await lifeboat(`backup --airflow ${source.url}`)).code).toBe(0);
});
afterAll(async () => {
  await mwaa.close();
  await behind.close();
  await target.close();
  await source.close();
  rmSync(folder, { recursive: true, force: true });
});

const lifeboat = (words: string, more: Readonly<Record<string, string>> = {}): Promise<CliResult> =>
  cli([...words.split(' '), ...storage], { env: { ...env, ...more } });
const flat = (text: string): string => text.replaceAll(/\s+/g, ' ');

describe('a restore through the REST API', () => {
  test('--dry-run prints what will be written, what not, and why', async () => {
    const { code, stdout } = await lifeboat(`restore latest --airflow ${target.url} --dry-run`);
    expect(code).toBe(0);
    expect(flat(stdout)).toMatch(
      /Target 127\.0\.0\.1:\d+, through its REST API Airflow 3\.2\.1, REST API v2/,
    );
    expect(flat(stdout)).toMatch(/in flight resume: .*\(1 of 1 run; 0 finished tasks, 0 XComs\)/);
    expect(flat(stdout)).toMatch(/variable append 2 0 0 0 2 .*the backup has no val of it/);
    expect(target.rows.variables).toEqual([]);
  });

  test('asks, and without anybody to answer refuses', async () => {
    const { code, stderr } = await lifeboat(`restore latest --airflow ${target.url}`);
    expect(code).toBe(14);
    expect(flat(stderr)).toMatch(
      /This restores \S+ into 127\.0\.0\.1:\d+, makes 1 unfinished run again\. Nobody/,
    );
  });

  test.each(['--clean', '--tables dag', '--jobs 2', '--via shadow', '--keep-run a/b'])(
    '%s is for databases',
    async (flags) => {
      const { code, stderr } = await lifeboat(`restore latest --airflow ${target.url} --yes ${flags}`);
      expect(code).toBe(2);
      expect(flat(stderr)).toContain('is for restores into a database');
    },
  );

  test('--catchup is not', async () => {
    const url = 'postgresql://nobody@127.0.0.1:1/airflow';
    const { code } = await lifeboat(`restore latest --airflow ${url} --yes --catchup start`);
    expect(code).toBe(2);
  });

  test('its events and summary keep to the schema; a second one writes nothing', async () => {
    const first = await lifeboat(`restore latest --airflow ${target.url} --yes --json`);
    const { summary, lines } = checkedLines(first);
    expect(first.code).toBe(0);
    expect(lines.map(({ event }) => event)).toContain('plan');
    expect(summary).toMatchObject({
      command: 'restore',
      plan: { kind: 'rest-restore', source: { kind: 'rest' }, target: { api: 'v2', via: 'http' } },
      restored: { runs: { made: ['etl/manual__unfinished'] }, refused: [] },
    });
    expect(first.stdout).not.toContain('pass-in-clear');
    expect(target.tokens()).toBeGreaterThan(1);
    const rows = JSON.stringify(target.rows);
    const again = await lifeboat(`restore latest --airflow ${target.url} --yes`);
    expect(again.code).toBe(0);
    expect(flat(again.stdout)).toMatch(/0 settings written, 0 runs made again, .* 1 were made before/);
    expect(JSON.stringify(target.rows)).toBe(rows);
  });

  test('what Airflow does not take ends with 3', async () => {
    target.rows.pools.length = 0;
    target.faults.push({ method: 'PATCH', path: '/pools', kind: { status: 400 } });
    target.faults.push({
      method: 'POST',
      path: '/pools',
      kind: { status: 400, body: { detail: 'no such pool' } },
    });
    const { code, stdout } = await lifeboat(`restore latest --airflow ${target.url} --yes`);
    expect(code).toBe(3);
    expect(flat(stdout)).toMatch(/Airflow did not take slot_pool default_pool: .*no such pool/);
  });

  test('through InvokeRestApi', async () => {
    const { code, stdout } = await cli(
      ['restore', 'latest', '--airflow', 'mwaa://dr?region=eu-west-1', '--yes', ...storage],
      { env: { ...mwaa.env, LIFEBOAT_FERNET_KEY: KEY } },
    );
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(behind.rows.variables).toHaveLength(2);
  });
});
