import { allRows, pages, type Row } from '../../rest/pages.ts';
import { listOf, together, writeRecords, type Reading } from './reading.ts';
import { readWhole, triesOf } from './read-run.ts';
import { keyOfRun, nameOfRun, readTasks, type RunKey } from './read-tasks.ts';
import { xcomPages } from './read-xcoms.ts';
import { createRunIndex, type RunIndex } from './run-index.ts';

/** What became of runs while they were read. */
export interface RunsRead {
  /** Unfinished ones by state, as they are in the backup. */
  readonly unfinished: Readonly<Record<string, number>>;
  /** Of them, runs of a backfill. */
  readonly backfillRuns: number;
  readonly unfinishedTasks: Readonly<Record<string, number>>;
  /** DAGs with runs of a backfill. */
  readonly backfilled: readonly string[];
  /** Runs that changed each time they were read; the backup has them as they were at the last. */
  readonly restless: readonly string[];
  /** Runs that were read as ended, and cleared or changed by somebody after that. */
  readonly changed: readonly string[];
}

/** Two clocks; whatever changed shortly before is looked at once more, which costs little. */
const MARGIN_MS = 5 * 60_000;

/**
 * Runs with what hangs on them. The API has no snapshot: reading takes minutes or hours. Runs that have ended come first,
 * since they hardly change; those under way, and those that came meanwhile, are read at the end, each one within moments,
 * and again when something of it changed between its first and its last request.
 */
export async function readRuns(reading: Reading, from: Date, xcomsOfEnded: boolean): Promise<RunsRead> {
  const index = createRunIndex(reading.client.dialect.api);
  const tally = createTally();
  const later = await readEnded(reading, index, tally);
  if (xcomsOfEnded && reading.tables.has('xcom')) await readXcoms(reading, index);
  const changed: string[] = [];
  for (const run of await runsChangedSince(reading, new Date(from.getTime() - MARGIN_MS))) {
    const key = keyOfRun(run);
    if (!index.has(key)) later.set(nameOfRun(key), key);
    // What ended just before was read as it is now; only a run that is not ended any more was cleared.
    else if (!hasEnded(run)) changed.push(nameOfRun(key));
  }
  const restless: string[] = [];
  await together([...later.values()], async (key) => {
    const whole = await readWhole(reading, key);
    if (whole === undefined) return;
    if (!whole.still) restless.push(nameOfRun(key));
    tally.add(whole.run, whole.tasks);
    await write(reading, 'dag_run', [whole.run]);
    await write(reading, 'task_instance', whole.tasks);
    await write(reading, 'task_instance_history', whole.tries);
    await write(reading, 'xcom', whole.xcoms);
  });
  return { ...tally.counts(), restless, changed };
}

/** Runs that have ended, page by page with their tasks; what it gives back are the others. */
async function readEnded(reading: Reading, index: RunIndex, tally: Tally): Promise<Map<string, RunKey>> {
  const { client, tables } = reading;
  const dagRuns = listOf(reading, 'dagRuns', 'dag_run');
  const later = new Map<string, RunKey>();
  for await (const { rows } of pages(client, { ...dagRuns, path: `${dagRuns.path}/list`, form: {} })) {
    const ended = rows.filter(hasEnded);
    for (const run of rows) {
      const key = keyOfRun(run);
      if (hasEnded(run)) index.add(key);
      else later.set(nameOfRun(key), key);
    }
    for (const run of ended) tally.add(run, []);
    await write(reading, 'dag_run', ended);
    if (!tables.has('task_instance') && !tables.has('task_instance_history')) continue;
    const tasks = await readTasks(reading, ended.map(keyOfRun));
    await write(reading, 'task_instance', tasks);
    if (tables.has('task_instance_history')) {
      await write(reading, 'task_instance_history', await triesOf(reading, tasks));
    }
  }
  return later;
}

async function readXcoms(reading: Reading, index: RunIndex): Promise<void> {
  for await (const rows of xcomPages(reading, (xcom) => index.ofXcom(xcom))) {
    await write(reading, 'xcom', rows);
  }
}

/** New runs are among them: to be made is a change. */
async function runsChangedSince(reading: Reading, since: Date): Promise<readonly Row[]> {
  const { client } = reading;
  const dagRuns = listOf(reading, 'dagRuns', 'dag_run');
  const from = since.toISOString();
  if (client.offers('runsUpdatedSince')) {
    return allRows(client, { ...dagRuns, query: { updated_at_gte: from } });
  }
  // 2.5 knows when a run started and ended; one that is queued has done neither.
  const forms = [{ start_date_gte: from }, { end_date_gte: from }, { states: ['queued', 'running'] }];
  const found = await together(forms, (form) =>
    allRows(client, { ...dagRuns, path: `${dagRuns.path}/list`, form }),
  );
  return found.flat();
}

async function write(reading: Reading, name: string, records: readonly Row[]): Promise<void> {
  const table = reading.tables.get(name);
  if (table !== undefined) await writeRecords(table, records);
}

const FINAL: readonly unknown[] = ['success', 'failed'];

function hasEnded({ state }: Row): boolean {
  return FINAL.includes(state);
}

interface Tally {
  add(run: Row, tasks: readonly Row[]): void;
  counts(): Pick<RunsRead, 'unfinished' | 'backfillRuns' | 'unfinishedTasks' | 'backfilled'>;
}

const TASK_FINAL: readonly unknown[] = ['success', 'failed', 'skipped', 'upstream_failed', 'removed', null];

function createTally(): Tally {
  const unfinished: Record<string, number> = {};
  const unfinishedTasks: Record<string, number> = {};
  const backfilled = new Set<string>();
  let backfillRuns = 0;
  const count = (counts: Record<string, number>, state: unknown): void => {
    const name = String(state);
    counts[name] = (counts[name] ?? 0) + 1;
  };
  return {
    add(run, tasks) {
      const backfill = run.run_type === 'backfill';
      if (backfill) backfilled.add(String(run.dag_id));
      if (hasEnded(run)) return;
      count(unfinished, run.state);
      if (backfill) backfillRuns += 1;
      for (const task of tasks) if (!TASK_FINAL.includes(task.state)) count(unfinishedTasks, task.state);
    },
    counts: () => ({ unfinished, backfillRuns, unfinishedTasks, backfilled: [...backfilled] }),
  };
}
