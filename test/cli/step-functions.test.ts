import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Manifest } from '../../src/engine/manifest.ts';
import { createDatabase } from '../helpers/databases.ts';
import type { TestDatabase } from '../helpers/databases.ts';
import { startFakeStepFunctions } from '../helpers/fake-step-functions.ts';
import type { FakeStepFunctions } from '../helpers/fake-step-functions.ts';
import { cli, cliEnv, MAIN } from './run-cli.ts';
import type { CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const TOKEN = 'AAAAKgAAAAIAAAAAAAAAAf3qX/very+secret==';
const TASK = {
  AIRFLOW_CTX_DAG_ID: 'backup_metadata',
  AIRFLOW_CTX_DAG_RUN_ID: 'manual__1',
  AIRFLOW_CTX_TASK_ID: 'backup',
};

let source: TestDatabase;
let sfn: FakeStepFunctions;
let scratch: string;

beforeAll(async () => {
  source = await createDatabase({ from: 'data' });
});
afterAll(async () => {
  await source.drop();
});
beforeEach(async () => {
  sfn = await startFakeStepFunctions(TOKEN);
  scratch = mkdtempSync(join(tmpdir(), 'lifeboat-sfn-'));
});
afterEach(async () => {
  await sfn.close();
  rmSync(scratch, { recursive: true, force: true });
});

const environment = (extra: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  ...sfn.env,
  ...TASK,
  LIFEBOAT_AIRFLOW: source.url,
  LIFEBOAT_STORAGE: join(scratch, 'backups'),
  LIFEBOAT_TASK_TOKEN: TOKEN,
  ...extra,
});

const lifeboat = (words: string, env: Readonly<Record<string, string>> = {}): Promise<CliResult> =>
  cli(words.split(' '), { env: environment(env) });

const BACKUP = 'backup --tables dag_run --json';

/** What was told to Step Functions besides heartbeats, with its JSON read. */
function told(): {
  readonly action: string;
  readonly error?: string;
  readonly body: Record<string, unknown>;
}[] {
  return sfn.calls
    .filter(({ action }) => action !== 'SendTaskHeartbeat')
    .map(({ action, body }) => ({
      action,
      ...(body.error === undefined ? {} : { error: body.error }),
      body: JSON.parse(body.output ?? body.cause ?? '') as Record<string, unknown>,
    }));
}

function expectNoToken({ stdout, stderr }: Pick<CliResult, 'stdout' | 'stderr'>): void {
  expect(stdout + stderr).not.toContain(TOKEN);
  expect(stdout + stderr).not.toContain(encodeURIComponent(TOKEN));
}

test('a backup beats once before it begins, and tells its end once, in the words of mwaa_dr', async () => {
  const result = await lifeboat(BACKUP);
  expect(result.code, result.stderr).toBe(0);
  const { summary } = checkedLines(result);
  expect(summary).toMatchObject({ ok: true, stepFunctions: 'success' });
  expect(sfn.actions()).toEqual(['Heartbeat', 'Success']);
  expect(told()).toEqual([
    {
      action: 'SendTaskSuccess',
      body: {
        dag: 'backup_metadata',
        dag_run: 'manual__1',
        tasks: ['backup => success'],
        status: 'Success',
        location: join(scratch, 'backups'),
        lifeboat: expect.objectContaining({ command: 'backup', exitCode: 0, backupId: summary.backupId }),
      },
    },
  ]);
  expectNoToken(result);
});

test('a failure is told with its cause, that of a cleanup too', async () => {
  const nowhere = { LIFEBOAT_AIRFLOW: 'postgresql://a:hidden@127.0.0.1:1/a' };
  const backup = await lifeboat(BACKUP, nowhere);
  expect(backup.code).toBe(1);
  expect(checkedLines(backup).summary).toMatchObject({ ok: false, stepFunctions: 'failure' });
  await sfn.close();
  sfn = await startFakeStepFunctions(TOKEN);
  const cleanup = await lifeboat('cleanup --yes --json', nowhere);
  expect(cleanup.code).toBe(1);
  expect(told()).toEqual([
    {
      action: 'SendTaskFailure',
      error: 'Restore Failure',
      body: {
        dag: 'backup_metadata',
        dag_run: 'manual__1',
        tasks: ['backup => failed'],
        status: 'Fail',
        lifeboat: expect.objectContaining({
          exitCode: 1,
          error: expect.objectContaining({
            kind: 'failed',
            message: expect.stringContaining('127.0.0.1:1/a'),
          }),
        }),
      },
    },
  ]);
  expect(JSON.stringify(sfn.calls)).not.toContain('hidden');
  expectNoToken(cleanup);
});

