import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase } from '../helpers/databases.ts';
import type { TestDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { cli } from './run-cli.ts';
import type { CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const storage = mkdtempSync(join(tmpdir(), 'lifeboat-drill-'));
let source: TestDatabase;
let backupId: string;

function lifeboat(words: string): Promise<CliResult> {
  return cli(words.split(' '), {
    env: {
      LIFEBOAT_STORAGE: storage,
      LIFEBOAT_FERNET_KEY: FIXTURE_FERNET_KEY,
      LIFEBOAT_AIRFLOW: source.url,
    },
  });
}

beforeAll(async () => {
  source = await createDatabase();
  const made = await lifeboat('backup --max-rate 800MB/s');
  expect(made.stdout).toMatch(/, at most 800\.0 MB a second\./);
  backupId = readdirSync(join(storage, 'backups'))[0] ?? '';
});
afterAll(async () => {
  await source.drop();
  rmSync(storage, { recursive: true, force: true });
});

test('tells people that it passed, what was counted and how long it took, and asks nothing', async () => {
  expect((await lifeboat('status')).stdout).toContain('No drill yet');
  const { code, stdout, stderr } = await lifeboat('drill latest');
  expect(code, stderr).toBe(0);
  const [id = ''] = readdirSync(join(storage, 'drills'));
  expect(stdout).toMatch(
    new RegExp(`^PASSED ${backupId} in .+ s: [\\d,]+ rows of \\d+ tables would be restored`),
  );
  expect(stdout).toMatch(/^task_instance +[\d,]+ +\d+$/m);
  expect(stdout).toMatch(
    /^Time +\d+\.\d s {2}looking at both ends\n +\d+\.\d s {2}loading, indexes and keys$/m,
  );
  expect(stdout).toMatch(/^In flight \(resume\) .*runs to go on with/m);
  expect(stdout).toMatch(/^References +\d+ foreign keys to live tables asked for$/m);
  expect(stdout).toContain(`drills/${id}`);
  expect(stdout).toContain('would not read: variable lab_other_fernet_key.');
  expect(stderr).not.toContain('running or queued');
  const status = await lifeboat('status');
  expect(status.stdout).toMatch(new RegExp(`^Last drill: PASSED 20.+ UTC, ${backupId} in .+ s$`, 'm'));
  expect((await lifeboat('backup --dry-run --max-rate 5MB/s')).stdout).toContain(', at most 5.0 MB a second');
});

test('--json has it all in the summary', async () => {
  const { lines, summary } = checkedLines(await lifeboat('drill latest --json'));
  expect(lines.some(({ event }) => event === 'plan')).toBe(false);
  expect(summary).toMatchObject({ command: 'drill', ok: true, backupId, result: 'passed', recorded: true });
  const stored: unknown = JSON.parse(
    readFileSync(join(storage, 'drills', `${String(summary.drillId)}.json`), 'utf8'),
  );
  expect(summary).toMatchObject({ tables: (stored as { tables: unknown }).tables as unknown[] });
  const { summary: status } = checkedLines(await lifeboat('status --json'));
  expect(status.lastDrill).toMatchObject({
    drillId: summary.drillId,
    backupId,
    result: 'passed',
    problem: null,
  });
});

test('a damaged part: FAILED, the code of the restore, and status says so', async () => {
  const folder = join(storage, 'backups', backupId, 'tables', 'xcom');
  const part = join(folder, readdirSync(folder)[0] ?? '');
  const bytes = readFileSync(part);
  const damaged = Buffer.from(bytes);
  damaged[damaged.length >> 1]! ^= 1;
  writeFileSync(part, damaged);
  try {
    const { code, stdout, stderr } = await lifeboat('drill latest');
    expect(code).toBe(12);
    expect(stdout).toMatch(new RegExp(`^FAILED ${backupId} in .+; its tables are as they were\\.`));
    expect(stderr).toMatch(/^error: .*xcom[^]*\n {2}next: /m);
    const { summary } = checkedLines(await lifeboat('drill latest --json'));
    expect(summary).toMatchObject({
      exitCode: 12,
      result: 'failed',
      failure: { kind: 'integrity', phase: 'load' },
      error: { kind: 'integrity', details: { phase: 'load' } },
    });
    const status = (await lifeboat('status')).stdout;
    expect(status).toMatch(/^Last drill: FAILED 20.+: .*xcom/m);
    expect(status).toContain('! No backup is proven');
  } finally {
    writeFileSync(part, bytes);
  }
});
