import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { startFakeMwaa } from '../helpers/fake-mwaa.ts';
import type { FakeMwaa } from '../helpers/fake-mwaa.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { ADMIN, loadedEnvironment, startApi } from './api.ts';
import type { RunningApi } from './api.ts';
import { FERNET_KEY } from './lab.ts';
import { lifeboat, lifeboatJson } from './lifeboat.ts';
import type { Summary } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import { endAll } from './run.ts';
import { release, step } from './step.ts';
import { growingTables } from './versions.ts';

/** What is allowed in a second; MWAA throttles at about that. */
const PER_SECOND = 10;
const MWAA = 'mwaa://prod?region=eu-west-1';

// Amazon MWAA cannot be had here. What stands in for it verifies each signature, enforces the limits and hands on to a
// real Airflow: what is tested is that requests which keep to the limits are ones that Airflow answers.
describe(`InvokeRestApi in front of Airflow ${release}`, () => {
  let folder: string;
  let api: RunningApi;
  let mwaa: FakeMwaa;
  let storage: readonly string[];
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-mwaa-'));
    const server = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    stops.push(() => server.stop());
    const source = await loadedEnvironment(server.url, folder, release, 'source', 'data');
    api = await startApi(source);
    mwaa = await startFakeMwaa({
      environment: 'prod',
      version: release,
      url: api.url,
      ...ADMIN,
      perSecond: PER_SECOND,
    });
    stops.push(() => mwaa.close());
    storage = ['--storage', join(folder, 'storage')];
  });

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    for (const stop of stops) await stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  const backUp = (airflow: string, env: Readonly<Record<string, string>>): Promise<Summary> =>
    step(`lifeboat backup --airflow ${airflow}`, () =>
      lifeboatJson(['backup', '--airflow', airflow, ...storage], { ...env, LIFEBOAT_FERNET_KEY: FERNET_KEY }),
    );

  it('says what Airflow says', async () => {
    const { stdout } = await lifeboat(['rest', 'GET', '/pools/default_pool', '--airflow', MWAA], mwaa.env);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'default_pool' });
    const unknown = await lifeboat(
      ['rest', 'GET', '/pools/none', '--airflow', MWAA, '--json'],
      mwaa.env,
      [1],
    );
    expect(unknown.stdout).toContain('"status":404');
  });

  it('writes, and what is written is in Airflow', async () => {
    const body = JSON.stringify({ key: 'by_mwaa', value: 'é' });
    await lifeboat(['rest', 'POST', '/variables', '--body', body, '--airflow', MWAA], mwaa.env);
    const { stdout } = await lifeboat(
      ['rest', 'GET', '/variables/by_mwaa', '--airflow', `${MWAA}&via=web`],
      mwaa.env,
    );
    expect(JSON.parse(stdout)).toMatchObject({ key: 'by_mwaa', value: 'é' });
    expect(mwaa.operations).toContain('webtoken');
  });

  it('backs up within its limits what the API itself gives, or names what it does not', async () => {
    const direct = await backUp(api.url, api.env);
    const before = mwaa.invocations.length;
    const invoked = await backUp(MWAA, mwaa.env);
    const made = mwaa.invocations.slice(before);
    expect(made.length).toBeGreaterThan(50);
    // Requests on the edge of a second may count for the one before; those were sent again.
    expect(made.filter(({ refused }) => refused !== undefined && refused !== 'rate')).toEqual([]);
    expect(made.filter(({ refused }) => refused === 'rate').length).toBeLessThan(made.length / 10);
    const [all, some] = [rowsOf(direct), rowsOf(invoked)];
    const named = JSON.stringify(invoked);
    for (const [table, rows] of Object.entries(all)) {
      if (some[table] === rows) continue;
      expect(some[table], table).toBeLessThan(rows);
      expect(named).toContain('its path is longer than InvokeRestApi takes');
    }
    expect(some.dag_run).toBe(all.dag_run);
    expect(some.task_instance).toBe(all.task_instance);
    const web = await backUp(`${MWAA}&via=web`, mwaa.env);
    expect(rowsOf(web)).toEqual(all);
  });
});

function rowsOf(summary: Summary): Readonly<Record<string, number>> {
  const { tables } = summary.manifest as { readonly tables: readonly { name: string; rows: number }[] };
  const resting = tables.filter(({ name }) => !growingTables(release).includes(name));
  return Object.fromEntries(resting.map(({ name, rows }) => [name, rows]));
}
