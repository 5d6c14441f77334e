import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { cli, jsonLines } from './run-cli.ts';

const storage = mkdtempSync(join(tmpdir(), 'lifeboat-usage-'));
afterAll(() => {
  rmSync(storage, { recursive: true, force: true });
});

/** What was typed, and what the one error line has to say. Nothing of it may contact or change anything. */
const MISTAKES: readonly (readonly [line: string, says: RegExp])[] = [
  ['frobnicate', /no command frobnicate/],
  ['lst', /no command lst[^]*Did you mean lifeboat list/],
  ['export latest', /export needs a directory/],
  ['drill', /drill needs a BACKUP/],
  ['drill latest --dry-run', /no flag --dry-run/],
  ['drill latest --storage STORAGE', /No Airflow environment is named/],
  ['restore', /restore needs a BACKUP/],
  ['restore latest extra', /does not take the word extra/],
  ['list extra', /list does not take the word extra/],
  ['restore latest --claen', /no flag --claen[^]*--clean/],
  ['restore --claen latest', /no flag --claen/],
  ['restore latest --in-flight keep', /--in-flight .*resume, fail.* exclude/],
  ['restore latest --no-clean', /no flag --no-clean/],
  ['restore latest --dryRun', /no flag --dryRun/],
  ['restore latest -y', /no flag -y/],
  ['restore latest --variables', /--variables needs a value/],
  ['restore latest --variables overwrite', /--variables takes skip, append, replace, not overwrite/],
  ['restore latest --pause-state off', /--pause-state takes backup, paused, unchanged/],
  ['restore latest --variables skip --variables replace', /--variables is given more than once/],
  ['restore latest --dry-run=no', /--dry-run takes no value/],
  ['restore latest --dry-run --dry-run=false', /--dry-run is given twice/],
  ['restore latest --tables dag,,log', /--tables holds an empty name/],
  ['restore latest --tables=', /--tables needs a value/],
  ['restore latest --dags a,,b', /--dags holds an empty name/],
  ['restore latest --exclude-dags=', /--exclude-dags needs a value/],
  ['restore latest --since 1d --since 2d', /--since is given more than once/],
  ['restore latest --storage STORAGE --airflow postgresql://u@h/d --since soon', /--since is not a duration/],
  ['list --storage=', /--storage is empty/],
  ['list --storage ./a --storage ./b', /--storage is given more than once/],
  ['list --s3-sse none', /--s3-sse takes AES256, aws:kms/],
  ['list', /No storage is named/],
  ['list --storage ftp://x/y', /storage scheme ftp/],
  ['backup --storage STORAGE', /No Airflow environment is named/],
  ['backup --storage STORAGE --airflow mysql://u@h/d', /mysql/],
  ['backup --storage STORAGE --airflow postgresql://u@h/d --jobs two', /--jobs needs a whole number/],
  ['backup --storage STORAGE --airflow postgresql://u@h/d --jobs 0', /--jobs needs a whole number/],
  ['backup --storage STORAGE --airflow postgresql://u@h/d --jobs 1.5', /--jobs needs a whole number/],
  ['backup --storage STORAGE --airflow postgresql://u@h/d --jobs=', /--jobs needs a whole number/],
  ['backup --storage STORAGE --airflow postgresql://u@h/d --compression lzma', /--compression/],
  ['backup --storage STORAGE --airflow postgresql://u@h/d --compression gzip:99', /--compression/],
  [
    'backup --storage STORAGE --airflow postgresql://u@h/d --max-rate 50',
    /--max-rate is not a rate[^]*50MB\/s/,
  ],
  ['backup --storage STORAGE --airflow postgresql://u@h/d --max-rate 50Mb/s', /--max-rate is not a rate/],
  ['prune --storage STORAGE --keep-last -1', /--keep-last needs a whole number|--keep-last needs a value/],
  ['prune --storage STORAGE --keep-last 1 --min-backups 0', /--min-backups needs a whole number/],
  ['prune --storage STORAGE --keep-within soon', /--keep-within is not a duration/],
  ['doctor', /nothing to check/],
  ['rest', /rest needs a METHOD and a PATH/],
  ['rest GET /x', /No Airflow environment is named/],
  [
    'drill latest --storage STORAGE --airflow https://h',
    /names Airflow's REST API[^]*metadata database alone/,
  ],
];

describe.each(MISTAKES)('lifeboat %s', (line, says) => {
  const words = line.split(' ').map((word) => (word === 'STORAGE' ? storage : word));

  test('is one error on stderr, with 2', async () => {
    const { code, stdout, stderr } = await cli(words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(says);
    expect(stderr).toMatch(/^error: /);
    expect(stderr.match(/error:/g)).toHaveLength(1);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(readdirSync(storage)).toEqual([]);
  });
});

test.each([
  [['restore', '--json'], 'restore'],
  [['--json', 'lst'], null],
  [['--json'], null],
  [['restore', 'latest', '--variables', '--json'], 'restore'],
  [['list', '--json', '--storage', ''], 'list'],
])('--json: %j ends with a summary all the same', async (words, command) => {
  const { code, stdout, stderr } = await cli(words);
  const { lines, summary } = jsonLines(stdout);
  expect(code).toBe(2);
  expect(lines).toHaveLength(1);
  expect(summary).toMatchObject({ command, ok: false, exitCode: 2, error: { kind: 'usage' } });
  expect(stderr).toMatch(/^error: /);
});

test('a password in a mistaken command line is not repeated', async () => {
  for (const words of [
    ['postgresql://airflow:hush@db/airflow'],
    ['backup', 'postgresql://airflow:hush@db/airflow'],
    ['backup', '--airflow', 'postgresql://airflow:hush@db:port/airflow', '--storage', storage],
    ['drill', 'latest', '--airflow', 'https://airflow:hush@h', '--storage', storage],
    ['backup', '--airflow=mysql://airflow:hush@db/airflow', '--storage', storage],
  ]) {
    const { code, stdout, stderr } = await cli(words);
    expect(code).toBe(2);
    expect(stdout + stderr).not.toContain('hush');
  }
});
