import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import type { DiffTable } from '../../src/engine/api.ts';
import type { Manifest } from '../../src/engine/manifest.ts';
import { startFaultyHttp } from '../helpers/faulty-http.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { loadedEnvironment, type RunningApi, startApi } from './api.ts';
import { create, FERNET_KEY, type LabHome } from './lab.ts';
import { lifeboat, lifeboatJson } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import { differences } from './rest-rows.ts';
import { endAll } from './run.ts';
import { growingTables } from './versions.ts';

const release = inject('airflowRelease');
const isV1 = release.startsWith('2.');

/** Of 3.x: every backup here outlives its token. */
const SHORT_TOKENS = { AIRFLOW__API_AUTH__JWT_EXPIRATION_TIME: '5', AIRFLOW__API_AUTH__JWT_LEEWAY: '0' };

describe(`Airflow ${release} backed up through its REST API`, () => {
  let folder: string;
  let source: LabHome;
  let api: RunningApi;
  let storage: readonly string[];
  let env: Readonly<Record<string, string>>;
  const releasers: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), `lifeboat-rest-${release}-`));
    releasers.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const server = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    releasers.push(() => server.stop(), endAll, killAllAirflows);
    source = await loadedEnvironment(server.url, folder, release, 'source', 'data', {
      settings: SHORT_TOKENS,
    });
    api = await startApi(source);
    storage = ['--storage', pathToFileURL(join(folder, 'storage')).href];
    env = { ...api.env, LIFEBOAT_FERNET_KEY: FERNET_KEY };
  });

  afterAll(async () => {
    for (const free of releasers.reverse()) await free();
  });

  const backUp = async (url = api.url): Promise<Manifest> => {
    const { manifest } = await lifeboatJson(['backup', '--airflow', url, ...storage], env);
    return manifest as Manifest;
  };

  async function diff(backup: string): Promise<{ readonly tables: readonly DiffTable[] }> {
    const run = await lifeboat(['diff', backup, ...storage, '--airflow', api.url, '--json'], env, [0, 3]);
    return JSON.parse(run.stdout.trimEnd().split('\n').at(-1) ?? '') as {
      readonly tables: readonly DiffTable[];
    };
  }

  it('holds what its database holds, and names what is missing, though requests fail all the time', async () => {
    const faulty = await startFaultyHttp(api.url);
    releasers.push(() => faulty.close());
    const manifest = await backUp(faulty.url);
    expect(Object.values(faulty.faults)).not.toContain(0);
    const found = await differences(source, join(folder, 'storage'), manifest, [FERNET_KEY]);
    expect(found.filter(({ only }) => only === 'backup')).toEqual([]);
    expect(found.map(({ table }) => table).sort()).toEqual(failing(manifest));
    expect(failing(manifest)).toContain(isV1 ? 'slot_pool' : 'connection');
  });

  it('is the same as what the API gives afterwards', async () => {
    await backUp();
    // Of what it cannot list the API says the number all the same.
    await lifeboat(['verify', 'latest', ...storage, '--airflow', api.url], env, [0, 3]);
    const { tables } = await diff('latest');
    const differing = tables.filter((one) => one.missing + one.added + one.changed > 0);
    expect(differing.filter(({ table }) => !growingTables(release).includes(table))).toEqual([]);
  });

  it.skipIf(isV1)('has every secret of a server that is told to hide none', async () => {
    const open: LabHome = { ...source, home: join(folder, 'open') };
    await mkdir(open.home);
    await create(open, {
      onlyHome: true,
      settings: {
        AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS: 'False',
        AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET: '1000000',
      },
    });
    await api.kill();
    const shown = await startApi(open);
    const { manifest } = await lifeboatJson(
      ['backup', '--airflow', shown.url, ...storage, '--tables', 'variable,connection,asset_event'],
      env,
    );
    const { leftOut } = manifest as Manifest;
    expect(leftOut.filter(({ reason }) => reason.includes('masks'))).toEqual([]);
    await shown.kill();
    api = await startApi(source);
  });

  it.runIf(isV1)('differs from a backup of the database in what is named alone', async () => {
    const { manifest } = await lifeboatJson(['backup', '--airflow', source.database, ...storage], env);
    const { backupId } = manifest as Manifest;
    const { tables } = await diff(backupId);
    const differing = tables.filter((one) => one.missing + one.added + one.changed > 0);
    const lost = differing.flatMap(({ table, missing }) => Array.from({ length: missing }, () => table));
    expect(lost.sort()).toEqual(failing(await backUp()));
    expect(differing.reduce((sum, { added, changed }) => sum + added + changed, 0)).toBe(0);
  });
});

/** The tables of the rows that the server itself fails at, once for each: a pool without end, a variable of another key. */
function failing({ leftOut }: Manifest): readonly string[] {
  return leftOut
    .flatMap(({ table, columns, names }) =>
      columns === undefined && names !== undefined ? names.map(() => table) : [],
    )
    .sort();
}
