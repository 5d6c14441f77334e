import { restPath } from '../../rest/path.ts';
import type { RestClient } from '../../rest/client.ts';
import { createDagRuns } from '../../rest/dag-runs.ts';
import { fits } from '../../rest/one.ts';
import { isoDate, isSince } from '../list-runs.ts';
import type { Manifest } from '../manifest.ts';
import type { RestHistoryPlan } from '../plans.ts';
import type { Gaps } from '../rest/gaps.ts';
import { type Journal, stepName } from './journal.ts';
import { newRunId, whyNotMade } from './plan-runs.ts';
import type { BackupReader, StoredRecord } from './records.ts';
import type { TargetDag } from './target.ts';
import { type RunFields, toRun, typeOf } from './unfinished.ts';

/** Which finished runs are made again in their final state, and into what. */
export interface HistoryWish {
  readonly manifest: Manifest;
  readonly reader: BackupReader;
  readonly client: RestClient;
  readonly dags: ReadonlyMap<string, TargetDag>;
  readonly isChosen: (dagId: string) => boolean;
  /** Milliseconds before the backup's moment. */
  readonly since?: number;
}

/** A finished run as it will be made again. */
export interface HistoryRun {
  readonly run: RunFields;
  /** Its id in the target. */
  readonly runId: string;
  readonly state: 'success' | 'failed';
  readonly endDate: string | null;
  readonly record: StoredRecord;
}

/** So many are one step of the journal: an entry for each would be an object in the storage for each. */
const STEP_RUNS = 100;

export interface HistoryStep {
  readonly name: string;
  readonly runs: readonly HistoryRun[];
}

/** Streams the backup's runs, in the order in which they are stored. */
async function* finishedRuns(
  { manifest, reader, client, dags, isChosen, since }: HistoryWish,
  onFound: () => void,
  gaps: Pick<Gaps, 'row'>,
): AsyncGenerator<HistoryRun, void, undefined> {
  const confType = typeOf(manifest, 'dag_run', 'conf');
  const start = Date.parse(manifest.snapshotTime) - (since ?? 0);
  for await (const record of reader.records('dag_run')) {
    const { state } = record;
    if ((state !== 'success' && state !== 'failed') || !isChosen(record.dag_id ?? '')) continue;
    if (since !== undefined && !isSince(record, start)) continue;
    onFound();
    const run = { ...toRun(record, confType), note: record.note ?? null };
    const runId = newRunId(run.runId);
    const reason = whyNotMade(run, client, dags.get(run.dagId)) ?? whyNotEnded(client, run.dagId, runId);
    if (reason !== undefined) gaps.row('dag_run', `${run.dagId}/${run.runId}`, reason);
    else yield { run, runId, state, endDate: isoDate(record.end_date), record };
  }
}

const TOO_LONG = 'its path is longer than InvokeRestApi takes; &via=web has no such limit';

/** One that could be made and not ended would run. */
function whyNotEnded(client: RestClient, dagId: string, runId: string): string | undefined {
  return fits(client, restPath('/dags/{dagId}/dagRuns/{runId}', { dagId, runId })) ? undefined : TOO_LONG;
}

/** The same every time: its name is made of the runs that are in it. */
export async function* historySteps(
  wish: HistoryWish,
  onFound: () => void,
  gaps: Pick<Gaps, 'row'>,
): AsyncGenerator<HistoryStep, void, undefined> {
  let runs: HistoryRun[] = [];
  const step = (): HistoryStep => ({
    name: stepName('history', ...runs.map(({ run, state }) => `${run.dagId}/${run.runId} ${state}`)),
    runs,
  });
  for await (const run of finishedRuns(wish, onFound, gaps)) {
    runs.push(run);
    if (runs.length < STEP_RUNS) continue;
    yield step();
    runs = [];
  }
  if (runs.length > 0) yield step();
}

export interface PlannedHistory {
  readonly wish: HistoryWish;
  readonly plan: RestHistoryPlan;
  readonly dagIds: readonly string[];
  /** Steps that were done once, and whose runs somebody has deleted since. */
  readonly gone: ReadonlySet<string>;
}

/** What will be made; nothing of the runs is kept. */
export async function planHistory(wish: HistoryWish, journal: Journal, gaps: Gaps): Promise<PlannedHistory> {
  const plan = { inBackup: 0, marks: 0, success: 0, failed: 0, renamed: 0, before: 0 };
  const dagIds = new Set<string>();
  const gone = new Set<string>();
  const found = (): void => void (plan.inBackup += 1);
  for await (const { name, runs } of historySteps(wish, found, gaps)) {
    if (journal.get(name)?.state === 'done') {
      if (await isThere(wish.client, runs)) {
        plan.before += runs.length;
        continue;
      }
      gone.add(name);
    }
    for (const { run, runId, state } of runs) {
      plan.marks += 1;
      plan[state] += 1;
      if (run.runId !== runId) plan.renamed += 1;
      dagIds.add(run.dagId);
    }
  }
  return { wish, plan, dagIds: [...dagIds], gone };
}

/** The first of them stands for all: a cleanup of the target deletes every one, and a request for each would be what making them costs. */
async function isThere(client: RestClient, [first]: readonly HistoryRun[]): Promise<boolean> {
  if (first === undefined) return true;
  return (await createDagRuns(client).get(first.run.dagId, first.runId)) !== undefined;
}