test('a drill tells that it passed, and a backup that does not pass as its failure', async () => {
  const backup = await lifeboat('backup --json', { LIFEBOAT_TASK_TOKEN: '' });
  expect(backup.code, backup.stderr).toBe(0);
  const passed = await lifeboat('drill latest --json');
  expect(passed.code, passed.stderr).toBe(0);
  expect(sfn.actions()).toEqual(['Heartbeat', 'Success']);
  expect(told()[0]?.body).toMatchObject({ lifeboat: { command: 'drill', result: 'passed' } });
  await sfn.close();
  sfn = await startFakeStepFunctions(TOKEN);
  const { manifest } = checkedLines(backup).summary as unknown as { manifest: Pick<Manifest, 'tables'> };
  const [part] = manifest.tables.find(({ name }) => name === 'dag_run')?.parts ?? [];
  writeFileSync(join(scratch, 'backups', part?.key ?? ''), 'damaged');
  const failed = await lifeboat('drill latest --json');
  expect(failed.code).toBe(12);
  expect(checkedLines(failed).summary).toMatchObject({ stepFunctions: 'failure', result: 'failed' });
  expect(told()).toMatchObject([
    { error: 'Drill Failure', body: { status: 'Fail', lifeboat: { error: { kind: 'integrity' } } } },
  ]);
});

test.each(['TaskTimedOut', 'TaskDoesNotExist', 'InvalidToken'])(
  '%s at the first heartbeat: nothing is begun',
  async (error) => {
    sfn.closeToken(error);
    const result = await lifeboat(BACKUP);
    expect(result.code).toBe(14);
    expect(checkedLines(result).summary).toMatchObject({
      stepFunctions: 'closed',
      error: { kind: 'refused', message: expect.stringContaining(error) },
    });
    expect(existsSync(join(scratch, 'backups'))).toBe(false);
    expect(sfn.actions()).toEqual(['Heartbeat']);
    expectNoToken(result);
  },
);

test('Step Functions that cannot be reached is told before anything is begun', async () => {
  const result = await lifeboat(BACKUP, { AWS_ENDPOINT_URL_SFN: 'http://127.0.0.1:1' });
  expect(result.code).toBe(1);
  expect(checkedLines(result).summary).toMatchObject({ stepFunctions: 'unreachable' });
  expect(result.stderr).toContain('the connection was refused');
  expect(existsSync(join(scratch, 'backups'))).toBe(false);
});

test('nobody waits any more when the work is done: that it is committed is the message', async () => {
  sfn.answer('SendTaskSuccess', { error: 'TaskTimedOut' });
  const result = await lifeboat(BACKUP);
  expect(result.code).toBe(1);
  expect(checkedLines(result).summary).toMatchObject({
    stepFunctions: 'closed',
    error: { message: expect.stringContaining('done and committed'), details: { committed: true } },
  });
  expect(sfn.actions()).toEqual(['Heartbeat', 'Success']);
  expect((await lifeboat('list --json')).stdout).toContain('"tables":3');
});

test('throttling and 5xx are tried again; a report whose answer got lost has arrived', async () => {
  sfn.answer('SendTaskHeartbeat', { error: 'ThrottlingException' });
  sfn.answer('SendTaskSuccess', { error: 'InternalFailure', status: 500 }, { error: 'TaskTimedOut' });
  const result = await lifeboat(BACKUP);
  expect(result.code, result.stderr).toBe(0);
  expect(sfn.actions()).toEqual(['Heartbeat', 'Heartbeat', 'Success', 'Success']);
});

interface Stuck {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<CliResult>;
}

