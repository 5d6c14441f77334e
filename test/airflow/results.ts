import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** What one release's proof has counted. */
export interface Counts {
  /** Finished runs, task instances and XComs that were compared, and found as they were. */
  readonly runs: number;
  readonly tasks: number;
  readonly xcoms: number;
  /** Unfinished ones of the backup that ended in the target. */
  readonly resumedRuns: number;
  readonly resumedTasks: number;
  /** Milliseconds that the restore took while the target worked. */
  readonly restoreMs: number;
}

type Result = Counts & { readonly release: string };

const PAGE = fileURLToPath(new URL('../../docs/fidelity.md', import.meta.url));
const BEGIN = '<!-- results: AIRFLOW_RECORD=1 npm run test:airflow:all -->\n';
const END = '<!-- end of results -->';

/** Appends what a release has shown, once all its tests have passed, to the file of this run: one JSON object a line. */
export async function record(release: string, counts: Counts): Promise<void> {
  const result: Result = { release, ...counts };
  console.log(JSON.stringify(result));
  const file = process.env.AIRFLOW_RESULTS;
  if (file !== undefined) await appendFile(file, `${JSON.stringify(result)}\n`);
}

/** Writes the results of a run into docs/fidelity.md; every release that was asked for must have one. */
export async function writeResults(file: string, releases: readonly string[]): Promise<void> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');
  const results = new Map(lines.map((line) => JSON.parse(line) as Result).map((one) => [one.release, one]));
  const missing = releases.filter((release) => !results.has(release));
  if (missing.length > 0) {
    throw new Error(`docs/fidelity.md stays as it is: no result of ${missing.join(', ')}.`);
  }
  const page = await readFile(PAGE, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error('docs/fidelity.md has no place for results.');
  const table = releases.flatMap((release) => results.get(release) ?? []).map(tableRow);
  const head = [
    '| Airflow | finished, compared: runs | task instances | XComs | unfinished, ended: runs | task instances | restore |',
    '|---|---|---|---|---|---|---|',
  ];
  const text = [...head, ...table].join('\n');
  await writeFile(PAGE, `${page.slice(0, begin + BEGIN.length)}\n${text}\n\n${page.slice(end)}`);
}

const tableRow = (one: Result): string =>
  `| ${one.release} | ${one.runs} | ${one.tasks} | ${one.xcoms} | ${one.resumedRuns} | ${one.resumedTasks} | ${(one.restoreMs / 1000).toFixed(1)} s |`;
