import type pg from 'pg';
import type { Storage } from '../../src/storage/storage.ts';
import { insertRows } from '../helpers/insert-rows.ts';
import type { Row } from '../helpers/insert-rows.ts';

export const RUN = { dagId: 'dr', runId: 'manual__2026-11-21T01:30:00+00:00/x' };
export const DATE = '2026-11-21T01:30:00Z';

const run = { dag_id: RUN.dagId, run_id: RUN.runId };

export interface Life {
  readonly runId: number;
  /** The task process that carries the restore. */
  readonly job: number;
  /** Says that it runs, and has not beaten for an hour. */
  readonly staleJob: number;
}

/**
 * An Airflow at work: scheduler and task process that beat, a run with rows in every table that a run can have rows in,
 * and what it points to. `runId` is the id that its dag_run gets: one that the backup has too.
 */
export async function liveLife(client: pg.ClientBase, runId: number): Promise<Life> {
  const insert = async (table: string, ...rows: readonly Row[]): Promise<number> =>
    (await insertRows(client, table, rows))?.[0] ?? 0;
  const beat = { state: 'running', latest_heartbeat: new Date().toISOString(), hostname: 'here' };
  const scheduler = await insert('job', { ...beat, job_type: 'SchedulerJob' });
  const job = await insert('job', { ...beat, job_type: 'LocalTaskJob', dag_id: RUN.dagId });
  const longAgo = new Date(Date.now() - 3_600_000).toISOString();
  const staleJob = await insert('job', { ...beat, job_type: 'LocalTaskJob', latest_heartbeat: longAgo });
  await insert('dag', { dag_id: RUN.dagId, is_active: true, is_paused: false, next_dagrun: '2001-01-01' });
  await insert('dag_tag', { name: 'lifeboat', dag_id: RUN.dagId });
  await insert('dag_run', { ...run, id: runId, execution_date: DATE, run_type: 'manual', state: 'running' });
  await client.query(`SELECT setval('dag_run_id_seq', 1000)`);
  const trigger = await insert('trigger', { classpath: 'live.Trigger', kwargs: '{}', created_date: DATE });
  const base = { ...run, map_index: -1, pool: 'default_pool', pool_slots: 1, try_number: 1 };
  const task = { ...run, task_id: 'restore', map_index: -1 };
  await insert('task_instance', {
    ...base,
    task_id: 'restore',
    state: 'running',
    job_id: job,
    queued_by_job_id: scheduler,
    start_date: DATE,
  });
  await insert('task_instance', { ...base, task_id: 'waits', state: 'deferred', trigger_id: trigger });
  await insert('xcom', {
    ...task,
    dag_run_id: runId,
    key: 'k',
    value: Buffer.from('"live"'),
    timestamp: DATE,
  });
  await insert('rendered_task_instance_fields', { ...task, rendered_fields: '{"live": 1}' });
  await insert('task_map', { ...task, length: 3 });
  await insert('task_fail', { ...task, start_date: DATE });
  await insert('task_reschedule', {
    ...task,
    try_number: 1,
    start_date: DATE,
    end_date: DATE,
    reschedule_date: DATE,
  });
  await insert('task_instance_history', { ...base, task_id: 'restore', state: 'failed' });
  await insert('dag_run_note', { dag_run_id: runId, content: 'live', created_at: DATE, updated_at: DATE });
  await insert('task_instance_note', { ...task, content: 'live', created_at: DATE, updated_at: DATE });
  await insert('log', { ...task, event: 'live', dttm: DATE, execution_date: DATE });
  await insert('sla_miss', { dag_id: RUN.dagId, task_id: 'restore', execution_date: DATE });
  const dataset = await insert('dataset', {
    uri: 'live://one',
    created_at: DATE,
    updated_at: DATE,
    is_orphaned: false,
  });
  const event = await insert('dataset_event', {
    dataset_id: dataset,
    timestamp: DATE,
    source_dag_id: 'elsewhere',
    source_run_id: 'gone',
    source_map_index: -1,
  });
  await insert('dagrun_dataset_event', { dag_run_id: runId, event_id: event });
  return { runId, job, staleJob };
}

