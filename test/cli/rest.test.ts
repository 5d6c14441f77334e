import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { type FakeMwaa, startFakeMwaa } from '../helpers/fake-mwaa.ts';
import { cli, type CliResult, jsonLines } from './run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-rest-'));
let fake: FakeAirflowApi;
let mwaa: FakeMwaa;
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  fake = await startFakeAirflowApi({ version: '3.0.6' });
  mwaa = await startFakeMwaa({ environment: 'prod', version: '3.0.6', url: fake.url, ...FAKE_USER });
  fake.rows.variables.push({ id: 1, key: 'dsn', value: 'postgresql://u:hush@db/x' });
  env = { LIFEBOAT_REST_USER: FAKE_USER.user, LIFEBOAT_REST_PASSWORD: FAKE_USER.password };
});
afterAll(async () => {
  await mwaa.close();
  await fake.close();
  rmSync(folder, { recursive: true, force: true });
});

const rest = (words: readonly string[], input?: string): Promise<CliResult> =>
  cli(['rest', ...words, '--airflow', fake.url], { env, ...(input === undefined ? {} : { input }) });

describe('lifeboat rest', () => {
  test('GET prints the answer as JSON', async () => {
    const { code, stdout, stderr } = await rest(['get', '/variables', '--query', 'limit=5']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ total_entries: 1 });
    expect(fake.calls.at(-1)?.query.get('limit')).toBe('5');
  });

  test('--json: status, version and body in the summary', async () => {
    const { code, stdout } = await rest(['GET', '/api/v2/variables', '--json']);
    const { lines, summary } = jsonLines(stdout);
    expect({ code, lines: lines.length }).toEqual({ code: 0, lines: 1 });
    expect(summary).toMatchObject({
      command: 'rest',
      airflow: '3.0.6',
      status: 200,
      body: { total_entries: 1 },
    });
  });

  test('a password is masked on stdout, and --output has it for its owner alone', async () => {
    const { stdout } = await rest(['GET', '/variables/dsn']);
    expect(stdout).not.toContain('hush');
    const file = join(folder, 'answer.json');
    const written = await rest(['GET', '/variables/dsn', '--output', file]);
    expect(written.code).toBe(0);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ value: 'postgresql://u:hush@db/x' });
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('a body comes from the command line, a file or stdin', async () => {
    expect((await rest(['POST', '/variables', '--body', '{"key":"a","value":"1"}'])).code).toBe(0);
    const file = join(folder, 'body.json');
    writeFileSync(file, '{"key":"b","value":"2"}');
    expect((await rest(['POST', '/variables', '--body-file', file])).code).toBe(0);
    expect((await rest(['POST', '/variables', '--body-file', '-'], '{"key":"c","value":"3"}')).code).toBe(0);
    expect(fake.rows.variables.map(({ key }) => key)).toEqual(['dsn', 'a', 'b', 'c']);
  });

  test('what Airflow refuses ends with 1, its words and its status', async () => {
    const { code, stdout, stderr } = await rest(['GET', '/variables/none', '--json']);
    expect(code).toBe(1);
    expect(stderr).toContain('none was not found');
    expect(jsonLines(stdout).summary).toMatchObject({
      error: { details: { code: 'rest-answer', status: 404 } },
    });
  });

  test('through MWAA', async () => {
    const { code, stdout, stderr } = await cli(
      ['rest', 'GET', '/pools', '--airflow', 'mwaa://prod?region=eu-west-1'],
      {
        env: mwaa.env,
      },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({ pools: [], total_entries: 0 });
  });

  test.each([
    [['GET'], /needs a METHOD and a PATH/],
    [['FETCH', '/x'], /FETCH is not a method/],
    [['GET', 'variables'], /begins with \//],
    [['GET', '/x?limit=1'], /has a query/],
    [['GET', '/x', '--query', 'limit'], /not NAME=VALUE/],
    [['POST', '/x', '--body', '{hush}'], /--body is not JSON/],
    [['POST', '/x', '--body', '{}', '--body-file', '-'], /both given/],
  ])('%j is a mistake', async (words, says) => {
    const { code, stdout, stderr } = await rest(words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain('hush');
  });

  test('credentials in clear to another machine are warned of', async () => {
    // A name that resolves nowhere: the warning comes before anything is sent.
    const { code, stderr } = await cli(['rest', 'GET', '/x', '--airflow', 'http://airflow.invalid'], { env });
    expect(code).toBe(1);
    expect(stderr).toMatch(/plain http:/);
    expect((await rest(['GET', '/pools'])).stderr).not.toMatch(/plain http:/);
  });

  test('a database has no REST API', async () => {
    const { code, stderr } = await cli(['rest', 'GET', '/x', '--airflow', 'postgresql://u@h/d']);
    expect(code).toBe(2);
    expect(stderr).toContain('not one with a REST API');
  });
});
