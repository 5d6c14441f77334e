import { compareMinors } from '../../versions/minors.ts';
import type { Minor } from '../../tables/spec.ts';
import type { ForeignTable, Row } from './foreign.ts';

/** What a DAG that the target has not parsed needs besides its name; its parser overwrites all of it (Airflow's defaults). */
const FILLED: readonly { readonly column: string; readonly value: string; readonly since?: Minor }[] = [
  { column: 'is_subdag', value: 'f' },
  { column: 'is_active', value: 'f' },
  { column: 'max_active_tasks', value: '16' },
  { column: 'max_active_runs', value: '16' },
  { column: 'max_consecutive_failed_dag_runs', value: '0', since: '2.9' },
  { column: 'has_task_concurrency_limits', value: 'f' },
  { column: 'has_import_errors', value: 'f' },
];

/**
 * The `dag` table that mwaa_dr does not store: a row with the pause state for every DAG that was unpaused or has runs.
 * The columns of the next run are absent, so that a restore leaves those of the target alone.
 */
export function dagTable(
  minor: Minor,
  dagIds: () => ReadonlySet<string>,
  unpaused: ReadonlySet<string>,
): ForeignTable {
  const filled = FILLED.filter(({ since }) => since === undefined || compareMinors(minor, since) >= 0);
  return {
    name: 'dag',
    columns: ['dag_id', 'is_paused', ...filled.map(({ column }) => column)],
    // eslint-disable-next-line @typescript-eslint/require-await -- tables are read as streams
    rows: async function* () {
      for (const dagId of [...new Set([...unpaused, ...dagIds()])].sort()) {
        const row: Row = { dag_id: dagId, is_paused: unpaused.has(dagId) ? 'f' : 't' };
        for (const { column, value } of filled) row[column] = value;
        yield row;
      }
    },
  };
}
