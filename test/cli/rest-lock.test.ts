import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from '../helpers/fake-airflow-api.ts';
import { sampleRows } from '../helpers/fake-airflow-sample.ts';
import { cli, cliEnv, type CliResult, MAIN } from './run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-rest-lock-'));
const storage = join(folder, 'storage');
const env = {
  LIFEBOAT_REST_USER: FAKE_USER.user,
  LIFEBOAT_REST_PASSWORD: FAKE_USER.password,
  LIFEBOAT_FERNET_KEY: `${Buffer.alloc(32, 7).toString('base64url')}=`,
  LIFEBOAT_STORAGE: storage,
};
let target: FakeAirflowApi;

beforeAll(async () => {
  const source = await startFakeAirflowApi({ version: '3.0.6', rows: sampleRows('3') });
  target = await startFakeAirflowApi({ version: '3.2.1' });
  expect((await cli(['backup', '--airflow', source.url], { env })).code).toBe(0);
  await source.close();
});
afterAll(async () => {
  await target.close();
  rmSync(folder, { recursive: true, force: true });
});

const words = (): string[] => ['restore', 'latest', '--airflow', target.url, '--yes'];
const restore = (): Promise<CliResult> => cli(words(), { env });

function locks(): string[] {
  const below = join(storage, 'restores', 'locks');
  if (!existsSync(below)) return [];
  return readdirSync(below, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.json'));
}

/** A restore that stands in the middle of its work, until it is killed. */
async function stuck(): Promise<(signal: NodeJS.Signals) => Promise<number | null>> {
  target.faults.push({ method: 'GET', path: '/pools', kind: 'hang' });
  const child = spawn(process.execPath, [MAIN, ...words()], { env: cliEnv(env), stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  while (target.faults.length > 0 || locks().length === 0) await sleep(50);
  return (signal) => {
    child.kill(signal);
    return ended;
  };
}

describe('two restores at once into an Airflow without a database', () => {
  test('the second ends with 11 and changes nothing; interrupted, the first leaves no lock', async () => {
    const end = await stuck();
    const { code, stderr } = await restore();
    expect(code).toBe(11);
    expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(
      /Another command is at work in 127\.0\.0\.1:\d+: pid \d+ on/,
    );
    expect(target.rows.variables).toEqual([]);
    expect((await cli([...words().slice(0, -1), '--dry-run'], { env })).code).toBe(0);
    expect(locks()).toHaveLength(1);
    expect(await end('SIGINT')).toBe(130);
    expect(locks()).toEqual([]);
  });

  test('what a killed one left is removed after it was watched, and the restore goes on', async () => {
    const end = await stuck();
    await end('SIGKILL');
    expect(locks()).toHaveLength(1);
    const { code, stderr } = await restore();
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr.replaceAll(/\s+/g, ' ')).toMatch(/Removed a lock that nobody holds any more: pid \d+ on/);
    expect(target.rows.variables).toHaveLength(2);
    expect(locks()).toEqual([]);
  });
});
