import type { RestClient } from '../../rest/client.ts';
import { fits } from '../../rest/one.ts';
import { restPath } from '../../rest/path.ts';
import type { InFlightPolicy, RestRunsPlan } from '../plans.ts';
import type { Gaps } from '../rest/gaps.ts';
import type { TargetDag } from './target.ts';
import type { RunFields, StoredTask, StoredXcom, UnfinishedRun } from './unfinished.ts';

export type PlannedXcom = StoredXcom & { readonly mapIndex: number };

/** An unfinished run as it will be made again. */
export interface PlannedRun {
  readonly run: UnfinishedRun;
  /** Its id in the target. */
  readonly runId: string;
  /** Finished tasks, in the order in which their states are set. */
  readonly finished: readonly StoredTask[];
  readonly xcoms: readonly PlannedXcom[];
  /** Tasks that had ended and run again all the same: their XComs cannot be written. */
  readonly again: readonly StoredTask[];
}

/** Ids of these forms are the scheduler's: Airflow refuses them for a run that is asked for. */
const RESERVED = /^(scheduled|backfill|asset_triggered|dataset_triggered|asset_materialization)__/;
const RUN_ID_LENGTH = 250;

export function newRunId(runId: string): string {
  return RESERVED.test(runId) ? `restored__${runId}`.slice(0, RUN_ID_LENGTH) : runId;
}

export interface RunsWish {
  readonly policy: InFlightPolicy;
  readonly client: RestClient;
  readonly dags: ReadonlyMap<string, TargetDag>;
}

const NOT_PARSED = 'the target has not parsed its DAG; deploy the file, and run the restore again';
const CARRIES = 'its DAG carries backups or restores, whose runs do not go on after one';
const NO_CONF = 'its conf is nothing that JSON can hold';
const EXCLUDED = 'it had not ended (--in-flight exclude)';
const TOO_LONG = 'paths of its tasks are longer than InvokeRestApi takes; &via=web has no such limit';
const NO_DATE = 'it has no logical date, and Airflow 2 has no such runs';

/** Pure: which runs are made again, what of their tasks is set, and what not. */
export function planRuns(
  runs: readonly UnfinishedRun[],
  { policy, client, dags }: RunsWish,
  gaps: Gaps,
): { readonly plan: RestRunsPlan; readonly planned: readonly PlannedRun[] } {
  const planned: PlannedRun[] = [];
  for (const run of runs) {
    const one = planOne(run, client);
    const reason = policy === 'exclude' ? EXCLUDED : whyNot(one, client, dags.get(run.dagId));
    if (reason === undefined) planned.push(one);
    else gaps.row('dag_run', `${run.dagId}/${run.runId}`, reason);
  }
  const sum = (count: (one: PlannedRun) => number): number =>
    planned.reduce((total, one) => total + count(one), 0);
  return {
    planned,
    plan: {
      policy,
      inBackup: runs.length,
      restores: planned.length,
      renamed: planned.filter(({ run, runId }) => run.runId !== runId).length,
      finishedTasks: sum(({ finished }) => finished.length),
      xcoms: sum(({ xcoms }) => xcoms.length),
      tasksAgain: planned.flatMap(({ run, again }) =>
        again.map(({ taskId, mapIndex }) => taskLabel(run, taskId, mapIndex)),
      ),
      withoutInterval: client.offers('runInterval') ? 0 : sum(({ run }) => (run.interval === null ? 0 : 1)),
    },
  };
}

export function taskLabel({ dagId, runId }: UnfinishedRun, taskId: string, mapIndex: number): string {
  return `${dagId}/${runId}/${taskId}${mapIndex < 0 ? '' : `[${mapIndex}]`}`;
}

function planOne(run: UnfinishedRun, client: RestClient): PlannedRun {
  const settable = client.offers('setSkipped') ? ['success', 'skipped', 'failed'] : ['success', 'failed'];
  const ended = run.tasks.filter(({ state }) => ['success', 'skipped', 'failed'].includes(state ?? ''));
  const xcomsOf = ({ taskId, mapIndex }: StoredTask): readonly PlannedXcom[] =>
    run.xcoms
      .filter((xcom) => xcom.taskId === taskId && (xcom.mapIndex ?? mapIndex) === mapIndex)
      .map((xcom) => ({ ...xcom, mapIndex }));
  const isWhole = (task: StoredTask): boolean =>
    settable.includes(task.state ?? '') &&
    xcomsOf(task).every(({ value, key, taskId }) => {
      if (value === undefined || key === '' || !client.offers('writeXcom')) return false;
      return fits(client, taskPath(run, newRunId(run.runId), taskId, '/xcomEntries'));
    });
  const finished = ended.filter(isWhole).sort(byState);
  return {
    run,
    runId: newRunId(run.runId),
    finished,
    xcoms: finished.flatMap(xcomsOf),
    again: ended.filter((task) => !finished.includes(task)),
  };
}

/**
 * Failed ones last, each after those that began before it: setting a state clears what failed behind it in the graph, and a
 * failure that is set too early would be cleared again.
 */
export function byState(a: StoredTask, b: StoredTask): number {
  const late = (task: StoredTask): number => (task.state === 'failed' ? 1 : 0);
  const began = (task: StoredTask): string => task.startDate ?? '';
  return late(a) - late(b) || (began(a) < began(b) ? -1 : began(a) > began(b) ? 1 : 0);
}

/** Path of a task of a restored run, or of something of it. */
export function taskPath({ dagId }: RunFields, runId: string, taskId: string, rest = ''): string {
  return restPath(`/dags/{dagId}/dagRuns/{runId}/taskInstances/{taskId}${rest}`, { dagId, runId, taskId });
}

function whyNot(one: PlannedRun, client: RestClient, dag: TargetDag | undefined): string | undefined {
  const { run, runId, finished } = one;
  const tasks = finished.map(({ taskId, mapIndex }) =>
    taskPath(run, runId, taskId, mapIndex < 0 ? '' : `/${mapIndex}`),
  );
  return whyNotMade(run, client, dag) ?? (tasks.every((path) => fits(client, path)) ? undefined : TOO_LONG);
}

/** Why Airflow would not make such a run, whatever becomes of its tasks. */
export function whyNotMade(
  run: RunFields,
  client: RestClient,
  dag: TargetDag | undefined,
): string | undefined {
  if (dag === undefined) return NOT_PARSED;
  if (dag.carries) return CARRIES;
  if (typeof run.conf !== 'object' || run.conf === null || Array.isArray(run.conf)) return NO_CONF;
  if (client.dialect.api === 'v1' && run.logicalDate === null) return NO_DATE;
  return fits(client, restPath('/dags/{dagId}/dagRuns', { dagId: run.dagId })) ? undefined : TOO_LONG;
}
