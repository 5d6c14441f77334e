import type pg from 'pg';
import { insertRows } from '../helpers/insert-rows.ts';
import type { Row } from '../helpers/insert-rows.ts';

/** How many ids each sequence of the target has given before anything here is inserted: none of them equals the backup's. */
const SHIFT = 7;

/**
 * The life that a target had before a restore: its own runs, jobs and triggers, datasets and log templates under other
 * ids than in the backup, variables, connections and pools of its own and shared ones, DAGs that it has parsed.
 */
export async function otherHistory(client: pg.ClientBase): Promise<void> {
  for (const table of ['dataset', 'log_template', 'job', 'trigger', 'variable', 'dag_run']) {
    await client.query(`SELECT nextval('${table}_id_seq') FROM generate_series(1, ${SHIFT})`);
  }
  // Other ids for what the backup has too: where one side has 1, the other has something else.
  await client.query('UPDATE log_template SET id = id + 100; UPDATE slot_pool SET id = id + 2');
  const insert = async (table: string, ...rows: readonly Row[]): Promise<readonly number[]> =>
    (await insertRows(client, table, rows)) ?? [];

  await insert('variable', { key: 'target_only', val: 'stays', is_encrypted: false });
  await insert('variable', { key: 'hurtful_3', val: 'the target’s', is_encrypted: false });
  await insert('connection', { conn_id: 'target_only', conn_type: 'http', extra: '{}' });
  await insert('slot_pool', { id: 1, pool: 'target_only', slots: 11, include_deferred: true });
  await insert('slot_pool', { id: 2, pool: 'null', slots: 12, description: 'shared with the backup' });
  await insert('log_template', {
    id: 1,
    filename: 'target.log',
    elasticsearch_id: '{x}',
    created_at: '2020-01-01',
  });
  const dataset = { created_at: 'epoch', updated_at: 'epoch', is_orphaned: true };
  await insert(
    'dataset',
    { ...dataset, id: 1, uri: 'lab://second' },
    { ...dataset, id: 4, uri: 'lab://second/' },
  );
  await insert(
    'dataset',
    { ...dataset, id: 2, uri: 's3://lab-bucket/data/y=1' },
    { ...dataset, uri: 'target://only' },
  );
  await insert('dataset_alias', { name: 'target_only' }, { name: 'lab-alias' });
  const dag = {
    dag_id: 'target_dag',
    is_active: true,
    is_paused: false,
    scheduler_lock: true,
    owners: 'target',
  };
  await insert('dag', dag, { ...dag, dag_id: 'lab_everything', is_paused: true, next_dagrun: '2001-01-01' });
  await insert('dag_tag', { name: 'target', dag_id: 'target_dag' });

  const jobs = await insert(
    'job',
    { state: 'success', job_type: 'SchedulerJob', latest_heartbeat: '2021-01-01', hostname: 'target' },
    { state: 'running', job_type: 'SchedulerJob', latest_heartbeat: '2021-01-01', hostname: 'long dead' },
  );
  const [trigger] = await insert('trigger', {
    classpath: 'target.Trigger',
    kwargs: '{}',
    created_date: 'epoch',
  });
  const [run] = await insert('dag_run', {
    dag_id: 'target_dag',
    run_id: 'r',
    execution_date: 'epoch',
    run_type: 'manual',
    creating_job_id: jobs[0] ?? null,
  });
  const task = { dag_id: 'target_dag', run_id: 'r', task_id: 't', map_index: -1 };
  await insert('task_instance', {
    ...task,
    pool: 'default_pool',
    pool_slots: 1,
    state: 'deferred',
    trigger_id: trigger ?? null,
    job_id: jobs[1] ?? null,
  });
  await insert('xcom', { ...task, dag_run_id: run ?? null, key: 'k', value: Buffer.from('"v"') });
  await insert('log', { event: 'target', dttm: 'epoch' });
  await insert('sla_miss', { dag_id: 'target_dag', task_id: 't', execution_date: 'epoch' });
}
