import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { emptyEnvironment, query } from './environment.ts';
import { create, populate } from './lab.ts';
import type { LabHome } from './lab.ts';
import { killAllAirflows } from './processes.ts';
import { endAll, run } from './run.ts';
import { step } from './step.ts';

/** What the tests of one release share. */
export interface Preparation {
  /** Goes at the end, with all that is in it. */
  readonly folder: string;
  /** An Airflow that was filled and killed with runs in flight. */
  readonly source: LabHome;
  /** The same once more, in a database of its own whose name is given; its home is empty. */
  readonly copy: LabHome;
  /** A new empty database and home of that name, for the same release unless another is given. */
  empty(name: string, ofRelease?: string): Promise<LabHome>;
  release(): Promise<void>;
}

/** Starts a PostgreSQL server and fills an Airflow of the release in it. */
export async function prepare(release: string): Promise<Preparation> {
  const folder = await mkdtemp(join(tmpdir(), `lifeboat-airflow-${release}-`));
  const server = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
  const empty = (name: string, ofRelease = release): Promise<LabHome> =>
    emptyEnvironment(server.url, folder, ofRelease, name);
  const releaseAll = async (): Promise<void> => {
    await killAllAirflows();
    await endAll();
    await server.stop();
    // The logs of all processes, to find out why a test failed.
    if (process.env.AIRFLOW_KEEP === '1') console.log(`kept: ${folder}`);
    else await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const source = await empty('source');
    await fill(source);
    // The processes of the source died a while ago; a job that still beats would count as alive.
    await query(
      source,
      `UPDATE job SET latest_heartbeat = latest_heartbeat - interval '1 hour' WHERE state = 'running'`,
    );
    const copy = await emptyEnvironment(server.url, folder, release, 'source_copy', 'source');
    return { folder, source, copy, empty, release: releaseAll };
  } catch (error) {
    await releaseAll();
    throw error;
  }
}

/**
 * Creates and populates, which takes two minutes on two cores. AIRFLOW_SOURCES names a folder that keeps the results
 * for the next run (pg_dump and pg_restore are needed then).
 */
async function fill(at: LabHome): Promise<void> {
  const kept = process.env.AIRFLOW_SOURCES;
  const place = kept === undefined || kept === '' ? undefined : join(kept, at.release);
  const dumpFile = join(place ?? '', 'database.dump');
  if (place !== undefined && existsSync(dumpFile)) {
    await step('fill the source from AIRFLOW_SOURCES', async () => {
      await run('pg_restore', ['--exit-on-error', '-d', at.database, dumpFile]);
      await cp(join(place, 'home'), at.home, { recursive: true });
      await create(at, { onlyHome: true });
    });
    return;
  }
  await step('create the source', () => create(at));
  await step('populate the source', () => populate(at));
  if (place === undefined) return;
  await mkdir(place, { recursive: true });
  await cp(at.home, join(place, 'home'), { recursive: true });
  await run('pg_dump', ['-Fc', '-Z1', '-f', `${dumpFile}.part`, '-d', at.database]);
  await rename(`${dumpFile}.part`, dumpFile);
}
