import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase } from '../helpers/databases.ts';
import type { TestDatabase } from '../helpers/databases.ts';
import { cli, cliEnv, jsonLines, MAIN } from './run-cli.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-process-'));
const storage = join(scratch, 'backups');
let source: TestDatabase;

beforeAll(async () => {
  source = await createDatabase({ from: 'data' });
  await cli(['backup', '--tables', 'dag_run'], {
    env: { LIFEBOAT_STORAGE: storage, LIFEBOAT_AIRFLOW: source.url },
  });
});

afterAll(async () => {
  await source.drop();
  rmSync(scratch, { recursive: true, force: true });
});

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  stdout(): string;
  stderr(): string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

function start(words: readonly string[], env: Readonly<Record<string, string>>): Running {
  const child = spawn(process.execPath, [MAIN, ...words], { env: cliEnv(env) });
  const texts = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text));
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ code, signal });
    });
  });
  return { child, stdout: () => texts.stdout, stderr: () => texts.stderr, ended };
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const patience = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > patience) throw new Error(`waited in vain until ${what}`);
    await sleep(50);
  }
}

/** A backup that cannot go on: somebody holds a lock on the table that it wants to read. */
async function stuckBackup(words: readonly string[] = []): Promise<Running> {
  const client = await source.client();
  await client.query('BEGIN; LOCK TABLE task_instance IN ACCESS EXCLUSIVE MODE');
  const own = mkdtempSync(join(scratch, 'stuck-'));
  const running = start(['backup', ...words], { LIFEBOAT_STORAGE: own, LIFEBOAT_AIRFLOW: source.url });
  await until('the backup waits for the lock', async () => {
    const { rows } = await client.query<{ waiting: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database =
         (SELECT oid FROM pg_database WHERE datname = current_database())) AS waiting`,
    );
    return rows[0]?.waiting === true;
  });
  void running.ended.then(() => client.query('ROLLBACK')).catch(() => undefined);
  return running;
}

function manifests(): readonly string[] {
  return readdirSync(scratch, { recursive: true })
    .map(String)
    .filter((name) => name.startsWith('stuck-') && name.endsWith('manifest.json'));
}

describe('signals', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('%s rolls back and ends with 130', async (signal) => {
    const running = await stuckBackup();
    running.child.kill(signal);
    expect(await running.ended).toEqual({ code: 130, signal: null });
    expect(running.stderr()).toMatch(/Stopping and rolling back/);
    expect(running.stderr()).toMatch(new RegExp(`error: .*${signal}`));
    expect(running.stderr()).not.toMatch(/\n\s+at /);
    expect(manifests()).toEqual([]);
  });

  test('with --json the summary says interrupted', async () => {
    const running = await stuckBackup(['--json']);
    running.child.kill('SIGINT');
    await running.ended;
    expect(jsonLines(running.stdout()).summary).toMatchObject({
      exitCode: 130,
      error: { kind: 'interrupted' },
    });
  });

  test('two at once end it at once', async () => {
    const running = await stuckBackup();
    running.child.kill('SIGINT');
    running.child.kill('SIGTERM');
    expect(await running.ended).toEqual({ code: 130, signal: null });
  });
});

describe('a reader that goes away', () => {
  test('does not crash it', async () => {
    const running = start(['list', '--json', '--storage', storage], {});
    running.child.stdout.destroy();
    expect(await running.ended).toEqual({ code: 0, signal: null });
    expect(running.stderr()).toBe('');
  });

  test('does not stop a backup', async () => {
    const own = join(scratch, 'unread');
    const running = start(['backup', '--json', '--tables', 'variable'], {
      LIFEBOAT_STORAGE: own,
      LIFEBOAT_AIRFLOW: source.url,
    });
    running.child.stdout.destroy();
    running.child.stderr.destroy();
    expect(await running.ended).toEqual({ code: 0, signal: null });
    expect(
      readdirSync(own, { recursive: true })
        .map(String)
        .some((name) => name.endsWith('manifest.json')),
    ).toBe(true);
  });
});

describe('passwords', () => {
  const url = (): string => source.url.replace(/\/\/([^:@]+)(:[^@]*)?@/, '//$1:h0rse-battery@');

  test.runIf(existsSync('/proc/self/cmdline'))(
    'typed on the command line: warned of, and gone from ps',
    async () => {
      const silent = start(
        ['backup', '--airflow', 'postgresql://u:h0rse-battery@10.255.255.1/d', '--storage', storage],
        {},
      );
      try {
        await until('the warning is there', () => silent.stderr().includes('warning:'));
        expect(silent.stderr()).toMatch(/A password stands on the command line/);
        const shown = execFileSync('ps', ['-o', 'args=', '-p', String(silent.child.pid)], {
          encoding: 'utf8',
        });
        expect(shown).not.toContain('h0rse');
        expect(readFileSync(`/proc/${String(silent.child.pid)}/cmdline`, 'utf8')).not.toContain('h0rse');
      } finally {
        silent.child.kill('SIGKILL');
        await silent.ended;
      }
    },
  );

  test('a refused sign-in does not tell the password', async () => {
    const role = `cli_refused_${String(process.pid)}`;
    const wrong = url().replace(/\/\/[^:]+:/, `//${role}:`);
    const { code, stdout, stderr } = await cli(['backup', '--json', '--debug', '--storage', storage], {
      env: { LIFEBOAT_AIRFLOW: wrong },
    });
    expect(code).not.toBe(0);
    expect(stdout + stderr).not.toContain('h0rse');
  });
});

function hasScript(): boolean {
  try {
    return execFileSync('script', ['--version'], { encoding: 'utf8' }).includes('util-linux');
  } catch {
    return false;
  }
}

/** Types the answer into a real terminal (util-linux `script` makes one). */
async function onTerminal(
  words: readonly string[],
  env: Record<string, string>,
  typed: string,
): Promise<string> {
  const command = [process.execPath, MAIN, ...words].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    env: cliEnv({ SHELL: '/bin/sh', TERM: 'xterm', ...env }),
  });
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const asked = shown.includes('to go on');
    shown += text;
    if (!asked && shown.includes('to go on')) child.stdin.write(typed);
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return `${shown}\n[exit ${String(code)}]`;
}

describe.runIf(hasScript())('on a terminal', () => {
  test('the name of the database is asked for, and nothing else will do', async () => {
    const target = await createDatabase({ from: 'data' });
    const env = { LIFEBOAT_AIRFLOW: target.url };
    const no = await onTerminal(['cleanup', '--ignore-running'], env, 'yes\n');
    expect(no).toMatch(new RegExp(`Type the name of the database, ${target.name}, to go on`));
    expect(no).toContain('[exit 14]');
    const client = await target.client();
    const left = async (): Promise<unknown> =>
      (await client.query('SELECT count(*)::int AS n FROM dag_run')).rows[0];
    expect(await left()).not.toEqual({ n: 0 });
    const yes = await onTerminal(['cleanup', '--ignore-running'], env, `${target.name}\n`);
    expect(yes).toContain('[exit 0]');
    expect(await left()).toEqual({ n: 0 });
  });

  test('Ctrl-C at the question is 130', async () => {
    const target = await createDatabase({ from: 'data' });
    expect(
      await onTerminal(['cleanup', '--ignore-running'], { LIFEBOAT_AIRFLOW: target.url }, '\u0003'),
    ).toContain('[exit 130]');
  });
});
