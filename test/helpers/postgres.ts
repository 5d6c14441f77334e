import { request } from 'node:http';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { memoryFolders } from './memory-folders.ts';

export interface TestPostgres {
  readonly url: string;
  /** True for a server that was there before the run and stays after it. */
  readonly stays: boolean;
  stop(): Promise<void>;
}

/**
 * The server of a test run: the one that LIFEBOAT_TEST_POSTGRES_URL names, else a container where a Docker engine
 * answers, else the embedded one. All three are real PostgreSQL; the embedded one needs nothing on the machine.
 */
export async function startTestPostgres(): Promise<TestPostgres> {
  const url = process.env.LIFEBOAT_TEST_POSTGRES_URL;
  if (url !== undefined && url !== '') {
    await checkServer(url);
    return { url, stays: true, stop: () => Promise.resolve() };
  }
  if (await hasDockerEngine()) {
    try {
      return await startContainer();
    } catch (error) {
      console.warn(`Testing on the embedded PostgreSQL: the container did not start (${String(error)}).`);
    }
  }
  const server = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
  return { url: server.url, stays: false, stop: server.stop };
}

async function checkServer(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  try {
    await client.connect();
    const { rows } = await client.query<{ rolsuper: boolean }>(
      'SELECT rolsuper FROM pg_roles WHERE rolname = current_user',
    );
    if (rows[0]?.rolsuper !== true) throw new Error('the tests need a superuser');
  } catch (error) {
    throw new Error(`LIFEBOAT_TEST_POSTGRES_URL cannot be used: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await client.end();
  }
}

async function startContainer(): Promise<TestPostgres> {
  // Loaded here and not above: importing testcontainers takes half a second that a machine without Docker need not pay.
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const container = await new PostgreSqlContainer('postgres:15')
    .withCommand(['postgres', '-c', 'fsync=off', '-c', 'autovacuum=off', '-c', 'max_connections=200'])
    .start();
  return {
    url: container.getConnectionUri(),
    stays: false,
    async stop() {
      await container.stop();
    },
  };
}

/** Asks the engine's socket itself: testcontainers' own search takes seconds to find nothing. */
async function hasDockerEngine(): Promise<boolean> {
  const { DOCKER_HOST: host, HOME: home = '/', XDG_RUNTIME_DIR: runtime = '/run' } = process.env;
  // A remote engine is somebody's decision; testcontainers reports it when it does not answer.
  if (host !== undefined && !host.startsWith('unix://')) return true;
  const sockets =
    host === undefined
      ? ['/var/run/docker.sock', join(runtime, 'docker.sock'), join(home, '.docker/run/docker.sock')]
      : [host.slice('unix://'.length)];
  for (const socketPath of sockets) {
    if (existsSync(socketPath) && (await answersPing(socketPath))) return true;
  }
  return false;
}

function answersPing(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request({ socketPath, path: '/_ping', timeout: 1000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on('timeout', () => ping.destroy());
    ping.on('error', () => {
      resolve(false);
    });
    ping.end();
  });
}
