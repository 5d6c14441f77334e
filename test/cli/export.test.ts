import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';
import { cli, type CliResult } from './run-cli.ts';
import { checkedLines } from './schema.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-cli-export-'));
let source: TestDatabase;

function lifeboat(words: string, env: Record<string, string> = {}): Promise<CliResult> {
  return cli(words.split(' '), {
    cwd: scratch,
    env: { LIFEBOAT_STORAGE: join(scratch, 'backups'), ...env },
  });
}

beforeAll(async () => {
  source = await createDatabase();
  const made = await lifeboat('backup', { LIFEBOAT_AIRFLOW: source.url });
  expect(made.code, made.stderr).toBe(0);
});

afterAll(async () => {
  await source.drop();
  rmSync(scratch, { recursive: true, force: true });
});

test('without secrets: pools and open connections, and what is left out', async () => {
  // A key that is none matters only to those who want secrets.
  const { code, stdout, stderr } = await lifeboat('export latest --to plain', {
    LIFEBOAT_FERNET_KEY: 'none',
  });
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^Exported \S+ into plain in .+: 2 files\./);
  expect(stdout).toMatch(/^ {2}\d+ rows of variable: it holds secrets/m);
  expect(stdout).toMatch(/^ {2}airflow pools import pools\.json$/m);
  expect(stderr).toContain('--with-secrets');
  expect(readdirSync(join(scratch, 'plain')).sort()).toEqual(['connections.json', 'pools.json']);
});

test.each(['LIFEBOAT_FERNET_KEY', 'LIFEBOAT_SOURCE_FERNET_KEY'])(
  'with secrets by %s: 3, because one is of another key, and none is printed',
  async (variable) => {
    const to = `clear-${variable}`;
    const result = await lifeboat(`export latest --to ${to} --with-secrets --format yaml --json`, {
      [variable]: FIXTURE_FERNET_KEY,
    });
    expect(result.code, result.stderr).toBe(3);
    const { summary } = checkedLines(result);
    expect(summary).toMatchObject({
      command: 'export',
      format: 'yaml',
      files: [{ file: 'variables.yaml' }, { file: 'connections.yaml' }, { file: 'pools.yaml' }],
      unreadableSecrets: ['variable lab_other_fernet_key'],
    });
    expect(readFileSync(join(scratch, to, 'variables.yaml'), 'utf8')).toContain('BEGIN PRIVATE KEY');
    expect(result.stdout + result.stderr).not.toContain('BEGIN PRIVATE KEY');
  },
);

test('no key that reads anything is 14, and leaves no directory', async () => {
  const { code, stderr } = await lifeboat('export latest --to never --with-secrets');
  expect(code, stderr).toBe(14);
  expect(stderr).toContain('LIFEBOAT_SOURCE_FERNET_KEY');
  expect(existsSync(join(scratch, 'never'))).toBe(false);
});

test('usage: no --to, an unknown format, files that exist', async () => {
  const again = 'export latest --to twice --format csv --tables slot_pool';
  expect((await lifeboat(again)).code).toBe(0);
  for (const words of ['export latest', 'export latest --to x --format xml', again]) {
    const { code, stderr } = await lifeboat(words);
    expect(code, stderr).toBe(2);
  }
  expect(readFileSync(join(scratch, 'twice/slot_pool.csv'), 'utf8')).toMatch(
    /^id,pool,slots,description,include_deferred\n1,default_pool,/,
  );
  expect((await lifeboat('export 1999 --to x')).code).toBe(10);
});
