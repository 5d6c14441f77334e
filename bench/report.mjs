// From measured runs to a table: medians, and ratios to the first of each kind.
import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { median } from './measure.mjs';

/** Runs of one kind, the comparator first: adds medians, the ratio of medians and those of the pairs. */
export function summarise(results) {
  const [comparator] = results;
  return results.map((result) => {
    const of = (key) => median(result.runs.map((run) => run[key]));
    const summary = { seconds: of('seconds'), cpuSeconds: of('cpuSeconds'), peakMb: of('peakMb') };
    const bytes = result.runs[0].bytes;
    const waits = result.runs.flatMap(({ live }) => (live ? [live] : []));
    return {
      kind: result.kind,
      name: result.name,
      runs: result.runs,
      ...summary,
      bytes,
      ratio: summary.seconds / median(comparator.runs.map((run) => run.seconds)),
      pairs: result.runs.map((run, round) => run.seconds / comparator.runs[round].seconds),
      ...(waits.length === 0 ? {} : { live: summariseLive(waits) }),
    };
  });
}

function summariseLive(runs) {
  const longest = (run) => Math.max(...Object.values(run.longestMs));
  return {
    longestMs: runs.map((run) => Math.round(longest(run))),
    exchangeMs: runs.map((run) => Math.round(run.exchangeMs)),
    heldMs: runs.map((run) => Math.round(run.heldMs)),
    errors: runs.flatMap((run) => run.errors),
    missing: runs.flatMap((run) => run.missing),
  };
}

export function machine(nodeWithZstd) {
  const version = (file, args) => spawnSync(file, args, { encoding: 'utf8' }).stdout.trim();
  return {
    cpu: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
    memoryGb: Math.round(totalmem() / 1e9),
    node: process.version,
    nodeForZstd: nodeWithZstd ? version(nodeWithZstd, ['--version']) : null,
    postgres: version('pg_dump', ['--version']),
  };
}

const fixed = (value, digits) => value.toFixed(digits);

function cells(result) {
  return [
    result.name,
    fixed(result.seconds, 1),
    result.runs.map((run) => fixed(run.seconds, 1)).join(' '),
    fixed(result.ratio, 2),
    result.pairs.map((pair) => fixed(pair, 2)).join(' '),
    fixed(result.cpuSeconds, 1),
    fixed(result.peakMb, 0),
    result.bytes === undefined ? '' : fixed(result.bytes / 1e6, 0),
  ];
}

const TITLES = ['', 'median s', 'runs s', 'ratio', 'pairs', 'client CPU s', 'peak RSS MB', 'stored MB'];

/** Lines of a table as Markdown. */
export function markdownTable(results) {
  const line = (row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(TITLES), line(TITLES.map(() => '---')), ...results.map((result) => line(cells(result)))];
}

/** Lines of a table for a terminal. */
export function textTable(results) {
  const table = [TITLES, ...results.map(cells)];
  const widths = TITLES.map((_title, column) => Math.max(...table.map((row) => row[column].length)));
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
}

export function liveLines(results) {
  return results.flatMap(({ name, live }) =>
    live
      ? [
          `${name}: tables locked for ${live.heldMs.join(', ')} ms; longest wait of a client then ${live.exchangeMs.join(', ')} ms, ever ${live.longestMs.join(', ')} ms; ` +
            `${live.errors.length} errors, ${live.missing.length} rows or changes missing afterwards.`,
          ...live.errors.slice(0, 5),
          ...live.missing.slice(0, 5),
        ]
      : [],
  );
}
