// How time and memory grow with the number of task instances:
//
//   npm run bench:growth -- [--sizes 10000,50000,200000,1000000,5000000] [--s3 s3://bucket/prefix] [--postgres FOLDER]
//                           [--json results.json] [--write]
//
// One backup and one restore for each size, to a directory and, with --s3, to S3. --write puts the table and the drawing
// into docs/performance.md. Needs what bench.mjs needs; 5,000,000 task instances need 40 GB of temporary space.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  buildDatabases,
  databaseSize,
  databaseUrl,
  execute,
  newTarget,
  settle,
  startServer,
} from './database.mjs';
import { measure } from './measure.mjs';

const MAIN = fileURLToPath(new URL('../dist/bin/lifeboat.js', import.meta.url));
const PAGE = new URL('../docs/performance.md', import.meta.url);
const SCALE_SQL =
  process.env.AIRFLOW_SCALE_SQL ??
  fileURLToPath(new URL('../../shared/fixtures/gen_scale.sql', import.meta.url));
const BAR = 40;

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '10000,50000,200000,1000000,5000000' },
    s3: { type: 'string' },
    postgres: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});

async function measureSize(server, folder, n) {
  await buildDatabases(server, SCALE_SQL, n);
  const databaseMb = (await databaseSize(server, 'source')) / 1e6;
  const storages = { directory: join(folder, String(n)), ...(values.s3 ? { S3: `${values.s3}/${n}` } : {}) };
  const results = [];
  for (const [storage, address] of Object.entries(storages)) {
    const run = (...args) => measure(process.execPath, [MAIN, ...args, '--storage', address, '--json']);
    await settle(server);
    const backup = await run('backup', '--airflow', databaseUrl(server, 'source'));
    await newTarget(server, 'fresh');
    await settle(server);
    const restore = await run(
      'restore',
      'latest',
      '--airflow',
      databaseUrl(server, 'target'),
      '--clean',
      '--yes',
    );
    const one = { n, databaseMb, storage, backup: figures(backup), restore: figures(restore) };
    console.log(
      `${String(n).padStart(9)} ${storage.padEnd(9)} backup ${one.backup.seconds.toFixed(1)} s ${one.backup.peakMb.toFixed(0)} MB` +
        `, restore ${one.restore.seconds.toFixed(1)} s ${one.restore.peakMb.toFixed(0)} MB`,
    );
    results.push(one);
    rmSync(join(folder, String(n)), { recursive: true, force: true });
  }
  for (const name of ['target', 'source', 'fresh']) {
    await execute(server, `DROP DATABASE ${name} WITH (FORCE)`);
  }
  return results;
}

const figures = ({ seconds, cpuSeconds, peakMb }) => ({ seconds, cpuSeconds, peakMb });

/** One bar for each size; both axes are logarithmic for times, memory is drawn as it is. */
function drawing(results, what, key) {
  const value = (result) => result[what][key];
  const top = Math.max(...results.map(value));
  const length = (x) => (key === 'seconds' ? Math.log10(1 + x * 10) / Math.log10(1 + top * 10) : x / top);
  return results.map((result) => {
    const bar = '█'.repeat(Math.max(1, Math.round(length(value(result)) * BAR)));
    const label = `${result.n.toLocaleString('en').padStart(9)} ${result.storage.padEnd(9)}`;
    return `${label} ${bar} ${value(result).toFixed(key === 'seconds' ? 1 : 0)} ${key === 'seconds' ? 's' : 'MB'}`;
  });
}

function writePage(results) {
  const rows = results.map(
    ({ n, databaseMb, storage, backup, restore }) =>
      `| ${n.toLocaleString('en')} | ${databaseMb.toFixed(0)} | ${storage} | ${backup.seconds.toFixed(1)} | ${backup.peakMb.toFixed(0)} | ${restore.seconds.toFixed(1)} | ${restore.peakMb.toFixed(0)} |`,
  );
  const draw = (title, what, key) => [title, '', '```', ...drawing(results, what, key), '```', ''];
  const lines = [
    '| task instances | database MB | storage | backup s | backup RSS MB | restore s | restore RSS MB |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    ...draw('Time of a restore (logarithmic):', 'restore', 'seconds'),
    ...draw('Peak memory of a backup:', 'backup', 'peakMb'),
    ...draw('Peak memory of a restore:', 'restore', 'peakMb'),
  ];
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = ['<!-- growth: begin -->', '<!-- growth: end -->'];
  writeFileSync(PAGE, `${page.split(begin)[0]}${begin}\n\n${lines.join('\n')}\n${end}${page.split(end)[1]}`);
}

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-growth-'));
const server = await startServer(values.postgres);
try {
  const results = [];
  for (const size of values.sizes.split(',')) {
    results.push(...(await measureSize(server, folder, Number(size))));
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  if (values.write) writePage(results);
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
