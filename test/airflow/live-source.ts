import { freezeParentOf, startAirflow } from './processes.ts';
import type { Components } from './processes.ts';
import { letGo, putDags } from './dag-files.ts';
import { query } from './environment.ts';
import { create } from './lab.ts';
import type { LabHome } from './lab.ts';
import { until } from './until.ts';

/** Room for all tasks that hold, and those that come and go besides. */
const PARALLELISM = { AIRFLOW__CORE__PARALLELISM: '20' };

/** States of the tasks in flight that a backup must meet; those of mapped ones are in one text, sorted. */
const WANTED: Readonly<Record<string, string>> = {
  'lab_inflight.done': 'success',
  'lab_inflight.sleeps': 'running',
  'lab_inflight.after': '-',
  'lab_inflight.up_for_retry': 'up_for_retry',
  'lab_inflight.deferred': 'deferred',
  'lab_inflight.rescheduled': 'up_for_reschedule',
  'lab_inflight.one_slot': 'running scheduled',
  'lab_inflight.starved': 'scheduled',
  'proof_mixed.quick': 'success',
  'proof_mixed.holds': 'running',
  'proof_mixed.restarted': 'running',
  'proof_mixed.retried': 'up_for_retry',
  'proof_mixed.waits': 'up_for_reschedule',
  'proof_mixed.parts': 'running scheduled success',
  'proof_mixed.late': '-',
  'proof_mixed.total': '-',
  'proof_catchup.day': 'running running success success success',
  'proof_backfill.filled': 'running',
};

/** Starts the filled environment again and lets its scheduler go on, with a backfill beside it. */
export async function startSource(at: LabHome): Promise<Components> {
  await create(at, { onlyHome: true, settings: PARALLELISM });
  await putDags(at);
  await query(
    at,
    `INSERT INTO slot_pool (pool, slots, description${(await hasColumn(at, 'slot_pool', 'include_deferred')) ? ', include_deferred' : ''})
     VALUES ('proof_one_slot', 1, 'for mapped tasks'${(await hasColumn(at, 'slot_pool', 'include_deferred')) ? ', false' : ''})`,
  );
  const components = startAirflow(at);
  await until('the source has parsed its DAGs', async () =>
    parsed(await query(at, `SELECT dag_id FROM dag JOIN serialized_dag USING (dag_id)`)),
  );
  components.add('backfill', 'dags', 'backfill', 'proof_backfill', '-s', '2024-01-01', '-e', '2024-01-01');
  return components;
}

/** Waits until all that a backup must meet is in flight, and adds what lasts for moments only. */
export async function meetWork(at: LabHome, components: Components): Promise<void> {
  await until('the source is in the middle of its work', async () => {
    components.mustRun();
    return stateDifferences(at);
  });
  await makeRareStates(at);
}

async function stateDifferences(at: LabHome): Promise<readonly string[]> {
  const rows = await query(
    at,
    `SELECT dag_id || '.' || task_id AS task, string_agg(coalesce(state, '-'), ' ' ORDER BY state) AS states
     FROM task_instance WHERE run_id <> 'lab_inflight_2' GROUP BY 1
     UNION ALL SELECT 'minutely', string_agg(DISTINCT state, ' ') FROM dag_run WHERE dag_id = 'proof_minutely'`,
  );
  const found = new Map(rows.map(({ task, states }) => [task, states]));
  const left = Object.entries(WANTED)
    .filter(([task, states]) => found.get(task) !== states)
    .map(([task, states]) => `${task}: ${String(found.get(task))} instead of ${states}`);
  return String(found.get('minutely')).includes('success') ? left : [...left, 'a run of proof_minutely'];
}

/**
 * States that last for moments only: a task that was handed to the executor, which has not begun it; and one that was
 * cleared while it ran, whose supervisor has not seen it (it is stopped, so that it does not).
 */
async function makeRareStates(at: LabHome): Promise<void> {
  const [running] = await query(
    at,
    `SELECT pid FROM task_instance WHERE dag_id = 'proof_mixed' AND task_id = 'restarted'`,
  );
  freezeParentOf(Number(running?.pid));
  await query(
    at,
    `UPDATE task_instance SET state = 'restarting' WHERE dag_id = 'proof_mixed' AND task_id = 'restarted';
     UPDATE task_instance SET state = 'queued', queued_dttm = now(), external_executor_id = 'of-the-source',
       queued_by_job_id = (SELECT max(id) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running')
     WHERE run_id = 'lab_inflight_1' AND task_id = 'starved'`,
  );
}

/**
 * Creates another Airflow with the same DAG files and another Fernet key, and starts it. Its own scheduler has parsed
 * the DAGs and, of one of them, made and finished runs before the restore comes.
 */
export async function startTarget(at: LabHome, fernetKey: string): Promise<Components> {
  const settings = { ...PARALLELISM, AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION: 'True' };
  await create(at, { fernetKey, settings });
  await putDags(at);
  await letGo(at);
  const components = startAirflow(at);
  await until('the target has parsed its DAGs', async () =>
    parsed(await query(at, 'SELECT dag_id FROM dag JOIN serialized_dag USING (dag_id)'), [
      'lab_catchup',
      'lab_inflight',
      'lab_versioned',
    ]),
  );
  await query(at, `UPDATE dag SET is_paused = false WHERE dag_id = 'lab_catchup'`);
  await until('the target has caught up with a DAG of its own', async () => {
    const rows = await query(
      at,
      `SELECT state, count(*)::int AS runs FROM dag_run WHERE dag_id = 'lab_catchup' GROUP BY 1`,
    );
    const done = rows.length === 1 && rows[0]?.state === 'success' && Number(rows[0].runs) >= 3;
    components.mustRun();
    return done ? [] : [JSON.stringify(rows)];
  });
  return components;
}

const PROOF_DAGS = [
  'proof_mixed',
  'proof_catchup',
  'proof_minutely',
  'proof_backfill',
  'proof_reader',
  'proof_restores',
];

function parsed(rows: readonly Record<string, unknown>[], more: readonly string[] = []): readonly string[] {
  const found = new Set(rows.map(({ dag_id }) => dag_id));
  return [...PROOF_DAGS, ...more].filter((name) => !found.has(name));
}

async function hasColumn(at: LabHome, table: string, column: string): Promise<boolean> {
  const rows = await query(
    at,
    `SELECT 1 FROM information_schema.columns WHERE table_name = '${table}' AND column_name = '${column}'`,
  );
  return rows.length > 0;
}
