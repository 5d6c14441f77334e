import type pg from 'pg';
import { LONG_DAG_ID, RUN, taskInstances, taskKey, TASKS } from './hurtful-task-instances.ts';
import { insertRows, type Row } from './insert-rows.ts';
import { BYTES, INTEGERS, JSONS, LONG_TEXT, noise, pick, TEXTS, TIMES } from './hurtful-values.ts';

/**
 * Adds rows made to hurt to the tables of any supported Airflow version; returns how many by table. They are finished
 * history: a restore may move ids of other rows, but has no reason to change anything in these.
 */
export async function hurtfulRows(client: pg.ClientBase): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {};
  const insert: Insert = async (table, rows) => {
    const ids = await insertRows(client, table, rows);
    if (ids !== undefined) counts[table] = rows.length;
    return ids ?? [];
  };
  await insertSettings(insert);
  const runs = await insertRuns(insert);
  await insertChildren(insert, runs);
  await insertLoose(insert);
  return counts;
}

type Insert = (table: string, rows: readonly Row[]) => Promise<readonly number[]>;

/** Variables, connections, pools: each text as a value, and the short ones as names. */
async function insertSettings(insert: Insert): Promise<void> {
  const names = TEXTS.filter((text): text is string => text !== null && text.length <= 200);
  await insert('variable', [
    ...TEXTS.map((val, at) => ({
      key: `hurtful_${at}`,
      val,
      description: pick(TEXTS, at + 1),
      is_encrypted: false,
    })),
    ...names.map((key) => ({ key, val: key, is_encrypted: false })),
    { key: noise(250), val: LONG_TEXT, is_encrypted: null },
  ]);
  await insert(
    'connection',
    TEXTS.map((extra, at) => ({
      conn_id: `hurtful_${at}`,
      conn_type: pick(TEXTS, at + 1) ?? '',
      description: pick(TEXTS, at + 2),
      host: pick(TEXTS, at + 3),
      schema: pick(TEXTS, at + 4),
      login: pick(TEXTS, at + 5),
      password: pick(TEXTS, at + 6),
      port: pick(INTEGERS, at),
      extra,
      is_encrypted: false,
      is_extra_encrypted: at % 2 === 0 ? null : false,
    })),
  );
  await insert(
    'slot_pool',
    names.map((pool, at) => ({
      pool,
      slots: pick(INTEGERS, at),
      description: pick(TEXTS, at),
      include_deferred: true,
    })),
  );
}

/** Runs with every kind of bytes and times; the task instances of one of them carry numbers, times and JSON. */
async function insertRuns(insert: Insert): Promise<readonly number[]> {
  const runs = await insert('dag_run', [
    {
      dag_id: LONG_DAG_ID,
      run_id: RUN,
      execution_date: '1969-12-31 23:59:59.999999+00',
      run_type: 'manual',
      state: 'success',
      conf: BYTES[2] ?? null,
    },
    ...TIMES.filter((time) => time !== null).map((time, at) => ({
      dag_id: 'hurtful, "dag"\t\\N',
      run_id: `manual__${at}${pick(
        TEXTS.filter((text) => (text?.length ?? 0) < 100),
        at,
      )}`,
      execution_date: time,
      queued_at: pick(TIMES, at + 1),
      start_date: pick(TIMES, at + 2),
      end_date: pick(TIMES, at + 3),
      data_interval_start: pick(TIMES, at + 4),
      data_interval_end: pick(TIMES, at + 5),
      last_scheduling_decision: pick(TIMES, at + 6),
      updated_at: pick(TIMES, at + 7),
      state: 'success',
      run_type: 'manual',
      conf: pick(BYTES, at),
      external_trigger: at % 3 === 0 ? null : at % 3 === 1,
      dag_hash: at % 2 === 0 ? '' : null,
      clear_number: Math.abs(pick(INTEGERS, at) ?? 0) % 2_147_483_648,
    })),
  ]);
  await insert('task_instance', taskInstances());
  await insert('task_instance_history', taskInstances());
  return runs;
}

