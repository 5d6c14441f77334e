// What a backup through the REST API costs: requests, seconds, bytes and memory for many runs.
//
//   npm run bench:rest -- --airflow http://USER:PASSWORD@host:8080 --database postgresql://… --dag DAG_ID
//       [--runs 10000] [--ways http,web,invoke] [--tables dag_run,…] [--json results.json]
//
// Copies the newest ended run of the DAG, with its task instances and XComs, in the database of that Airflow until it has
// so many runs (never do this to one that anybody needs), and backs it up directly and through a stand-in of MWAA.
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import pg from 'pg';
import { measure } from './measure.mjs';

const MAIN = fileURLToPath(new URL('../dist/bin/lifeboat.js', import.meta.url));
const STAND_IN = fileURLToPath(new URL('../test/helpers/fake-mwaa.ts', import.meta.url));
const COPIES = 'bench__';

const { values } = parseArgs({
  options: {
    airflow: { type: 'string' },
    database: { type: 'string' },
    dag: { type: 'string' },
    runs: { type: 'string', default: '10000' },
    ways: { type: 'string', default: 'http,web,invoke' },
    tables: { type: 'string' },
    json: { type: 'string' },
  },
});

/** INSERT of copies of rows, each column as it is but for those that are replaced; `id` is left to its default. */
async function copyRows(client, table, replaced, from) {
  const { rows } = await client.query(
    'SELECT column_name AS name, column_default AS given FROM information_schema.columns WHERE table_name = $1',
    [table],
  );
  const columns = rows.filter(({ name, given }) => name !== 'id' || given === null).map(({ name }) => name);
  const values = columns.map((name) => replaced[name] ?? `t."${name}"`);
  const result = await client.query(
    `INSERT INTO "${table}" (${columns.map((name) => `"${name}"`).join(', ')}) SELECT ${values.join(', ')} FROM ${from}`,
  );
  return result.rowCount;
}

async function fill(database, dag, runs) {
  const client = new pg.Client({ connectionString: database });
  await client.connect();
  try {
    const { rows } = await client.query(
      `SELECT d.id, d.run_id FROM dag_run d WHERE d.dag_id = $1 AND d.state = 'success' AND d.run_id NOT LIKE '${COPIES}%' ORDER BY d.id DESC LIMIT 1`,
      [dag],
    );
    if (rows.length === 0) throw new Error(`no run of ${dag} has ended with success`);
    const { id, run_id: runId } = rows[0];
    const there = await client.query(
      `SELECT count(*)::int AS runs FROM dag_run WHERE dag_id = $1 AND run_id LIKE '${COPIES}%'`,
      [dag],
    );
    if (there.rows[0].runs >= runs) return;
    const date = `timestamptz '2020-01-01' + n * interval '1 minute'`;
    const first = there.rows[0].runs + 1;
    await copyRows(
      client,
      'dag_run',
      { run_id: `'${COPIES}' || n`, logical_date: date, execution_date: date },
      `dag_run t, generate_series(${first}, ${runs}) n WHERE t.id = ${id}`,
    );
    const of = `JOIN dag_run d ON d.dag_id = t.dag_id AND d.run_id LIKE '${COPIES}%' AND substr(d.run_id, ${COPIES.length + 1})::int >= ${first} WHERE t.dag_id = '${dag}' AND t.run_id = '${runId}'`;
    await copyRows(
      client,
      'task_instance',
      { id: 'gen_random_uuid()', run_id: 'd.run_id' },
      `task_instance t ${of}`,
    );
    await copyRows(client, 'xcom', { run_id: 'd.run_id', dag_run_id: 'd.id' }, `xcom t ${of}`);
    await client.query('ANALYZE');
  } finally {
    await client.end();
  }
}

/** The stand-in is of the tests, and TypeScript. */
async function loadStandIn(folder) {
  const outfile = join(folder, 'fake-mwaa.mjs');
  await build({ entryPoints: [STAND_IN], bundle: true, platform: 'node', format: 'esm', outfile });
  return import(pathToFileURL(outfile).href);
}

async function versionOf(origin) {
  for (const api of ['v2', 'v1']) {
    const answer = await globalThis.fetch(`${origin}/api/${api}/version`);
    if (answer.ok) return (await answer.json()).version;
  }
  throw new Error(`no Airflow answers at ${origin}`);
}

function bytesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0);
}

async function main() {
  const { airflow, database, dag, runs, ways, tables, json } = values;
  if (!airflow || !database || !dag) throw new Error('--airflow, --database and --dag are needed');
  const url = new URL(airflow);
  const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
  url.username = '';
  url.password = '';
  const folder = mkdtempSync(join(tmpdir(), 'lifeboat-bench-rest-'));
  let mwaa;
  try {
    await fill(database, dag, Number(runs));
    const version = await versionOf(url.origin);
    const { startFakeMwaa } = await loadStandIn(folder);
    mwaa = await startFakeMwaa({ environment: 'bench', version, url: url.origin, user, password });
    const key = `${Buffer.alloc(32, 7).toString('base64url')}=`;
    const env = {
      ...mwaa.env,
      LIFEBOAT_REST_USER: user,
      LIFEBOAT_REST_PASSWORD: password,
      LIFEBOAT_FERNET_KEY: key,
    };
    const addresses = {
      http: url.origin,
      invoke: 'mwaa://bench?region=eu-west-1',
      web: 'mwaa://bench?region=eu-west-1&via=web',
    };
    const results = [];
    for (const way of ways.split(',')) {
      const storage = join(folder, way);
      const only = tables === undefined ? [] : ['--tables', tables];
      const args = ['backup', '--airflow', addresses[way], '--storage', storage, '--json', ...only];
      const { seconds, cpuSeconds, peakMb, stdout } = await measure(process.execPath, [MAIN, ...args], env);
      const lines = stdout.trim().split('\n');
      const { requests, receivedBytes, manifest } = JSON.parse(lines.at(-1));
      const result = {
        way,
        airflow: version,
        requests,
        seconds,
        cpuSeconds,
        peakMb,
        receivedMb: receivedBytes / 1e6,
        storedMb: bytesBelow(storage) / 1e6,
        rows: Object.fromEntries(manifest.tables.map(({ name, rows }) => [name, rows])),
      };
      console.log(
        `${way.padEnd(7)} ${requests} requests, ${seconds.toFixed(1)} s, ${result.receivedMb.toFixed(1)} MB received,` +
          ` ${result.storedMb.toFixed(1)} MB stored, peak ${peakMb.toFixed(0)} MB, ${JSON.stringify(result.rows)}`,
      );
      results.push(result);
    }
    if (json) writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    await mwaa?.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
