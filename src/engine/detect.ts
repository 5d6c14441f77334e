import type { ClientBase } from 'pg';
import { introspect, quoteTable } from '../db/introspect.ts';
import type { LiveSchema } from '../db/introspect.ts';
import type { DatabaseTarget } from '../db/target.ts';
import { LifeboatError } from '../errors.ts';
import { findRelease, newestMinor, OTHER_RELEASES, SUPPORTED_RELEASES } from '../versions/heads.ts';
import type { SchemaRelease } from '../versions/heads.ts';
import { tablesFor } from '../versions/registry.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { compareSchema } from './drift.ts';
import type { EnvironmentFacts } from './plans.ts';

/** An Airflow database that Lifeboat knows how to handle. */
export interface DetectedEnvironment {
  readonly facts: EnvironmentFacts;
  readonly release: SchemaRelease;
  readonly live: LiveSchema;
  /** In load order. */
  readonly tables: readonly ResolvedTable[];
  readonly serverVersion: number;
  /** Differences from the spec that do no harm. */
  readonly driftNotes: readonly string[];
}

const SUPPORTED = '2.5 to 2.11';
/** Oldest server: the catalog queries and generated columns need it, and Airflow 2.5 asks for no older one. */
const OLDEST_POSTGRES = 120000;

/**
 * Recognises the Airflow in a database by its Alembic head and compares the schema with the spec, before any work.
 *
 * @throws LifeboatError 'unsupported' for no Airflow, an unknown head, several heads, or drift.
 */
export async function detectEnvironment(
  client: ClientBase,
  target: DatabaseTarget,
): Promise<DetectedEnvironment> {
  const server = await client.query<{ number: string; version: string }>(
    "SELECT pg_catalog.current_setting('server_version_num') AS number, pg_catalog.current_setting('server_version') AS version",
  );
  const serverVersion = Number(server.rows[0]?.number ?? 0);
  const postgres = (server.rows[0]?.version ?? '').split(' ')[0] ?? '';
  if (serverVersion < OLDEST_POSTGRES) {
    throw new LifeboatError(
      'unsupported',
      `The server of ${target.name} is PostgreSQL ${postgres}; 12 is the oldest supported.`,
      {
        next: 'Upgrade the server.',
      },
    );
  }
  const head = await readHead(client, target);
  const release = findRelease(head);
  if (!release) throw unknownHead(head, target);

  const live = await introspect(client, target.schema);
  const tables = tablesFor(newestMinor(release));
  const drift = compareSchema(live, tables);
  if (drift.problems.length > 0) throw driftError(drift.problems, release, target);

  const facts: EnvironmentFacts = {
    name: target.name,
    schema: target.schema,
    airflow: release.label,
    alembicHead: head,
    postgres,
    schedulerHeartbeat: await readHeartbeat(client, target.schema),
  };
  return { facts, release, live, tables, serverVersion, driftNotes: drift.notes };
}

async function readHead(client: ClientBase, target: DatabaseTarget): Promise<string> {
  const table = quoteTable(target.schema, 'alembic_version');
  const found = await client.query<{ there: boolean }>(
    'SELECT pg_catalog.to_regclass($1) IS NOT NULL AS there',
    [table],
  );
  if (!found.rows[0]?.there) {
    throw new LifeboatError(
      'unsupported',
      `There is no Airflow in schema ${target.schema} of ${target.name}: table alembic_version is missing.`,
      {
        next: 'Check the database name and --schema (Airflow: sql_alchemy_schema), or run `airflow db migrate` there first.',
      },
    );
  }
  const heads = (await client.query<{ version_num: string }>(`SELECT version_num FROM ${table} ORDER BY 1`))
    .rows;
  if (heads.length !== 1 || !heads[0]) {
    throw new LifeboatError(
      'unsupported',
      `${target.name} has ${heads.length} Alembic heads (${heads.map((row) => row.version_num).join(', ') || 'none'}), expected one.`,
      { next: 'Finish the migration of that Airflow (`airflow db check-migrations` says what is missing).' },
    );
  }
  return heads[0].version_num;
}

function unknownHead(head: string, target: DatabaseTarget): LifeboatError {
  const other = OTHER_RELEASES[head];
  const expected = SUPPORTED_RELEASES.map((release) => `${release.head} (${release.releases})`).join(', ');
  const next =
    other === undefined
      ? 'If a migration is under way, let it finish. If this Airflow is newer than this Lifeboat, update Lifeboat.'
      : `Lifeboat supports the metadata databases of Airflow ${SUPPORTED}.`;
  return new LifeboatError(
    'unsupported',
    other === undefined
      ? `${target.name} has the unknown Alembic head ${head}; known are the heads of Airflow ${SUPPORTED}.`
      : `${target.name} is Airflow ${other} (Alembic head ${head}), which is not supported.`,
    { next, details: { found: head, expected } },
  );
}

function driftError(
  problems: readonly string[],
  release: SchemaRelease,
  target: DatabaseTarget,
): LifeboatError {
  const shown =
    problems.slice(0, 5).join('; ') + (problems.length > 5 ? `; and ${problems.length - 5} more` : '');
  return new LifeboatError(
    'unsupported',
    `The schema of ${target.name} is not that of Airflow ${release.label} (head ${release.head}): ${shown}.`,
    {
      next: 'Compare it with a fresh `airflow db migrate` of the same release; `lifeboat doctor` lists every difference.',
      details: { problems },
    },
  );
}

async function readHeartbeat(client: ClientBase, schema: string): Promise<string | null> {
  const result = await client.query<{ beat: string | null }>(
    `SELECT pg_catalog.to_char(max(latest_heartbeat) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS beat
       FROM ${quoteTable(schema, 'job')} WHERE job_type = 'SchedulerJob'`,
  );
  return result.rows[0]?.beat ?? null;
}
