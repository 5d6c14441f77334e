import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { fixtureFile } from '../helpers/mwaa-dr.ts';
import { cli, type CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-cli-import-'));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

const FILES = ['active_dag', 'variable', 'connection', 'slot_pool', 'log', 'job', 'dag_run', 'trigger'];
mkdirSync(join(scratch, 'theirs'));
for (const name of [...FILES, 'task_instance', 'task_fail', 'xcom']) {
  writeFileSync(join(scratch, 'theirs', `${name}.csv`), fixtureFile('inflight', `${name}.csv`));
}

function lifeboat(words: string, env: Record<string, string> = {}): Promise<CliResult> {
  return cli(words.split(' '), {
    cwd: scratch,
    env: { LIFEBOAT_STORAGE: join(scratch, 'backups'), LIFEBOAT_FERNET_KEY: FIXTURE_FERNET_KEY, ...env },
  });
}

test('an import is a backup that verifies, and says what is lost', async () => {
  const done = await lifeboat('import ./theirs --from mwaa-dr --airflow-version 2.8 --label old');
  expect(done).toMatchObject({ code: 0 });
  expect(done.stdout).toMatch(/^Imported mwaa_dr in .*theirs as \d{8}T\d{9}Z-[0-9a-f]{6}: /);
  expect(done.stdout).toContain('Lost: the files do not hold it');
  expect(done.stdout).toMatch(/task_fail, 1 row, such as retry/);
  expect((await lifeboat('verify latest')).code).toBe(0);
  const shown = (await lifeboat('show latest')).stdout;
  expect(shown).toMatch(/Label +old/);
  // Neither the clear secrets of their files nor anything else of the rows.
  for (const text of [done.stdout, done.stderr, shown]) expect(text).not.toContain('fake-p@ss');
});

test('--json: lines of the schema, and the notes in the summary', async () => {
  const done = await lifeboat('import ./theirs --from mwaa-dr --airflow-version 2.8 --json');
  const { summary } = checkedLines(done);
  expect(summary).toMatchObject({ command: 'import', ok: true, exitCode: 0 });
  expect(summary.notes).toContainEqual(
    expect.objectContaining({ kind: 'lost', table: 'task_fail', rows: 1 }),
  );
  expect(done.stdout).not.toContain('fake-p@ss');
});

test.each([
  ['import', {}, 2, /import needs a DIR/],
  ['import ./theirs', {}, 2, /--from/],
  ['import ./theirs --from starship', {}, 2, /--from takes mwaa-dr, glue/],
  ['import ./theirs --from mwaa-dr', {}, 2, /--airflow-version 2\.8/],
  ['import ./theirs --from mwaa-dr --airflow-version 2.10', {}, 2, /has 18 fields|fields a record/],
  ['import ./theirs --from mwaa-dr --airflow-version 3.0', {}, 13, /Airflow 3\.0/],
  ['import ./nothing --from mwaa-dr --airflow-version 2.8', {}, 10, /no backup of mwaa_dr/],
  ['import ./theirs --from glue', {}, 10, /no export of the Glue job/],
  [
    'import ./theirs --from mwaa-dr --airflow-version 2.8',
    { LIFEBOAT_FERNET_KEY: '' },
    14,
    /LIFEBOAT_FERNET_KEY/,
  ],
] as const)('%s %o ends with %i', async (words, env, code, says) => {
  const storage = join(scratch, 'refused');
  const done = await lifeboat(words, { ...env, LIFEBOAT_STORAGE: storage });
  expect(done).toMatchObject({ code, stdout: '' });
  expect(done.stderr).toMatch(says);
  expect(readdirSync(scratch)).not.toContain('refused');
});
