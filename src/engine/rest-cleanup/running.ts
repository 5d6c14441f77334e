import type { RestClient } from '../../rest/client.ts';
import { isRestError } from '../../rest/errors.ts';
import type { Row } from '../../rest/pages.ts';
import type { RunName } from '../api.ts';
import type { Blocker } from '../plans.ts';
import { notWaitingFor500 } from '../rest-restore/refusal.ts';
import type { RunningTasks } from '../running-tasks.ts';

/** As in running-tasks.ts: an executor or a worker knows of them. */
const AT_WORK: readonly string[] = ['running', 'queued', 'restarting'];
/** One page: more names help nobody. */
const SHOWN = 100;

const LIST_FAILS: Blocker = {
  code: 'running-unknown',
  message: 'Whether tasks are running is not known: the API fails at their list (500).',
  next: 'The log of its API server says why. Where no worker is alive any more, add --ignore-running.',
};

/** Tasks at work in runs that are about to be deleted. Where there are more than a page, those of runs that stay may be among the count. */
export async function findRunning(
  client: RestClient,
  stays: (run: RunName) => boolean,
): Promise<{ readonly tasks: RunningTasks; readonly blockers: readonly Blocker[] }> {
  try {
    const { body } = await notWaitingFor500(client).send({
      method: 'GET',
      path: '/dags/~/dagRuns/~/taskInstances',
      query: { state: AT_WORK, limit: SHOWN },
    });
    const { task_instances: rows, total_entries: total } = body as {
      task_instances: readonly Row[];
      total_entries: number;
    };
    const going = rows.filter((row) => !stays(runOf(row)));
    const beyond = Math.max(0, total - rows.length);
    return { tasks: { count: going.length + beyond, names: going.map(nameOf) }, blockers: [] };
  } catch (thrown) {
    if (isRestError(thrown, 500)) return { tasks: { count: 0, names: [] }, blockers: [LIST_FAILS] };
    throw thrown;
  }
}

function runOf(task: Row): RunName {
  return { dagId: String(task.dag_id), runId: String(task.dag_run_id) };
}

function nameOf(task: Row): string {
  const { dagId, runId } = runOf(task);
  const index = Number(task.map_index ?? -1);
  return `${dagId}.${String(task.task_id)}${index >= 0 ? `[${index}]` : ''}, run ${runId} (${String(task.state)})`;
}
