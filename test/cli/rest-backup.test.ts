import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { sampleRows } from '../helpers/fake-airflow-sample.ts';
import { type FakeMwaa, startFakeMwaa } from '../helpers/fake-mwaa.ts';
import { cli, type CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-rest-backup-'));
const storage = ['--storage', join(folder, 'storage')];
const KEY = `${Buffer.alloc(32, 7).toString('base64url')}=`;
let fake: FakeAirflowApi;
let mwaa: FakeMwaa;
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  fake = await startFakeAirflowApi({ version: '3.0.6', rows: sampleRows('3') });
  mwaa = await startFakeMwaa({ environment: 'prod', version: '3.0.6', url: fake.url, ...FAKE_USER });
  env = { LIFEBOAT_REST_USER: FAKE_USER.user, LIFEBOAT_REST_PASSWORD: FAKE_USER.password };
});
afterAll(async () => {
  await mwaa.close();
  await fake.close();
  rmSync(folder, { recursive: true, force: true });
});

const lifeboat = (words: string, more: Readonly<Record<string, string>> = {}): Promise<CliResult> =>
  cli([...words.split(' '), ...storage], { env: { ...env, ...more } });
const flat = (text: string): string => text.replaceAll(/\s+/g, ' ');

describe('a backup through the REST API', () => {
  test('--dry-run says what there is and what will be missing, and stores nothing', async () => {
    const { code, stdout } = await lifeboat(`backup --airflow ${fake.url} --dry-run`);
    expect(code).toBe(0);
    expect(flat(stdout)).toMatch(
      /Airflow 3\.0\.6, REST API v2 .* dag_run 3 .* dag_version \(last_updated\): the parser/,
    );
    expect((await lifeboat('list')).stdout).toContain('There is no backup');
  });

  test('without anybody to read secrets it says that they stay out', async () => {
    const { code, stderr } = await lifeboat(`backup --airflow ${fake.url}`);
    expect(code).toBe(0);
    expect(flat(stderr)).toContain('Give --seal-to RECIPIENT, or a Fernet key in LIFEBOAT_FERNET_KEY');
    const exported = await lifeboat(
      `export latest --format json --with-secrets --to ${join(folder, 'none')}`,
    );
    expect(flat(exported.stdout + exported.stderr)).toContain('the backup has no password,extra of it');
    expect(existsSync(join(folder, 'none', 'connections.json'))).toBe(false);
  });

  test('its events and summary keep to the schema; list, show and verify take it', async () => {
    const made = await lifeboat(`backup --airflow ${fake.url} --label night --json`, {
      LIFEBOAT_FERNET_KEY: KEY,
    });
    const { summary } = checkedLines(made);
    expect(summary).toMatchObject({
      command: 'backup',
      manifest: { formatVersion: 2, source: { kind: 'rest' } },
    });
    expect(made.stdout).not.toContain('pass-in-clear');
    expect((await lifeboat('list')).stdout).toMatch(/127\.0\.0\.1:\d+ +3\.0\.6 .* night/);
    expect(flat((await lifeboat('show latest')).stdout)).toMatch(
      /through its REST API .*variable \(val of 2 rows: api_secret, partly\).*Airflow masks it/,
    );
    expect((await lifeboat('verify latest')).code).toBe(0);
  });

  test('only whole variables and connections are exported', async () => {
    const to = join(folder, 'some');
    const { code } = await lifeboat(`export latest --format json --with-secrets --to ${to}`, {
      LIFEBOAT_FERNET_KEY: KEY,
    });
    expect(code).toBe(0);
    const read = (name: string): unknown => JSON.parse(readFileSync(join(to, name), 'utf8'));
    expect(read('variables.json')).toEqual({ empty: '', plain: 'v\n"1"' });
    expect(read('connections.json')).toMatchObject({ whole: { password: 'pass-in-clear', port: 8080 } });
    expect(Object.keys(read('connections.json') as object)).toEqual(['whole']);
  });

  test('what is masked is named by a dry run, taken from stdin, and in no output', async () => {
    const words = `backup --airflow ${fake.url}`;
    const dry = await lifeboat(`${words} --dry-run`, { LIFEBOAT_FERNET_KEY: KEY });
    expect(flat(dry.stdout)).toContain(
      'Masked: variable (val): api_secret, partly; connection (password): masked',
    );
    const input = '{"variables": {"api_secret": "hunter2", "partly": "{}"}}';
    const from = [...words.split(' '), '--secrets-from', '-', ...storage];
    const made = await cli([...from, '--json'], { env: { ...env, LIFEBOAT_FERNET_KEY: KEY }, input });
    expect(made).toMatchObject({ code: 0 });
    expect(made.stdout + made.stderr).not.toContain('hunter2');
    const to = join(folder, 'handed');
    await lifeboat(`export latest --format json --with-secrets --to ${to}`, { LIFEBOAT_FERNET_KEY: KEY });
    expect(JSON.parse(readFileSync(join(to, 'variables.json'), 'utf8'))).toMatchObject({
      api_secret: 'hunter2',
    });

    const nobody = await cli(from, { env, input });
    expect({ code: nobody.code, says: flat(nobody.stderr) }).toMatchObject({
      code: 14,
      says: expect.stringContaining('Give --seal-to RECIPIENT') as string,
    });
    const bad = await cli(from, { env, input: 'hunter2' });
    expect(bad.code).toBe(2);
    expect(bad.stderr).not.toContain('hunter2');
    const database = await lifeboat(
      'backup --airflow postgresql://nobody@127.0.0.1:1/airflow --secrets-from -',
    );
    expect(database.code).toBe(2);
    expect(flat(database.stderr)).toContain('--secrets-from is for backups through the REST API');
  });

  test('is refused by what needs a database, before one is asked for', async () => {
    const url = 'postgresql://nobody@127.0.0.1:1/airflow';
    for (const command of ['restore latest --yes', 'drill latest', 'activate latest --yes']) {
      const { code, stderr } = await lifeboat(`${command} --airflow ${url}`);
      expect({ command, code }).toEqual({ command, code: 13 });
      expect(flat(stderr)).toContain('was made through the REST API');
    }
  });

  test('flags about connections to a database are no flags of it', async () => {
    const { code, stderr } = await lifeboat(`backup --airflow ${fake.url} --jobs 4`);
    expect(code).toBe(2);
    expect(stderr).toContain('--jobs is for backups of a database');
  });

  test('XComs of unfinished runs alone; of a database there is no such choice', async () => {
    const { code, stdout } = await lifeboat(`backup --airflow ${fake.url} --xcoms unfinished`);
    expect(code).toBe(0);
    expect(flat((await lifeboat('show latest')).stdout)).toContain(
      'xcom (3 rows): of runs that have ended, not chosen (--xcoms)',
    );
    expect(stdout).toMatch(/with \d+ requests and [\d.]+ [KM]?B received/);
    const url = 'postgresql://nobody@127.0.0.1:1/airflow';
    expect((await lifeboat(`backup --airflow ${url} --xcoms all`)).code).toBe(2);
  });

  test('diff and verify compare a backup with what the API gives now', async () => {
    const key = { LIFEBOAT_FERNET_KEY: KEY };
    await lifeboat(`backup --airflow ${fake.url}`, key);
    expect(await lifeboat(`diff latest --airflow ${fake.url}`, key)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Equal: backup \S+ and 127\.0\.0\.1:\d+,/) as string,
    });
    expect((await lifeboat(`verify latest --airflow ${fake.url}`)).code).toBe(0);
    const [first] = fake.rows.variables.splice(0, 1);
    const changed = await lifeboat(`diff latest --airflow ${fake.url} --json`, key);
    expect(changed.code).toBe(3);
    const { summary } = checkedLines(changed);
    expect(summary).toMatchObject({ different: true });
    const counted = await lifeboat(`verify latest --airflow ${fake.url}`);
    expect([counted.code, flat(counted.stdout)]).toEqual([3, expect.stringContaining('variable 4 3')]);
    if (first !== undefined) fake.rows.variables.unshift(first);
  });

  test('through InvokeRestApi what lies behind a long path is named', async () => {
    const { code, stdout } = await lifeboat('backup --airflow mwaa://prod?region=eu-west-1 --json', {
      ...mwaa.env,
      LIFEBOAT_FERNET_KEY: KEY,
    });
    expect(code).toBe(0);
    const { summary } = checkedLines({ code, stdout, stderr: '', signal: null });
    expect(summary).toMatchObject({
      manifest: { source: { via: 'invoke', environment: 'mwaa://prod (eu-west-1)' } },
    });
    expect(JSON.stringify(summary)).toContain('its path is longer than InvokeRestApi takes');
  });
});
