import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase } from '../helpers/databases.ts';
import { cli, jsonLines } from './run-cli.ts';

const scratch = mkdtempSync(join(tmpdir(), 'lifeboat-status-'));
const storage = join(scratch, 'backups');
let backupId: string;

const status = (words = '', at = storage): ReturnType<typeof cli> =>
  cli(['status', ...words.split(' ').filter((word) => word !== '')], { env: { LIFEBOAT_STORAGE: at } });

beforeAll(async () => {
  const source = await createDatabase({ from: 'fresh' });
  const made = await cli(['backup', '--json'], {
    env: { LIFEBOAT_STORAGE: storage, LIFEBOAT_AIRFLOW: source.url },
  });
  backupId = String(jsonLines(made.stdout).summary.backupId);
  await source.drop();
});

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

test('a fresh backup is young enough, and says its age', async () => {
  const { code, stdout } = await status('--max-age 1h --json');
  expect(code).toBe(0);
  const { summary } = jsonLines(stdout);
  expect(summary).toMatchObject({ ok: true, backupId, overdue: false, maxAgeSeconds: 3600, backups: 1 });
  expect(summary.ageSeconds).toBeLessThan(600);
  expect((await status()).stdout).toContain(backupId);
});

test('past --max-age it ends with 3', async () => {
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const { code, stdout } = await status('--max-age 1s --json');
  expect(code).toBe(3);
  expect(jsonLines(stdout).summary).toMatchObject({ ok: false, exitCode: 3, overdue: true });
});

test('a newer backup whose manifest is damaged does not count, and is named', async () => {
  const damaged = join(scratch, 'damaged');
  cpSync(storage, damaged, { recursive: true });
  const newer = '29991231T235959999Z-abcdef';
  cpSync(join(damaged, 'backups', backupId), join(damaged, 'backups', newer), { recursive: true });
  const { stdout } = await status('--json', damaged);
  expect(jsonLines(stdout).summary).toMatchObject({ backupId, unreadable: [newer], backups: 2 });
  writeFileSync(join(damaged, 'backups', backupId, 'manifest.json'), '{');
  expect((await status('', damaged)).code).toBe(12);
});

test('without a backup it ends with 10, and a wrong age with 2', async () => {
  expect((await status('--max-age 1d', join(scratch, 'empty'))).code).toBe(10);
  expect((await status('--max-age soon')).code).toBe(2);
});
