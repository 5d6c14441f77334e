import pg from 'pg';
import { inject, onTestFinished } from 'vitest';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { openFixture, type FixtureKind, type FixtureVersion } from './fixtures.ts';

export interface TestDatabase {
  readonly name: string;
  readonly url: string;
  /** A new connection; ends with the database if the test does not end it. */
  client(): Promise<pg.Client>;
  /** Idempotent; open connections are thrown out. */
  drop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Default: data. */
  readonly from?: FixtureKind | 'empty';
  /** Default: 2.8.1. */
  readonly version?: FixtureVersion;
}

/** Names of PostgreSQL end at 63 bytes. */
const NAME_BYTES = 63;
/** Any number that no other part of the tests locks on the maintenance database. */
const TEMPLATE_LOCK = 5_704_116;
let counter = 0;

/**
 * A database of its own for one test: a copy of a template that is loaded once per run, by whichever test file needs
 * it first. Made within a test, it is dropped when the test passes and kept for inspection when it fails; made in a
 * hook, it is the hook's to drop.
 */
export async function createDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const { from = 'data', version = '2.8.1' } = options;
  const maintenanceUrl = inject('postgresUrl');
  counter += 1;
  const name = `${prefix(inject('runId'))}${from}_${process.pid}_${counter}`.slice(0, NAME_BYTES);
  await withClient(maintenanceUrl, async (client) => {
    const template =
      from === 'empty' ? 'template0' : await readyTemplate(client, maintenanceUrl, from, version);
    await client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  });
  return databaseHandle(maintenanceUrl, name, 'test');
}

/**
 * Another database with the same content; nobody may be connected to the original while it is made. The caller drops
 * it, also when it was made within a test.
 */
export async function copyDatabase(original: TestDatabase): Promise<TestDatabase> {
  const maintenanceUrl = inject('postgresUrl');
  counter += 1;
  const name = `${prefix(inject('runId'))}copy_${process.pid}_${counter}`.slice(0, NAME_BYTES);
  await withClient(maintenanceUrl, (client) =>
    client.query(`CREATE DATABASE ${name} TEMPLATE ${original.name}`),
  );
  return databaseHandle(maintenanceUrl, name, 'caller');
}

function databaseHandle(maintenanceUrl: string, name: string, owner: 'test' | 'caller'): TestDatabase {
  const url = databaseUrl(maintenanceUrl, name);
  const open: pg.Client[] = [];
  let dropped: Promise<void> | undefined;
  const database: TestDatabase = {
    name,
    url,
    async client() {
      const client = await connect(url);
      open.push(client);
      return client;
    },
    drop: () =>
      (dropped ??= (async () => {
        await Promise.all(open.map((client) => client.end().catch(() => undefined)));
        await withClient(maintenanceUrl, (client) =>
          client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
        );
      })()),
  };
  if (owner === 'test') dropOrKeep(database, open);
  return database;
}

function dropOrKeep(database: TestDatabase, open: readonly pg.Client[]): void {
  try {
    onTestFinished(async ({ task }) => {
      if (task.result?.state !== 'fail') return database.drop();
      await Promise.all(open.map((client) => client.end().catch(() => undefined)));
      if (inject('postgresStays')) {
        await withClient(inject('postgresUrl'), (client) =>
          client.query(`COMMENT ON DATABASE ${database.name} IS 'kept: its test failed'`),
        );
        console.info(`The database of this failed test is kept: ${database.name}`);
      } else {
        console.info(
          'To keep the database of a failed test, set LIFEBOAT_TEST_POSTGRES_URL (docs/local-testing.md).',
        );
      }
    });
  } catch {
    // Outside a test there is nothing to wait for: the caller drops it, or the end of the run does.
  }
}

/** Loads the template if this run has none yet. The lock makes test files that need the same one wait for it. */
async function readyTemplate(
  client: pg.Client,
  maintenanceUrl: string,
  kind: FixtureKind,
  version: FixtureVersion,
): Promise<string> {
  const name = `${prefix(inject('runId'))}template_${kind}_${version.replaceAll('.', '_')}`;
  const exists = async (): Promise<boolean> =>
    (await client.query('SELECT FROM pg_database WHERE datname = $1', [name])).rowCount === 1;
  if (await exists()) return name;
  await client.query('SELECT pg_advisory_lock($1)', [TEMPLATE_LOCK]);
  try {
    if (await exists()) return name;
    // Under its final name only when it is whole: a killed worker leaves nothing that looks like a template.
    const loading = `${name}_loading`;
    await client.query(`DROP DATABASE IF EXISTS ${loading} WITH (FORCE)`);
    await client.query(`CREATE DATABASE ${loading} TEMPLATE template0`);
    await withClient(databaseUrl(maintenanceUrl, loading), (loader) =>
      loadSqlDump(loader, openFixture(kind, version)),
    );
    await client.query(`ALTER DATABASE ${loading} RENAME TO ${name}`);
    return name;
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', [TEMPLATE_LOCK]);
  }
}

/** Everything that a run made on a server that stays, except what failed tests keep. */
export async function dropRunDatabases(maintenanceUrl: string, runId: string): Promise<void> {
  await withClient(maintenanceUrl, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      `SELECT datname FROM pg_database
       WHERE starts_with(datname, $1) AND coalesce(shobj_description(oid, 'pg_database'), '') NOT LIKE 'kept:%'`,
      [prefix(runId)],
    );
    for (const { datname } of rows) await client.query(`DROP DATABASE IF EXISTS ${datname} WITH (FORCE)`);
  });
}

function prefix(runId: string): string {
  return `lifeboat_test_${runId}_`;
}

function databaseUrl(maintenanceUrl: string, name: string): string {
  const url = new URL(maintenanceUrl);
  url.pathname = `/${name}`;
  return url.href;
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(url);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  // The server's goodbye to an idle connection (DROP DATABASE … FORCE, a stop) is no error of the test.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
