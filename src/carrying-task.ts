import type { CarryingTask, RunName } from './engine/api.ts';
import { LifeboatError } from './errors.ts';

/**
 * The Airflow task that this process runs in, or undefined. Every operator's process has these three from 2.5 on; the
 * BashOperator hands them to its commands too. The map index is not among them.
 * Source: airflow/utils/operator_helpers.py (context_to_airflow_vars), the same names in 2.5.1 to 2.11.0.
 */
export function resolveCarryingTask(
  env: Readonly<Record<string, string | undefined>>,
): CarryingTask | undefined {
  const dagId = env.AIRFLOW_CTX_DAG_ID ?? '';
  const runId = env.AIRFLOW_CTX_DAG_RUN_ID ?? '';
  const taskId = env.AIRFLOW_CTX_TASK_ID ?? '';
  return dagId === '' || runId === '' || taskId === '' ? undefined : { dagId, runId, taskId };
}

/**
 * DAG_ID/RUN_ID, cut at the first slash: a DAG id has letters, digits, '-', '_' and '.' only, a run id may have slashes
 * and colons. Source: airflow/utils/helpers.py (validate_key), 2.5.1 to 2.11.0.
 */
export function parseRunName(text: string, flag: string): RunName {
  const slash = text.indexOf('/');
  const dagId = text.slice(0, Math.max(slash, 0)).trim();
  const runId = text.slice(slash + 1).trim();
  if (dagId !== '' && runId !== '') return { dagId, runId };
  throw new LifeboatError('usage', `${flag} ${text} does not name a run.`, {
    next: 'Write DAG_ID/RUN_ID, such as nightly_restore/manual__2026-11-21T01:30:00+00:00.',
  });
}
