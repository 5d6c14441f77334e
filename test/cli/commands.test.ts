import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase } from '../helpers/databases.ts';
import type { TestDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { cli } from './run-cli.ts';
import type { CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-cli-'));
const storage = join(scratch, 'backups');
let source: TestDatabase;
let backupId: string;

/** As an operator with the environment in a variable; the URL's password stays off the command line. */
function lifeboat(
  words: string,
  database?: TestDatabase,
  env: Record<string, string> = {},
): Promise<CliResult> {
  return cli(words.split(' '), {
    cwd: scratch,
    env: {
      LIFEBOAT_STORAGE: storage,
      LIFEBOAT_FERNET_KEY: FIXTURE_FERNET_KEY,
      ...(database === undefined ? {} : { LIFEBOAT_AIRFLOW: database.url }),
      ...env,
    },
  });
}

async function rows(database: TestDatabase, table: string): Promise<number> {
  const client = await database.client();
  const result = await client.query<{ rows: number }>(`SELECT count(*)::int AS rows FROM ${table}`);
  return result.rows[0]?.rows ?? -1;
}

beforeAll(async () => {
  source = await createDatabase({ from: 'data' });
  const result = await lifeboat('backup --json', source);
  backupId = String(checkedLines(result).summary.backupId);
});

afterAll(async () => {
  await source.drop();
  rmSync(scratch, { recursive: true, force: true });
});

describe('backup', () => {
  test('tells people what it stored, a line a table on stderr', async () => {
    const own = join(scratch, 'people');
    const { code, stdout, stderr } = await lifeboat(`backup --label nightly --storage ${own}`, source);
    expect(code, stderr).toBe(0);
    const [id = ''] = readdirSync(join(own, 'backups'));
    expect(stdout).toMatch(new RegExp(`^Backed up .+ as ${id}: [\\d,]+ rows of \\d+ tables, .+\n`));
    expect(stdout).toContain(`lifeboat verify ${id}`);
    expect(stderr).toMatch(/^Backing up task_instance: [\d,]+ rows, /m);
    expect((await lifeboat(`list --storage ${own}`)).stdout).toMatch(/ nightly$/m);
  });

  test('--dry-run prints the plan and stores nothing', async () => {
    const own = join(scratch, 'dry');
    const { code, stdout } = await lifeboat(`backup --dry-run --tables xcom --storage ${own}`, source);
    expect(code).toBe(0);
    expect(stdout).toContain('Plan: back up');
    expect(stdout).toMatch(/^dag_run .*taken along for /m);
    expect(stdout).toContain('nothing was stored');
    expect(existsSync(own) ? readdirSync(own, { recursive: true }) : []).toEqual([]);
  });

  test('a table that does not exist is a usage error', async () => {
    const { code, stderr } = await lifeboat('backup --tables dagrun', source);
    expect(code, stderr).toBe(2);
    expect(stderr).toContain('dagrun');
  });

  test('a server that cannot be reached is 1, in one sentence with its next step', async () => {
    const { code, stderr } = await cli([
      'backup',
      '--storage',
      storage,
      '--airflow',
      'postgresql://u@127.0.0.1:1/d',
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*127\.0\.0\.1:1[^]*\n {2}next: /);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('--debug shows where it failed', async () => {
    const words = ['backup', '--debug', '--storage', storage, '--airflow', 'postgresql://u@127.0.0.1:1/d'];
    expect((await cli(words)).stderr).toMatch(/\n\s+at /);
  });
});

describe('list and show', () => {
  test('an empty storage', async () => {
    const { code, stdout } = await lifeboat(`list --storage ${join(scratch, 'nothing')}`);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `There is no backup in ${join(scratch, 'nothing')}.\n`,
    });
  });

  test('list', async () => {
    expect((await lifeboat('list')).stdout).toContain(backupId);
    const { lines, summary } = checkedLines(await lifeboat('list --json'));
    expect(lines.slice(0, -1)).toMatchObject([
      { event: 'backup', backupId, airflow: expect.any(String) as string },
    ]);
    expect(summary).toMatchObject({ command: 'list', backups: [{ backupId }], incomplete: [] });
  });

  test('show, by a prefix and as latest', async () => {
    const { code, stdout } = await lifeboat(`show ${backupId.slice(0, 20)}`);
    expect(code).toBe(0);
    expect(stdout).toContain(backupId);
    expect(stdout).toMatch(/^task_instance +[\d,]+ +[\d.]+ [KMG]?B +\d+$/m);
    expect(stdout).toMatch(/^Left out\n {2}dag \(/m);
    const { summary } = checkedLines(await lifeboat('show latest --json'));
    expect(summary).toMatchObject({ backupId, manifest: { backupId, formatVersion: 1 } });
  });

  test('show --runs lists the newest of those that match, and counts all', async () => {
    const all = checkedLines(await lifeboat('show latest --runs --json --limit 100000'));
    const runs = all.lines.slice(0, -1);
    const { total, states } = all.summary as unknown as { total: number; states: Record<string, number> };
    expect(runs).toHaveLength(total);
    expect(all.summary).toMatchObject({ matching: total, listed: total });
    expect(Object.values(states).reduce((sum, one) => sum + one, 0)).toBe(total);
    const dates = runs.map(({ logicalDate }) => Date.parse(String(logicalDate)));
    expect(dates).toEqual(dates.toSorted((a, b) => b - a));
    const failed = checkedLines(
      await lifeboat('show latest --runs --state failed --dags lab_* --limit 1 --json'),
    );
    expect(failed.lines[0]).toMatchObject({
      event: 'run',
      state: 'failed',
      runType: expect.any(String) as string,
    });
    expect(failed.summary).toMatchObject({ total, listed: 1, states: { failed: failed.summary.matching } });
    const { stdout } = await lifeboat('show latest --runs --exclude-dags lab_* --since 1s');
    expect(stdout).toMatch(/^DAG +Run +State +Type|^0 of [\d,]+ runs in /);
  });

  test('what chooses among runs needs --runs', async () => {
    const { code, stderr } = await lifeboat('show latest --state failed');
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('--runs') as string });
  });

  test.each(['show 19990101T000000000Z-000000', 'verify 1999', 'activate 1999', 'restore 1999 --yes'])(
    '%s: no such backup is 10',
    async (words) => {
      const { code, stderr } = await lifeboat(words, source);
      expect(code, stderr).toBe(10);
      expect(stderr).toContain('lifeboat list');
    },
  );
});

describe('verify', () => {
  test('a whole backup, and the rows of its source', async () => {
    const { code, stdout } = await lifeboat(`verify latest --airflow ${source.url}`);
    expect(stdout).toMatch(/^Verified .+\nThe row counts are those of /);
    expect(code).toBe(0);
  });

  test('LIFEBOAT_AIRFLOW alone compares nothing', async () => {
    const { summary } = checkedLines(await lifeboat('verify latest --json', source));
    expect(summary).not.toHaveProperty('differences');
  });

  test('another number of rows is 3, with the tables', async () => {
    const other = await createDatabase({ from: 'data' });
    await (await other.client()).query('DELETE FROM log WHERE id IN (SELECT id FROM log LIMIT 1)');
    const { code, stdout } = await lifeboat(`verify latest --airflow ${other.url}`);
    expect(stdout).toMatch(/Different from .* in 1 table:\n.*\nlog /);
    expect(code).toBe(3);
    const { summary } = checkedLines(await lifeboat(`verify latest --json --airflow ${other.url}`));
    expect(summary).toMatchObject({ ok: false, exitCode: 3, differences: [{ table: 'log' }] });
    expect(summary).not.toHaveProperty('error');
  });

  test('a flipped byte is 12, for verify and for restore, and the target stays', async () => {
    const damaged = join(scratch, 'damaged');
    cpSync(storage, damaged, { recursive: true });
    const folder = join(damaged, 'backups', backupId, 'tables', 'dag_run');
    const part = join(folder, readdirSync(folder)[0] ?? '');
    const bytes = readFileSync(part);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    writeFileSync(part, bytes);
    expect((await lifeboat(`verify latest --storage ${damaged}`)).code).toBe(12);
    const fresh = await createDatabase({ from: 'fresh' });
    const result = await lifeboat(`restore latest --yes --json --storage ${damaged}`, fresh);
    expect(checkedLines(result).summary).toMatchObject({ exitCode: 12, error: { kind: 'integrity' } });
    expect(await rows(fresh, 'dag_run')).toBe(0);
  });
});

describe('diff', () => {
  test('a backup and its source are equal: 0', async () => {
    const { code, stdout, stderr } = await lifeboat('diff latest', source);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^Equal: backup .+ and .+, [\d,]+ rows of \d+ tables, in /);
    expect(stderr).toMatch(/^Comparing task_instance: [\d,]+ rows, /m);
    const { summary } = checkedLines(await lifeboat(`diff latest ${backupId} --json`));
    expect(summary).toMatchObject({ exitCode: 0, different: false, otherBackupId: backupId });
  });

  test('what was lost is 3, told by name and in words', async () => {
    const other = await createDatabase({ from: 'data' });
    const client = await other.client();
    await client.query(
      `DELETE FROM variable WHERE key = (SELECT min(key) FROM variable); INSERT INTO variable (key, val) VALUES ('brand_new', 'hush');
       DELETE FROM dag_run WHERE id = (SELECT min(id) FROM dag_run)`,
    );
    const { code, stdout, stderr } = await lifeboat(`diff latest --airflow ${other.url}`);
    expect(code, stderr).toBe(3);
    expect(stdout).toMatch(/^Different: backup .+ in \d+ tables \(/);
    expect(stdout).toMatch(/^Table +Backup +Other +Missing +Added +Changed$/m);
    expect(stdout).toMatch(/^variable added: brand_new$/m);
    expect(stdout).toMatch(/^Lost: 1 variable\s+\([^)]+\),\s+1 run \(\S+ 1\)/m);
    expect(stdout).not.toContain('hush');
    const json = await lifeboat(`diff latest --json --tables variable --airflow ${other.url}`);
    const { lines, summary } = checkedLines(json);
    expect(summary).toMatchObject({
      ok: false,
      exitCode: 3,
      different: true,
      tables: [{ table: 'variable', missing: 1, added: 1, changed: 0, examples: { added: ['brand_new'] } }],
    });
    expect(summary).not.toHaveProperty('error');
    expect(lines).toContainEqual(
      expect.objectContaining({ event: 'table', phase: 'compare', table: 'variable' }),
    );
  });

  test.each([
    ['diff latest', 2, '--airflow'],
    ['diff latest latest --airflow postgresql://db/airflow', 2, 'both'],
    ['diff latest postgresql://airflow:hush@db/airflow', 2, '--airflow'],
    ['diff latest latest latest', 2, 'latest'],
    ['diff latest latest --tables dagrun', 2, 'dagrun'],
    ['diff 1999 latest', 10, 'lifeboat list'],
    ['diff latest 1999', 10, 'lifeboat list'],
  ])('%s is %i', async (words, expected, says) => {
    const { code, stderr } = await lifeboat(words);
    expect(code, stderr).toBe(expected);
    expect(stderr).toContain(says);
    expect(stderr).not.toContain('hush');
  });

  test('a damaged part is 12, of either side', async () => {
    const damaged = join(scratch, 'damaged-diff');
    cpSync(storage, damaged, { recursive: true });
    const folder = join(damaged, 'backups', backupId, 'tables', 'dag_run');
    const part = join(folder, readdirSync(folder)[0] ?? '');
    const bytes = readFileSync(part);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    writeFileSync(part, bytes);
    expect((await lifeboat(`diff latest --storage ${damaged}`, source)).code).toBe(12);
    const second = await lifeboat(`backup --storage ${damaged}`, source);
    expect(second.code, second.stderr).toBe(0);
    expect((await lifeboat(`diff latest ${backupId} --storage ${damaged}`)).code).toBe(12);
  });
});

describe('restore', () => {
  test('--dry-run prints the target and the plan, and touches nothing', async () => {
    const fresh = await createDatabase({ from: 'fresh' });
    const { code, stdout } = await lifeboat('restore latest --dry-run', fresh);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Target .+, schema public\nAirflow +2\.8.*\nScheduler /);
    expect(stdout).toContain('nothing was changed');
    expect(await rows(fresh, 'dag_run')).toBe(0);
  });

  test('without --yes and a terminal it shows the plan and is refused with 14', async () => {
    const fresh = await createDatabase({ from: 'fresh' });
    const { code, stdout, stderr } = await lifeboat('restore latest', fresh);
    expect(code).toBe(14);
    expect(stdout).toContain('Plan: restore');
    expect(stderr).toMatch(/--dry-run.*--yes/s);
    expect(await rows(fresh, 'dag_run')).toBe(0);
    const { lines, summary } = checkedLines(await lifeboat('restore latest --json', fresh));
    expect(lines.map((line) => line.event)).toContain('plan');
    expect(summary).toMatchObject({ error: { kind: 'refused', details: { code: 'not-confirmed' } } });
  });

  test('into a fresh environment, then history is refused without --clean, then --clean works', async () => {
    const fresh = await createDatabase({ from: 'fresh' });
    const first = await lifeboat('restore latest --yes --pause-state paused', fresh);
    expect(first.code, first.stderr).toBe(0);
    expect(first.stdout).toMatch(/Restored .+ into .+: [\d,]+ rows loaded/);
    expect(first.stdout).toMatch(/^Unfinished runs +/m);
    expect(first.stdout).toMatch(/^Variables +\d+ added, \d+ replaced, \d+ kept/m);
    expect(first.stdout).toContain(`lifeboat activate ${backupId}`);
    expect(await rows(fresh, 'dag_run')).toBe(await rows(source, 'dag_run'));

    const second = await lifeboat('restore latest --yes', fresh);
    expect(second.code).toBe(14);
    expect(second.stderr).toContain('--clean');

    const third = await lifeboat(
      'restore latest --yes --clean --ignore-running --variables REPLACE --connections do_nothing --json',
      fresh,
    );
    const { summary } = checkedLines(third);
    expect(summary).toMatchObject({
      exitCode: 0,
      plan: { variables: 'replace', connections: 'skip' },
      backupId,
    });
    expect(await rows(fresh, 'dag_run')).toBe(await rows(source, 'dag_run'));
  });

  test('a part of a backup: comma lists and repeated flags, the plan, a refusal by name with 14', async () => {
    const fresh = await createDatabase({ from: 'fresh' });
    const part =
      'restore latest --dags lab_e*,lab_catchup --dags lab_cons* --exclude-dags lab_empty --since 520w';
    const dry = await lifeboat(`${part} --dry-run`, fresh);
    expect(dry.code, dry.stderr).toBe(0);
    expect(dry.stdout).toMatch(
      /DAGs +lab_e\*, lab_catchup, lab_cons\* without lab_empty \(4: lab_catchup, lab_consumer, lab_consumer_both, lab_everything\)/,
    );
    expect(dry.stdout).toMatch(/runs +\d+ of \d+; those that started since .+ or had not ended/);
    expect(await rows(fresh, 'dag_run')).toBe(0);

    const { summary } = checkedLines(await lifeboat(`${part} --yes --json`, fresh));
    expect(summary).toMatchObject({ exitCode: 0, plan: { chosen: { dagCount: 4 } } });
    expect(await rows(fresh, 'dag_run')).toBe((summary.plan as { chosen: { runs: number } }).chosen.runs);

    const again = await lifeboat('restore latest --dags lab_catchup --yes', fresh);
    expect(again.code).toBe(14);
    expect(again.stderr).toMatch(/same run_id or\s+logical date as the backup: lab_catchup\//);
    const typo = await lifeboat('restore latest --dags typo --yes', fresh);
    expect(typo.code).toBe(2);
    expect(typo.stderr).toContain('--dags typo chooses no DAG');
  });

  test('an older minor is 13, told before 14', async () => {
    const other = await createDatabase({ from: 'data', version: '2.7.2' });
    const { code, stderr } = await lifeboat('restore latest', other);
    expect(code, stderr).toBe(13);
  });

  test('an unknown Alembic head is 13 for every command that reads a database', async () => {
    const other = await createDatabase({ from: 'fresh' });
    await (await other.client()).query("UPDATE alembic_version SET version_num = 'feedfacecafe'");
    for (const words of ['backup', 'restore latest', 'cleanup', 'activate latest']) {
      const { code, stderr } = await lifeboat(words, other);
      expect(code, `${words}: ${stderr}`).toBe(13);
    }
  });

  test('another holder of the lock is 11', async () => {
    const busy = await createDatabase({ from: 'fresh' });
    const client = await busy.client();
    await client.query('BEGIN; SELECT pg_advisory_xact_lock(1818846821, 0)');
    for (const words of ['restore latest --yes', 'cleanup --yes']) {
      const { code, stderr } = await lifeboat(words, busy);
      expect(code, `${words}: ${stderr}`).toBe(11);
    }
  });
});

describe('which environment is written', () => {
  const airflows = (database: TestDatabase): Record<string, string> => ({
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: database.url.replace('postgresql:', 'postgresql+psycopg2:'),
  });

  test.each(['restore latest --yes', 'cleanup --yes'])(
    '%s: Airflow’s variables alone are refused',
    async (words) => {
      const { code, stderr } = await lifeboat(words, undefined, airflows(source));
      expect(code).toBe(14);
      expect(stderr).toContain('--airflow');
    },
  );

  test('inside an Airflow task they do', async () => {
    const fresh = await createDatabase({ from: 'fresh' });
    const task = { ...airflows(fresh), AIRFLOW_CTX_DAG_ID: 'dr', AIRFLOW_CTX_TASK_ID: 'restore' };
    const { code, stderr } = await lifeboat('cleanup --yes', undefined, task);
    expect(code, stderr).toBe(0);
  });
});

describe('activate', () => {
  test('in waves, and --dry-run changes nothing', async () => {
    const target = await createDatabase({ from: 'fresh' });
    await lifeboat('restore latest --yes --pause-state paused', target);
    const unpaused = 'dag WHERE NOT is_paused';
    expect(await rows(target, unpaused)).toBe(0);
    const rehearsal = await lifeboat('activate latest --dry-run', target);
    expect(rehearsal.stdout).toMatch(/^Would unpause \(\d+\): /m);
    expect(await rows(target, unpaused)).toBe(0);
    expect((await lifeboat('activate latest --dags no-such-*', target)).stdout).toContain('Unpaused: none');
    const result = await lifeboat('activate latest --yes --json', target);
    expect(checkedLines(result).summary).toMatchObject({ exitCode: 0, backupId, dryRun: false });
    expect(await rows(target, unpaused)).toBe(await rows(source, unpaused));
  });
});

describe('cleanup', () => {
  test('plan, refusal, deletion', async () => {
    const target = await createDatabase({ from: 'data' });
    const before = await rows(target, 'dag_run');
    expect(before).toBeGreaterThan(0);
    const rehearsal = await lifeboat('cleanup --ignore-running --dry-run', target);
    expect(rehearsal.code).toBe(0);
    expect(rehearsal.stdout).toMatch(/^Target .+\nAirflow .+\nScheduler /);
    const refused = await lifeboat('cleanup --ignore-running', target);
    expect(refused.code).toBe(14);
    expect(await rows(target, 'dag_run')).toBe(before);
    const variables = await rows(target, 'variable');
    const { summary } = checkedLines(await lifeboat('cleanup --ignore-running --yes --json', target));
    expect(summary).toMatchObject({ exitCode: 0, deleted: { dag_run: before } });
    expect(await rows(target, 'dag_run')).toBe(0);
    expect(await rows(target, 'variable')).toBe(variables);
  });
});

describe('prune', () => {
  test('keeps by rule, refuses without an answer, never below the floor', async () => {
    const own = join(scratch, 'prune');
    for (let made = 0; made < 3; made += 1) {
      await lifeboat(`backup --tables variable --storage ${own}`, source);
    }
    const ids = readdirSync(join(own, 'backups')).sort();
    const rehearsal = await lifeboat(`prune --keep-last 1 --dry-run --storage ${own}`);
    expect(rehearsal.code).toBe(0);
    expect(rehearsal.stdout).toMatch(/^Plan: prune 2 backups/);
    expect((await lifeboat(`prune --keep-last 1 --storage ${own}`)).code).toBe(14);
    expect(readdirSync(join(own, 'backups'))).toHaveLength(3);
    const { summary } = checkedLines(
      await lifeboat(`prune --keep-last 1 --min-backups 2 --yes --json --storage ${own}`),
    );
    expect(summary).toMatchObject({ exitCode: 0, removed: { backups: 1 } });
    expect(readdirSync(join(own, 'backups')).sort()).toEqual(ids.slice(1));
  });

  test('without a rule every backup stays', async () => {
    const { code, stdout } = await lifeboat('prune --yes');
    expect(code).toBe(0);
    expect(stdout).toContain('Removed 0 backups');
  });
});

describe('doctor', () => {
  test('a healthy environment and storage', async () => {
    const result = await lifeboat('doctor --json', source);
    const { summary } = checkedLines(result);
    expect(summary, result.stderr).toMatchObject({ exitCode: 0 });
    expect((await lifeboat('doctor', source)).stdout).toMatch(/^ok +connection /m);
  });

  test('a failed check is 1, with what to fix, and the checks are in the summary', async () => {
    const nowhere = { LIFEBOAT_AIRFLOW: 'postgresql://u@127.0.0.1:1/d' };
    const { code, stdout, stderr } = await lifeboat('doctor', undefined, nowhere);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^failed +connection [^]*?\n +→ /m);
    expect(stderr).toMatch(/^error: 1 check of \d+ failed/m);
    const { summary } = checkedLines(await lifeboat('doctor --json', undefined, nowhere));
    expect(summary).toMatchObject({ error: { kind: 'failed' }, checks: expect.any(Array) as unknown[] });
  });
});

describe('demo', () => {
  test('tells its story to people, and its result to programs', async () => {
    const { code, stdout, stderr } = await lifeboat('demo');
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^\$ lifeboat backup [^]*^\$ lifeboat restore [^]*^Compared row for row/m);
    const { lines, summary } = checkedLines(await lifeboat('demo --json'));
    expect(lines).toHaveLength(1);
    expect(summary).toMatchObject({ command: 'demo', backupId: expect.any(String) as string });
  });
});