/** What hangs on the runs and the task instances; those belong to the first run. */
async function insertChildren(insert: Insert, runs: readonly number[]): Promise<void> {
  const tasks = Array.from({ length: TASKS }, (_, at) => taskKey(at));
  const dates = (at: number): Row => ({
    start_date: pick(TIMES, at) ?? 'epoch',
    end_date: pick(TIMES, at + 1) ?? 'epoch',
    reschedule_date: pick(TIMES, at + 2) ?? 'epoch',
  });
  await insert(
    'xcom',
    tasks.flatMap((task, at) => [
      {
        ...task,
        dag_run_id: runs[0] ?? null,
        key: 'return_value',
        value: pick(BYTES, at),
        timestamp: pick(TIMES, at) ?? 'now',
      },
      {
        ...task,
        dag_run_id: runs[0] ?? null,
        key: noise(512),
        value: Buffer.from(LONG_TEXT),
        timestamp: 'epoch',
      },
    ]),
  );
  await insert(
    'dag_run_note',
    runs.map((id, at) => ({
      dag_run_id: id,
      content: pick(TEXTS, at + 1),
      created_at: 'infinity',
      updated_at: 'epoch',
    })),
  );
  await insert(
    'rendered_task_instance_fields',
    tasks.map((task, at) => ({
      ...task,
      rendered_fields: pick(JSONS, at),
      k8s_pod_yaml: at % 2 ? null : pick(JSONS, at),
    })),
  );
  await insert(
    'task_instance_note',
    tasks.map((task, at) => ({
      ...task,
      content: pick(TEXTS, at),
      created_at: 'epoch',
      updated_at: '-infinity',
    })),
  );
  await insert(
    'task_map',
    tasks.map((task, at) => ({
      ...task,
      length: at % 2 ? 0 : 2_147_483_647,
      keys: at === 0 ? null : pick(JSONS, at),
    })),
  );
  await insert(
    'task_fail',
    tasks.map((task, at) => ({ ...task, ...dates(at), duration: pick(INTEGERS, at) })),
  );
  await insert(
    'task_reschedule',
    tasks.map((task, at) => ({ ...task, ...dates(at), try_number: at, duration: at })),
  );
}

/** Tables without a parent. */
async function insertLoose(insert: Insert): Promise<void> {
  await insert(
    'log',
    [...TEXTS, ...TIMES].map((_, at) => ({
      dttm: pick(TIMES, at),
      execution_date: pick(TIMES, at + 1),
      dag_id: at % 2 ? LONG_DAG_ID : null,
      task_id: pick(TEXTS, at + 1),
      run_id: pick(TEXTS, at + 2),
      map_index: pick(INTEGERS, at),
      event: pick(TEXTS, at + 3),
      owner: pick(TEXTS, at + 4),
      owner_display_name: pick(TEXTS, at + 5),
      extra: pick(TEXTS, at),
      try_number: pick(INTEGERS, at + 1),
    })),
  );
  await insert(
    'job',
    TEXTS.map((hostname, at) => ({
      hostname,
      unixname: pick(TEXTS, at + 1),
      executor_class: pick(TEXTS, at + 2),
      dag_id: at % 2 ? LONG_DAG_ID : null,
      state: 'success',
      job_type: 'LocalTaskJob',
      start_date: pick(TIMES, at),
      end_date: pick(TIMES, at + 1) ?? 'epoch',
      latest_heartbeat: '2020-01-01 00:00:00.000001+00',
    })),
  );
  // json until 2.8, text since: JSON is right for both.
  await insert(
    'trigger',
    JSONS.map((kwargs, at) => ({
      classpath: pick(TEXTS, at) ?? '',
      kwargs,
      created_date: pick(TIMES, at) ?? 'epoch',
    })),
  );
  await insert(
    'sla_miss',
    TIMES.filter((time) => time !== null).map((time, at) => ({
      dag_id: LONG_DAG_ID,
      task_id: 'task',
      execution_date: time,
      timestamp: pick(TIMES, at),
      description: pick(TEXTS, at),
    })),
  );
  const datasets = await insert(
    'dataset',
    JSONS.map((extra, at) => ({
      uri: `${'é/'.repeat(1000)}${at}\\N`,
      extra,
      created_at: 'epoch',
      updated_at: 'infinity',
    })),
  );
  await insert(
    'dataset_event',
    datasets.map((id, at) => ({
      dataset_id: id,
      extra: pick(JSONS, at + 1),
      source_run_id: pick(TEXTS, at),
      source_map_index: pick(INTEGERS, at),
      timestamp: pick(TIMES, at) ?? 'epoch',
    })),
  );
}
