// Lifeboat beside pg_dump and pg_restore, on 1,000,000 task instances:
//
//   npm run bench -- [--n 1000000] [--rounds 3] [--jobs 2] [--compression gzip:1] [--json results.json]
//
// Needs psql, pg_dump and pg_restore of version 15 or newer on PATH, about 10 GB of temporary space, and gen_scale.sql
// (AIRFLOW_SCALE_SQL, else shared/fixtures beside the checkout). One round runs all four commands, the order of each
// pair alternating, with a checkpoint and a sync before each: single runs differ too much to be compared otherwise.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  buildDatabases,
  countRows,
  databaseSize,
  databaseUrl,
  newTarget,
  settle,
  startServer,
} from './database.mjs';
import { measure, median } from './measure.mjs';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SCALE_SQL =
  process.env.AIRFLOW_SCALE_SQL ??
  fileURLToPath(new URL('../../shared/fixtures/gen_scale.sql', import.meta.url));

const { values } = parseArgs({
  options: {
    n: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    jobs: { type: 'string', default: '2' },
    compression: { type: 'string', default: 'gzip:1' },
    json: { type: 'string' },
  },
});
const { jobs, compression } = values;
const rounds = Number(values.rounds);

for (const tool of ['psql', 'pg_dump', 'pg_restore']) {
  assert(spawnSync(tool, ['--version']).status === 0, `${tool} is not on PATH: install postgresql-client.`);
}
assert(existsSync(SCALE_SQL), `There is no ${SCALE_SQL}: set AIRFLOW_SCALE_SQL.`);

/** Bytes of all files below a folder. */
function folderSize(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

/** The commands that are compared. Each `prepare` is not measured. */
function contenders(server, folder, expected) {
  const source = databaseUrl(server, 'source');
  const target = databaseUrl(server, 'target');
  const dumped = join(folder, 'dump');
  const stored = join(folder, 'storage');
  const clear = (path) => () => rmSync(path, { recursive: true, force: true });
  const counts = async () => assert.deepEqual(await countRows(server, 'target'), expected);
  const lifeboat = (...args) => [process.execPath, [MAIN, ...args, '--storage', stored, '--json']];
  return {
    backup: [
      {
        name: `pg_dump -Fd -j${jobs} -Z1`,
        command: ['pg_dump', ['-Fd', `-j${jobs}`, '-Z1', '-f', dumped, source]],
        prepare: clear(dumped),
        bytes: () => folderSize(dumped),
      },
      {
        name: `lifeboat backup --jobs ${jobs} --compression ${compression}`,
        command: lifeboat('backup', '--airflow', source, '--jobs', jobs, '--compression', compression),
        prepare: clear(stored),
        bytes: () => folderSize(stored),
      },
    ],
    restore: [
      {
        name: `pg_restore -j${jobs}, empty database`,
        command: ['pg_restore', [`-j${jobs}`, '-d', target, dumped]],
        prepare: () => newTarget(server, 'template0'),
        check: counts,
      },
      {
        name: 'lifeboat restore --clean, migrated database',
        command: lifeboat('restore', 'latest', '--airflow', target, '--clean', '--yes'),
        prepare: () => newTarget(server, 'fresh'),
        check: counts,
      },
    ],
  };
}

async function runOnce(server, contender) {
  await contender.prepare();
  await settle(server);
  const result = await measure(...contender.command);
  await contender.check?.();
  const bytes = contender.bytes?.();
  console.log(`  ${contender.name.padEnd(50)} ${result.seconds.toFixed(2)} s`);
  return { seconds: result.seconds, cpuSeconds: result.cpuSeconds, peakMb: result.peakMb, bytes };
}

/** All rounds: [{ kind, name, runs }], comparator before candidate in each pair. */
async function runRounds(server, folder) {
  const pairs = contenders(server, folder, await countRows(server, 'source'));
  const results = Object.entries(pairs).flatMap(([kind, pair]) =>
    pair.map((contender) => ({ kind, contender, runs: [] })),
  );
  for (let round = 0; round < rounds; round += 1) {
    console.log(`round ${round + 1} of ${rounds}`);
    for (const kind of Object.keys(pairs)) {
      const pair = results.filter((result) => result.kind === kind);
      if (round % 2 === 1) pair.reverse();
      for (const result of pair) result.runs.push(await runOnce(server, result.contender));
    }
  }
  return results.map(({ kind, contender, runs }) => ({ kind, name: contender.name, runs }));
}

/** Adds medians, and the ratios of a candidate to its comparator. */
function summarise(results) {
  return results.map((result, index) => {
    const of = (key) => median(result.runs.map((run) => run[key]));
    const summary = { seconds: of('seconds'), cpuSeconds: of('cpuSeconds'), peakMb: of('peakMb') };
    const bytes = result.runs[0].bytes;
    if (index % 2 === 0) return { ...result, ...summary, bytes };
    const comparator = results[index - 1];
    const pairs = result.runs.map((run, round) => run.seconds / comparator.runs[round].seconds);
    const ratio = summary.seconds / median(comparator.runs.map((run) => run.seconds));
    return { ...result, ...summary, bytes, ratio, pairs };
  });
}

function printTable(results) {
  const mb = (bytes) => (bytes === undefined ? '' : (bytes / 1e6).toFixed(1));
  const rows = results.map((result) => [
    result.name,
    result.seconds.toFixed(2),
    result.runs.map((run) => run.seconds.toFixed(2)).join(' '),
    result.ratio === undefined ? '1.00' : result.ratio.toFixed(2),
    (result.pairs ?? []).map((pair) => pair.toFixed(2)).join(' '),
    result.cpuSeconds.toFixed(2),
    result.peakMb.toFixed(0),
    mb(result.bytes),
  ]);
  const table = [
    ['', 'median s', 'runs s', 'ratio', 'pairs', 'client CPU s', 'peak MB', 'stored MB'],
    ...rows,
  ];
  const widths = table[0].map((_title, column) => Math.max(...table.map((row) => row[column].length)));
  for (const row of table) {
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    );
  }
}

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-bench-'));
const server = await startServer();
try {
  const started = performance.now();
  await buildDatabases(server, SCALE_SQL, Number(values.n));
  const databaseBytes = await databaseSize(server, 'source');
  const built = ((performance.now() - started) / 1000).toFixed(0);
  console.log(
    `${values.n} task instances, database ${(databaseBytes / 1e6).toFixed(0)} MB, built in ${built} s`,
  );
  const results = summarise(await runRounds(server, folder));
  const postgres = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' }).stdout.trim();
  const machine = { node: process.version, postgres, cpus: cpus().length, cpu: cpus()[0]?.model };
  console.log('');
  printTable(results);
  const report = {
    taskInstances: Number(values.n),
    databaseBytes,
    rounds,
    jobs: Number(jobs),
    machine,
    results,
  };
  if (values.json === undefined) console.log(`\n${JSON.stringify(report)}`);
  else writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
