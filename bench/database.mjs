// The server that is measured, and the databases on it.
import { createReadStream } from 'node:fs';
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';
import pg from 'pg';
import { startEmbeddedPostgres } from '../dist/demo/embedded-postgres.js';
import { loadSqlDump } from '../dist/demo/sql-dump.js';

const FRESH = new URL('../test/fixtures/airflow/fresh-2.8.1.sql.gz', import.meta.url);

/** A server as it runs in production: everything flushed, WAL for replicas. Checkpoints must not dominate a run. */
const SETTINGS = {
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  wal_level: 'replica',
  max_wal_senders: '10',
  autovacuum: 'on',
  shared_buffers: '512MB',
  max_wal_size: '4GB',
  dynamic_shared_memory_type: 'posix',
};

/** Tables that gen_scale.sql fills: their row counts are compared after each restore. */
const FILLED = [
  'dag',
  'dag_tag',
  'dag_run',
  'task_instance',
  'xcom',
  'log',
  'job',
  'task_fail',
  'rendered_task_instance_fields',
  'slot_pool',
];

/** `native` has bin/postgres and bin/initdb; undefined: those of the embedded-postgres package. */
export const startServer = (native) =>
  startEmbeddedPostgres({ settings: SETTINGS, ...(native === undefined ? {} : { native }) });

export async function serverVersion(server) {
  const { rows } = await execute(server, 'SELECT version()');
  return rows[0].version;
}

export function databaseUrl(server, name) {
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  return url.href;
}

async function withClient(url, work) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export const execute = (server, sql) => withClient(server.url, (client) => client.query(sql));

/** Makes `fresh`, a migrated Airflow 2.8.1 as a template, and `source`, the same with n task instances. */
export async function buildDatabases(server, scaleSql, n) {
  await execute(server, `CREATE DATABASE fresh TEMPLATE template0 ENCODING 'UTF8'`);
  await withClient(databaseUrl(server, 'fresh'), (client) =>
    loadSqlDump(client, createReadStream(FRESH).pipe(createGunzip())),
  );
  await execute(server, 'CREATE DATABASE source TEMPLATE fresh');
  const args = ['-X', '-q', '-d', databaseUrl(server, 'source'), '-v', `n=${n}`, '-f', scaleSql];
  await promisify(execFile)('psql', args, { maxBuffer: 1 << 26 });
  await withClient(databaseUrl(server, 'source'), (client) => client.query('VACUUM ANALYZE'));
}

/** A new database `target`: empty for pg_restore, a migrated Airflow for the others, with `emptied` tables emptied. */
export async function newTarget(server, template, emptied = []) {
  await execute(server, 'DROP DATABASE IF EXISTS target WITH (FORCE)');
  await execute(server, `CREATE DATABASE target TEMPLATE ${template}`);
  if (emptied.length === 0) return;
  const names = emptied.map((table) => `public."${table}"`).join(', ');
  await withClient(databaseUrl(server, 'target'), (client) => client.query(`TRUNCATE ${names}`));
}

/** Writes out what earlier steps left in memory, so that no run pays for another one. */
export async function settle(server) {
  await execute(server, 'CHECKPOINT');
  spawnSync('sync');
}

/** Rows by table, but for those that live-clients.mjs makes. */
export function countRows(server, name) {
  const sql = FILLED.map(
    (table) => `SELECT '${table}' AS name, count(*)::int AS rows FROM public.${table} ${without(table)}`,
  );
  return withClient(databaseUrl(server, name), async (client) => {
    const { rows } = await client.query(sql.join(' UNION ALL '));
    return Object.fromEntries(rows.map((row) => [row.name, row.rows]));
  });
}

function without(table) {
  if (table === 'slot_pool') return '';
  return table === 'job'
    ? `WHERE hostname IS DISTINCT FROM 'bench'`
    : `WHERE dag_id IS DISTINCT FROM 'live_bench'`;
}

export function allTables(server, name) {
  return withClient(databaseUrl(server, name), async (client) => {
    const { rows } = await client.query(
      `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1`,
    );
    return rows.map((row) => row.name);
  });
}

export function databaseSize(server, name) {
  return withClient(databaseUrl(server, name), async (client) => {
    const { rows } = await client.query('SELECT pg_database_size(current_database())::float8 AS bytes');
    return rows[0].bytes;
  });
}
