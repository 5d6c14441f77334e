import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verify } from '../../src/engine/verify.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { jsonLines, type CliResult } from '../cli/run-cli.ts';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { context, filesIn, growLog, startCli, useFolder } from './world.ts';

const run = promisify(execFile);
const DISK_KB = 1024;

const folder = useFolder();
let source: TestDatabase;

beforeAll(async () => {
  source = await createDatabase();
  await growLog(await source.client(), 20_000);
});
afterAll(() => source.drop());

describe('a disk that gets full', () => {
  test('fails the backup in words, leaves nothing, and works again with space', async ({ skip }) => {
    const disk = folder.path('disk');
    await mkdir(disk);
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_KB}k`, 'tmpfs', disk]);
    } catch {
      return skip('mounting a small file system needs root');
    }
    try {
      const before = await smallBackup(disk);

      const full = await backupTo(disk, []);
      expectFailure(full, /^Cannot write backups\/.* in .*: the disk is full\.$/, /Free space/);
      expect(await filesIn(disk)).toEqual(before);

      // To the last byte: not even the smallest backup fits.
      await writeFile(join(disk, 'filler'), Buffer.alloc(DISK_KB * 1024)).catch(() => undefined);
      expectFailure(await backupTo(disk, ['--tables', 'variable']), /the disk is full\.$/, /Free space/);
      expect(await filesIn(disk)).toMatchObject(before);

      await rm(join(disk, 'filler'));
      expect((await backupTo(disk, ['--tables', 'variable,slot_pool'])).code).toBe(0);
      expect(await filesIn(disk)).toMatchObject(before);
      await verify(context(createLocalStorage(disk)), { backup: 'latest' });
    } finally {
      await run('umount', [disk]);
    }
  });

  test('or a limit of the process on the size of a file: the same', async () => {
    const disk = folder.path('limited');
    const before = await smallBackup(disk);
    // 512-byte blocks in POSIX; some shells count kilobytes. Less than the log takes in either case.
    const limited = await backupTo(disk, [], '-f 200');
    expectFailure(limited, /^Cannot write backups\/.*: the file is larger than .* allows\.$/, /ulimit -f/);
    expect(await filesIn(disk)).toEqual(before);
    const next = await backupTo(disk, []);
    expect(next.code).toBe(0);
    expect(jsonLines(next.stdout).summary.debris).toEqual([]);
  });
});

async function smallBackup(disk: string): Promise<Readonly<Record<string, string>>> {
  const result = await backupTo(disk, ['--tables', 'variable']);
  expect(result.code, result.stderr).toBe(0);
  return filesIn(disk);
}

function backupTo(disk: string, args: readonly string[], limit?: string): Promise<CliResult> {
  const env = { LIFEBOAT_AIRFLOW: source.url, LIFEBOAT_STORAGE: disk };
  return startCli(['backup', ...args], env, limit).ended;
}

function expectFailure(result: CliResult, message: RegExp, next: RegExp): void {
  expect(result.code, result.stderr).toBe(1);
  const { error } = jsonLines(result.stdout).summary as { error?: { message: string; next: string } };
  expect(error?.message).toMatch(message);
  expect(error?.next).toMatch(next);
}
