import { randomBytes } from 'node:crypto';
import type { TestProject } from 'vitest/node';
import { buildDistOnce } from './build-dist.ts';
import { dropRunDatabases } from './databases.ts';
import { startTestPostgres } from './postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Superuser connection to the maintenance database of the run's server. */
    readonly postgresUrl: string;
    /** Part of the name of every database of this run, so that runs can share a server. */
    readonly runId: string;
    /** False: the server is thrown away with the run, and no database outlives it. */
    readonly postgresStays: boolean;
  }
}

/** Before all test files: one PostgreSQL, and the compiled command line where a chosen test runs it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await buildDistOnce(project);
  const postgres = await startTestPostgres();
  const runId = randomBytes(4).toString('hex');
  project.provide('postgresUrl', postgres.url);
  project.provide('runId', runId);
  project.provide('postgresStays', postgres.stays);
  return async () => {
    try {
      if (postgres.stays) await dropRunDatabases(postgres.url, runId);
    } finally {
      await postgres.stop();
    }
  };
}
