import { openAirflow } from '../../src/index.ts';
import { query } from './environment.ts';
import type { LabHome } from './lab.ts';

/** A DAG of dags/lifeboat_latest.py, which the source had let go. */
export const LATEST = 'lifeboat_latest';

/** Of a DAG that both have and that is paused: a run with dates, a conf and a note, asked for as people do. */
const DATED = {
  dag_run_id: 'dated',
  logical_date: '2024-02-29T12:00:00.123456+00:00',
  data_interval_start: '2024-02-28T12:00:00+00:00',
  data_interval_end: '2024-02-29T12:00:00+00:00',
  conf: { q: 'ü \\N', n: 2.5, list: [1, null, { k: '' }] },
  note: 'asked for by\nsomebody ü',
} as const;

/** Of a DAG with catchup: the last of its scheduled runs is under way. */
const SCHEDULED = `dag_id = 'lab_catchup' AND run_id LIKE 'scheduled\\_\\_2024-01-03%'`;

/** Waits behind another one; here it has tasks that had ended and left no XCom. */
export const BEHIND = `dag_id = 'lab_inflight' AND run_id = 'lab_inflight_2'`;

/** What airflow-lab's data lacks: finished tasks without XComs, DAGs and unfinished runs with a schedule. */
export async function addUnfinished(
  at: LabHome,
  url: string,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const like = JSON.stringify({ dag_id: LATEST, is_paused: false });
  await query(
    at,
    `INSERT INTO dag SELECT (jsonb_populate_record(d, '${like}')).* FROM dag d WHERE dag_id = 'lab_catchup';
     UPDATE task_instance SET state = 'success' WHERE ${BEHIND} AND task_id = 'done';
     UPDATE task_instance SET state = 'skipped' WHERE ${BEHIND} AND task_id = 'up_for_retry';
     UPDATE dag_run SET state = 'running', end_date = NULL WHERE ${SCHEDULED};
     UPDATE task_instance SET state = NULL, start_date = NULL, end_date = NULL WHERE ${SCHEDULED};
     DELETE FROM xcom WHERE ${SCHEDULED}`,
  );
  const airflow = await openAirflow(url, { env });
  const { dag_run_id, logical_date, conf, note, ...interval } = DATED;
  await airflow.dagRuns.trigger('lab_paused', {
    ...{ dag_run_id, logical_date, conf },
    ...(airflow.client.offers('runInterval') ? interval : {}),
  });
  // 2.5 takes no note with a new run.
  await airflow.dagRuns.patch('lab_paused', dag_run_id, { note });
  airflow.close();
}