const LIVE_ROWS: Readonly<Record<string, string>> = {
  job: "hostname = 'here' AND latest_heartbeat > now() - interval '10 minutes'",
  dag: "dag_id = 'dr'",
  dag_tag: "dag_id = 'dr'",
  trigger: "classpath = 'live.Trigger'",
  dag_run: "dag_id = 'dr'",
  task_instance: "dag_id = 'dr'",
  xcom: "dag_id = 'dr'",
  rendered_task_instance_fields: "dag_id = 'dr'",
  task_map: "dag_id = 'dr'",
  task_fail: "dag_id = 'dr'",
  task_reschedule: "dag_id = 'dr'",
  task_instance_history: "dag_id = 'dr'",
  dag_run_note: "content = 'live'",
  task_instance_note: "content = 'live'",
  log: "dag_id = 'dr'",
  sla_miss: "dag_id = 'dr'",
  dataset: "uri = 'live://one'",
  dataset_event: "source_dag_id = 'elsewhere'",
  dagrun_dataset_event: "event_id IN (SELECT id FROM dataset_event WHERE source_dag_id = 'elsewhere')",
};

/** Every live row as text, by table: ids, dates and all. */
export async function liveRows(client: pg.ClientBase): Promise<Readonly<Record<string, readonly string[]>>> {
  const found: Record<string, readonly string[]> = {};
  for (const [table, where] of Object.entries(LIVE_ROWS)) {
    const there = await client.query<{ there: boolean }>(`SELECT to_regclass($1) IS NOT NULL AS there`, [
      table,
    ]);
    if (there.rows[0]?.there !== true) continue;
    const { rows } = await client.query<{ row: string }>(
      `SELECT t::text AS row FROM ${table} t WHERE ${where} ORDER BY 1`,
    );
    found[table] = rows.map(({ row }) => row);
  }
  return found;
}

/** What references lead to, whatever the ids: the same in the source and in a target that holds it too. */
const LEADS: Readonly<Record<string, string>> = {
  xcom: `SELECT r.dag_id, r.run_id, x.task_id, x.map_index, x.key, md5(x.value) FROM xcom x
           JOIN dag_run r ON r.id = x.dag_run_id AND r.dag_id = x.dag_id AND r.run_id = x.run_id`,
  notes: 'SELECT r.dag_id, r.run_id, n.content FROM dag_run_note n JOIN dag_run r ON r.id = n.dag_run_id',
  templates:
    'SELECT r.dag_id, r.run_id, l.filename FROM dag_run r JOIN log_template l ON l.id = r.log_template_id',
  triggers: `SELECT t.dag_id, t.run_id, t.task_id, g.classpath, g.created_date FROM task_instance t
               JOIN trigger g ON g.id = t.trigger_id`,
  events: `SELECT r.dag_id, r.run_id, d.uri, e.timestamp FROM dagrun_dataset_event x JOIN dag_run r ON r.id = x.dag_run_id
             JOIN dataset_event e ON e.id = x.event_id JOIN dataset d ON d.id = e.dataset_id`,
  jobs: `SELECT t.dag_id, t.run_id, t.task_id, t.map_index, j.start_date FROM task_instance t
           JOIN job j ON j.id = t.job_id WHERE t.state IN ('success', 'failed')`,
};

/** Rows of the other DAGs. */
export async function leads(client: pg.ClientBase): Promise<Readonly<Record<string, readonly string[]>>> {
  const found: Record<string, readonly string[]> = {};
  for (const [name, query] of Object.entries(LEADS)) {
    const { rows } = await client.query<{ row: string }>(
      `SELECT q::text AS row FROM (${query}) q WHERE dag_id <> 'dr' ORDER BY 1`,
    );
    found[name] = rows.map(({ row }) => row);
  }
  return found;
}

/** A storage that does something when the parts of a table are read for loading. */
export function atLoadOf(
  inner: Storage,
  table: string,
  act: () => Promise<void>,
): Storage & { begin(): void } {
  let loading = false;
  return {
    ...inner,
    begin: () => {
      loading = true;
    },
    read: async (key, ...rest) => {
      if (loading && key.includes(`/tables/${table}/`)) {
        loading = false;
        await act();
      }
      return inner.read(key, ...rest);
    },
  };
}
