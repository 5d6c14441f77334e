// Lifeboat beside pg_dump, pg_restore and psql's \copy, on 1,000,000 task instances:
//
//   npm run bench -- [--n 1000000] [--rounds 3] [--jobs 2] [--only backup|restore] [--skip TEXT …]
//                    [--zstd-node PATH] [--s3 s3://bucket/prefix] [--postgres FOLDER] [--json results.json] [--write]
//
// Needs psql, pg_dump and pg_restore of version 15 or newer on PATH, about 15 GB of temporary space, and gen_scale.sql
// (AIRFLOW_SCALE_SQL, else shared/fixtures beside the checkout). One round runs every command once, the order turning
// from round to round, with a checkpoint and a sync before each: single runs differ too much to be compared otherwise.
// zstd is measured when the running Node has it, or with the one that --zstd-node names. S3: any server that AWS_* in
// the environment reaches. --postgres names a folder with bin/postgres and bin/initdb, such as /usr/lib/postgresql/15: the
// embedded server, an old compiler's work, formats CSV a third slower than text, where others do both alike. --write puts the tables into docs/performance.md.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as zlib from 'node:zlib';
import { contenders } from './contenders.mjs';
import { buildDatabases, databaseSize, serverVersion, settle, startServer } from './database.mjs';
import { measure } from './measure.mjs';
import { liveLines, machine, markdownTable, summarise, textTable } from './report.mjs';

const SCALE_SQL =
  process.env.AIRFLOW_SCALE_SQL ??
  fileURLToPath(new URL('../../shared/fixtures/gen_scale.sql', import.meta.url));
const PAGE = new URL('../docs/performance.md', import.meta.url);

const { values } = parseArgs({
  options: {
    n: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    jobs: { type: 'string', default: '2' },
    only: { type: 'string' },
    skip: { type: 'string', multiple: true, default: [] },
    'zstd-node': { type: 'string' },
    s3: { type: 'string' },
    postgres: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const nodeWithZstd = values['zstd-node'] ?? ('createZstdCompress' in zlib ? process.execPath : undefined);

for (const tool of ['psql', 'pg_dump', 'pg_restore']) {
  assert(spawnSync(tool, ['--version']).status === 0, `${tool} is not on PATH: install postgresql-client.`);
}
assert(existsSync(SCALE_SQL), `There is no ${SCALE_SQL}: set AIRFLOW_SCALE_SQL.`);

/** Long enough for the exchange and the end of the process, too short for anything else. */
const EXCHANGE_MS = 1500;

async function runOnce(server, contender) {
  await contender.prepare();
  await settle(server);
  const clients = await contender.during?.();
  const result = await measure(...contender.command);
  // The exchange is in the last moments of the command.
  const live = await clients?.stop(performance.now() - EXCHANGE_MS);
  await contender.check?.();
  const run = {
    seconds: result.seconds,
    cpuSeconds: result.cpuSeconds,
    peakMb: result.peakMb,
    bytes: contender.bytes?.(),
  };
  const line = `  ${contender.name.padEnd(50)} ${result.seconds.toFixed(2)} s`;
  if (!live) {
    console.log(line);
    return run;
  }
  const summary = JSON.parse(result.stdout.trim().split('\n').at(-1));
  const heldMs = (summary.loaded?.locks ?? summary.locks).heldSeconds * 1000;
  const longest = Math.max(...Object.values(live.longestMs));
  console.log(
    `${line}, locks held ${heldMs.toFixed(0)} ms, longest wait ${live.exchangeMs.toFixed(0)} ms then, ${longest.toFixed(0)} ms ever`,
  );
  return { ...run, live: { ...live, heldMs } };
}

/** All rounds: kind → [{ kind, name, runs }]. */
async function runRounds(server, kinds) {
  const results = Object.entries(kinds).map(([kind, all]) =>
    all.map((contender) => ({ kind, name: contender.name, contender, runs: [] })),
  );
  for (let round = 0; round < rounds; round += 1) {
    console.log(`round ${round + 1} of ${rounds}`);
    for (const all of results) {
      const turned = round % 2 === 1 ? all.toReversed() : all;
      for (const result of turned) result.runs.push(await runOnce(server, result.contender));
    }
  }
  return results;
}

/** What was asked for; a restore needs the backups of its round's first half. */
function chosen(kinds) {
  const wanted = Object.entries(kinds).map(([kind, all]) => [
    kind,
    all.filter(({ name }, at) => at === 0 || !values.skip.some((text) => name.includes(text))),
  ]);
  return Object.fromEntries(wanted.filter(([kind]) => kind === 'backup' || values.only !== 'backup'));
}

function writePage(report) {
  const page = readFileSync(PAGE, 'utf8');
  const { cpu, memoryGb, node, nodeForZstd, postgres, server: version } = report.machine;
  const lines = [
    `${report.taskInstances.toLocaleString('en')} task instances, ${(report.databaseBytes / 1e6).toFixed(0)} MB in PostgreSQL; ` +
      `${report.rounds} rounds; ${report.machine.date}. ${cpu}, ${memoryGb} GB; ${version}; ${postgres}; Node ${node}` +
      `${nodeForZstd && nodeForZstd !== node ? `, for zstd ${nodeForZstd}` : ''}.`,
    ...report.results.flatMap((results) => ['', ...markdownTable(results)]),
    ...report.results.flatMap(liveLines).flatMap((line) => ['', line]),
  ];
  const [begin, end] = ['<!-- bench: begin -->', '<!-- bench: end -->'];
  const [head, rest] = [page.split(begin)[0], page.split(end)[1]];
  writeFileSync(PAGE, `${head}${begin}\n\n${lines.join('\n')}\n\n${end}${rest}`);
}

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-bench-'));
const server = await startServer(values.postgres);
try {
  const started = performance.now();
  await buildDatabases(server, SCALE_SQL, Number(values.n));
  const databaseBytes = await databaseSize(server, 'source');
  const built = ((performance.now() - started) / 1000).toFixed(0);
  console.log(
    `${values.n} task instances, database ${(databaseBytes / 1e6).toFixed(0)} MB, built in ${built} s`,
  );
  const options = { jobs: values.jobs, nodeWithZstd, s3: values.s3 };
  const kinds = chosen(await contenders(server, folder, options));
  const results = (await runRounds(server, kinds)).map(summarise);
  for (const kind of results) console.log(`\n${textTable(kind).join('\n')}`);
  for (const line of results.flatMap(liveLines)) console.log(line);
  const date = new Date().toISOString().slice(0, 10);
  const report = {
    taskInstances: Number(values.n),
    databaseBytes,
    rounds,
    jobs: Number(values.jobs),
    machine: { ...machine(nodeWithZstd), server: await serverVersion(server), date },
    results,
  };
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
  if (values.write) writePage(report);
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