/** A backup that cannot go on, with heartbeats every second: somebody holds a lock on the table that it wants to read. */
async function stuck(env: Readonly<Record<string, string>> = {}): Promise<Stuck> {
  const client = await source.client();
  await client.query('BEGIN; LOCK TABLE dag_run IN ACCESS EXCLUSIVE MODE');
  const child = spawn(process.execPath, [MAIN, ...`${BACKUP} --heartbeat-every 1s`.split(' ')], {
    env: cliEnv(environment(env)),
  });
  const texts = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text));
  const ended = new Promise<CliResult>((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ code, signal, ...texts });
    });
  }).finally(() => client.end());
  const patience = Date.now() + 30_000;
  while (sfn.calls.length < 3) {
    if (Date.now() > patience) throw new Error(`no heartbeats: ${JSON.stringify(sfn.actions())}`);
    await sleep(50);
  }
  return { child, ended };
}

test('beats while the work lasts; when nobody waits any more the work is stopped', async () => {
  const { ended } = await stuck();
  sfn.closeToken('TaskTimedOut');
  const result = await ended;
  expect(result.code, result.stderr).toBe(130);
  expect(checkedLines(result).summary).toMatchObject({
    stepFunctions: 'closed',
    error: { kind: 'interrupted', message: expect.stringContaining('no longer waits') },
  });
  expect(new Set(sfn.actions())).toEqual(new Set(['Heartbeat']));
  expect(
    (await cli(['list', '--json'], { env: { LIFEBOAT_STORAGE: join(scratch, 'backups') } })).stdout,
  ).toContain('"backups":[]');
});

test('SIGTERM is told as a failure before the command ends', async () => {
  const { child, ended } = await stuck();
  child.kill('SIGTERM');
  const result = await ended;
  expect(result.code, result.stderr).toBe(130);
  expect(sfn.actions().at(-1)).toBe('Failure');
  expect(told()[0]?.body).toMatchObject({ lifeboat: { error: { kind: 'interrupted' } } });
});

test('with LIFEBOAT_WATCH_STDIN the command ends when whoever started it does', async () => {
  const { child, ended } = await stuck({ LIFEBOAT_WATCH_STDIN: '1' });
  child.stdin.end();
  const result = await ended;
  expect(result.code, result.stderr).toBe(130);
  expect(sfn.actions().at(-1)).toBe('Failure');
});

test('LIFEBOAT_WATCH_STDIN does not keep a command that is done', async () => {
  const child = spawn(process.execPath, [MAIN, ...BACKUP.split(' ')], {
    env: cliEnv(environment({ LIFEBOAT_WATCH_STDIN: '1' })),
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
  child.stdin.destroy();
});

test('a token on the command line warns, and is in the list of processes for an instant only', async () => {
  const result = await lifeboat(`${BACKUP} --task-token ${TOKEN}`, { LIFEBOAT_TASK_TOKEN: 'other' });
  expect(result.code, result.stderr).toBe(0);
  expect(checkedLines(result).lines).toContainEqual(expect.objectContaining({ code: 'task-token-in-argv' }));
  expectNoToken(result);
  const mistyped = await lifeboat(`backup --no-such-flag --task-token ${TOKEN}`);
  expect(mistyped.code).toBe(2);
  expectNoToken(mistyped);
});

test.runIf(existsSync('/proc/self/cmdline'))('ps shows no token of a command at work', async () => {
  const client = await source.client();
  await client.query('BEGIN; LOCK TABLE dag_run IN ACCESS EXCLUSIVE MODE');
  const child = spawn(process.execPath, [MAIN, ...BACKUP.split(' '), '--task-token', TOKEN], {
    env: cliEnv(environment()),
    stdio: 'ignore',
  });
  while (sfn.calls.length < 1) await sleep(50);
  const shown = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8');
  child.kill('SIGTERM');
  await new Promise((resolve) => child.on('close', resolve));
  await client.end();
  expect(shown).toContain('lifeboat');
  expect(shown).not.toContain(TOKEN.slice(0, 12));
});

test('a token from a file; a file without one is a mistake', async () => {
  const file = join(scratch, 'token');
  writeFileSync(file, `${TOKEN}\n`);
  const result = await lifeboat(`${BACKUP} --task-token-file ${file}`, { LIFEBOAT_TASK_TOKEN: '' });
  expect(result.code, result.stderr).toBe(0);
  expect(sfn.actions()).toEqual(['Heartbeat', 'Success']);
  writeFileSync(file, '\n');
  expect((await lifeboat(`${BACKUP} --task-token-file ${file}`)).code).toBe(2);
  expect((await lifeboat(`${BACKUP} --task-token-file ${file}.no`)).code).toBe(2);
});
