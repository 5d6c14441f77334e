// Writes test/fixtures/schemas/<minor>.json: the schema of every supported Airflow minor, read from real databases.
//
//   npm run schemas                    (builds first) from test/fixtures/airflow/fresh-V.sql.gz, on an embedded Postgres
//   npm run schemas -- --check         writes nothing, exits 1 when a committed file differs
//   npm run schemas -- --from postgresql://user@host/db --release 2.12.0
//                                      one file from a live, freshly migrated Airflow: the first step to a new version
//   … --server postgresql://user@host/postgres
//                                      load the fixtures into scratch databases of this server instead
import { createReadStream, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createGunzip } from 'node:zlib';
import pg from 'pg';
import { startEmbeddedPostgres } from '../dist/demo/embedded-postgres.js';
import { loadSqlDump } from '../dist/demo/sql-dump.js';

const DUMPS = new URL('../test/fixtures/airflow/', import.meta.url);
const SCHEMAS = new URL('../test/fixtures/schemas/', import.meta.url);
const INTROSPECTION = readFileSync(new URL('generate-schemas.sql', import.meta.url), 'utf8');

/** '2.10.3' → '2.10' */
const minorOf = (release) => release.split('.').slice(0, 2).join('.');

/** Runs work with a connected client and always closes it. */
async function withClient(url, work) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const otherDatabase = (url, database) => {
  const result = new URL(url);
  result.pathname = `/${database}`;
  return result.href;
};

/** A schema as JSON with one line per column, key and index, so that a diff shows what a version changed. */
function format(schema) {
  const lines = (items, indent) => items.map((item) => indent + JSON.stringify(item)).join(',\n');
  const tables = schema.tables.map(
    ({ name, columns, primary_key, unique, checks, foreign_keys, indexes }) => {
      const lists = Object.entries({ columns, unique, checks, foreignKeys: foreign_keys, indexes })
        .filter(([, items]) => items !== null)
        .map(([key, items]) => `      "${key}": [\n${lines(items, '        ')}\n      ]`);
      const key = primary_key === null ? [] : [`      "primaryKey": ${JSON.stringify(primary_key)}`];
      return `    ${JSON.stringify(name)}: {\n${[lists[0], ...key, ...lists.slice(1)].join(',\n')}\n    }`;
    },
  );
  return [
    '{',
    `  "airflow": ${JSON.stringify(minorOf(schema.release))},`,
    `  "release": ${JSON.stringify(schema.release)},`,
    `  "alembicHead": ${JSON.stringify(schema.alembicHead)},`,
    `  "tables": {\n${tables.join(',\n')}\n  }`,
    '}\n',
  ].join('\n');
}

async function introspect(client, release) {
  await client.query(`SET search_path = ''`);
  const heads = await client.query('SELECT version_num FROM public.alembic_version');
  if (heads.rows.length !== 1) throw new Error(`alembic_version has ${heads.rows.length} rows, not one.`);
  const tables = await client.query(INTROSPECTION, ['public']);
  return { release, alembicHead: heads.rows[0].version_num, tables: tables.rows };
}

/** Schemas of all fixture dumps, one scratch database each. */
async function fromDumps(server) {
  const dumps = readdirSync(DUMPS).filter((file) => /^fresh-[\d.]+\.sql\.gz$/.test(file));
  if (dumps.length === 0) throw new Error(`No fresh-V.sql.gz in ${DUMPS.pathname}.`);
  const schemas = [];
  for (const file of dumps) {
    const release = file.slice('fresh-'.length, -'.sql.gz'.length);
    const database = `lifeboat_schema_${release.replaceAll('.', '_')}_${process.pid}`;
    await withClient(server, (client) =>
      client.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`),
    );
    try {
      schemas.push(
        await withClient(otherDatabase(server, database), async (client) => {
          await loadSqlDump(client, createReadStream(new URL(file, DUMPS)).pipe(createGunzip()));
          return introspect(client, release);
        }),
      );
    } finally {
      await withClient(server, (client) => client.query(`DROP DATABASE ${database}`));
    }
  }
  return schemas;
}

/** Starts the embedded server of the demo for as long as work runs. */
async function withEmbeddedServer(work) {
  const server = await startEmbeddedPostgres();
  try {
    return await work(server.url);
  } finally {
    await server.stop();
  }
}

async function generate({ from, release, server }) {
  if (from === undefined) return server === undefined ? withEmbeddedServer(fromDumps) : fromDumps(server);
  if (release === undefined) throw new Error('--from needs --release, such as --release 2.12.0.');
  return [await withClient(from, (client) => introspect(client, release))];
}

const { values: options } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    from: { type: 'string' },
    release: { type: 'string' },
    server: { type: 'string' },
  },
});

const schemas = await generate(options);
mkdirSync(SCHEMAS, { recursive: true });
let stale = 0;
for (const schema of schemas) {
  const name = `${minorOf(schema.release)}.json`;
  const file = new URL(name, SCHEMAS);
  const text = format(schema);
  const same = existsSync(file) && readFileSync(file, 'utf8') === text;
  if (!same) stale += 1;
  if (!same && !options.check) writeFileSync(file, text);
  const state = same ? 'unchanged' : options.check ? 'DIFFERS from the real schema' : 'written';
  console.log(
    `${name.padEnd(10)} ${schema.release.padEnd(8)} ${schema.alembicHead}  ${schema.tables.length} tables  ${state}`,
  );
}
if (options.check) {
  const known = new Set(schemas.map((schema) => `${minorOf(schema.release)}.json`));
  for (const name of readdirSync(SCHEMAS).filter((file) => !known.has(file))) {
    stale += 1;
    console.log(`${name.padEnd(10)} has no fixture that it could come from`);
  }
  if (stale > 0) {
    console.error(`${stale} of the schema files are stale: run npm run schemas and look at the difference.`);
    process.exitCode = 1;
  }
}
