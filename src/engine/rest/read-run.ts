import { fits, getOne } from '../../rest/one.ts';
import { allRows, type Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import { hasTries, nameOfRun, readTasks, readTries, type RunKey } from './read-tasks.ts';
import { listOf, together, type Reading } from './reading.ts';
import { xcomsOf } from './read-xcoms.ts';

/** A run with everything that hangs on it. */
export interface WholeRun {
  readonly run: Row;
  readonly tasks: readonly Row[];
  readonly tries: readonly Row[];
  readonly xcoms: readonly Row[];
  /** Nothing of it changed while it was read. */
  readonly still: boolean;
}

/** A run that may still change is read so often, until nothing of it changes meanwhile. */
const ROUNDS = 3;

/** Undefined: it is gone. */
export async function readWhole(reading: Reading, key: RunKey): Promise<WholeRun | undefined> {
  let before = await stateOf(reading, key);
  for (let round = 1; ; round++) {
    if (before === undefined) return undefined;
    const tries = reading.tables.has('task_instance_history') ? await triesOf(reading, before.tasks) : [];
    const xcoms = reading.tables.has('xcom') ? await xcomsOf(reading, key) : [];
    const after = await stateOf(reading, key);
    const still = JSON.stringify(before) === JSON.stringify(after);
    if (still || round === ROUNDS) return { ...(after ?? before), tries, xcoms, still };
    reading.ctx.signal.throwIfAborted();
    before = after;
  }

  async function stateOf(
    { tables }: Reading,
    run: RunKey,
  ): Promise<{ readonly run: Row; readonly tasks: readonly Row[] } | undefined> {
    const found = await findRun(reading, run);
    if (found === undefined) return undefined;
    return { run: found, tasks: needsTasks(tables) ? await readTasks(reading, [run]) : [] };
  }
}

/** By its path, or where that is too long among the runs of its DAG. */
async function findRun(reading: Reading, { dagId, runId }: RunKey): Promise<Row | undefined> {
  const { client } = reading;
  const path = restPath('/dags/{dagId}/dagRuns/{runId}', { dagId, runId });
  if (fits(client, path)) return (await getOne(client, path, true)) as Row | undefined;
  const dagRuns = listOf(reading, 'dagRuns', 'dag_run');
  const unfinished = { ...dagRuns, path: `${dagRuns.path}/list`, form: { dag_ids: [dagId] } };
  return (await allRows(client, unfinished)).find((row) => row.dag_run_id === runId);
}

function needsTasks(tables: Reading['tables']): boolean {
  return tables.has('task_instance') || tables.has('task_instance_history');
}

/** The earlier tries of these tasks; of those whose path is too long the names are kept. */
export async function triesOf(reading: Reading, tasks: readonly Row[]): Promise<readonly Row[]> {
  const { client, gaps } = reading;
  const all = await together(tasks.filter(hasTries), async (task) => {
    const found = await readTries(client, task);
    if ('rows' in found) return found.rows;
    const { dag_id: dagId, dag_run_id: runId, task_id: taskId } = task;
    const name = `${nameOfRun({ dagId: String(dagId), runId: String(runId), logicalDate: null })}/${String(taskId)}`;
    gaps.row('task_instance_history', name, found.lost);
    return [];
  });
  return all.flat();
}
