import { parseExact, stringifyExact } from '../../src/rest/exact-json.ts';
import { noHistory } from './fake-airflow-history.ts';
import type { FakeRows } from './fake-airflow-rows.ts';

type Row = Record<string, unknown>;

/** A conf that JavaScript's own JSON would change. */
export const CONF = '{"big":1152921504606846976,"ratio":1.0,"text":"é \\" \\\\N"}';

const DATE = '2026-11-20T01:02:03.450000Z';

function run(dagId: string, id: string, state: string, more: Row = {}): Row {
  return {
    dag_id: dagId,
    dag_run_id: id,
    state,
    run_type: id.split('__')[0],
    logical_date: DATE,
    start_date: DATE,
    end_date: state === 'success' || state === 'failed' ? DATE : null,
    updated_at: DATE,
    conf: {},
    note: null,
    ...more,
  };
}

function task(dagId: string, runId: string, taskId: string, state: string | null, more: Row = {}): Row {
  return {
    id: `${dagId}-${runId}-${taskId}-${JSON.stringify(more.map_index ?? -1)}`,
    dag_id: dagId,
    dag_run_id: runId,
    task_id: taskId,
    map_index: -1,
    try_number: 1,
    max_tries: 0,
    state,
    start_date: DATE,
    duration: parseExact('16.0'),
    executor_config: '{}',
    ...more,
  };
}

/** Of each table a few rows: enough to see each way of reading. */
export function sampleRows(major: '2' | '3'): FakeRows {
  const v1 = major === '2';
  const unfinished = 'manual__unfinished';
  const xcom = (runId: string, taskId: string, key: string, value: unknown, more: Row = {}): Row => ({
    dag_id: 'etl',
    ...(v1 ? { execution_date: runId === unfinished ? DATE.replace('20T', '21T') : DATE } : {}),
    run_id: runId,
    task_id: taskId,
    map_index: -1,
    key,
    timestamp: DATE,
    value: v1 && typeof value !== 'string' ? stringifyExact(value) : value,
    ...more,
  });
  return {
    variables: [
      { id: 1, key: 'plain', value: 'v\n"1"', description: null },
      { id: 2, key: 'api_secret', value: '***', description: 'hidden' },
      { id: 3, key: 'partly', value: '{"password": "***", "user": "u"}', description: null },
      { id: 4, key: 'empty', value: '', description: '' },
    ],
    connections: [
      {
        connection_id: 'whole',
        conn_type: 'http',
        host: 'h',
        login: null,
        port: 8080,
        schema: null,
        description: null,
        password: 'pass-in-clear',
        extra: '{"a": 1}',
      },
      { connection_id: 'masked', conn_type: 'http', password: '***', extra: '{"token": "***"}' },
    ],
    pools: [{ name: 'default_pool', slots: 128, description: 'd', include_deferred: true }],
    dags: [{ dag_id: 'etl', is_paused: true, fileloc: '/dags/etl.py' }],
    dag_runs: [
      run('etl', 'scheduled__1', 'success', {
        conf: parseExact(CONF),
        note: 'done',
        triggered_by: 'timetable',
      }),
      run('etl', 'manual__failed', 'failed', { logical_date: '2026-11-20T03:00:00+02:00' }),
      run('etl', unfinished, 'running', { logical_date: DATE.replace('20T', '21T') }),
    ],
    assets: [
      {
        id: 1,
        name: 'a',
        uri: 's3://a',
        group: 'asset',
        extra: { k: 1 },
        scheduled_dags: [{ dag_id: 'etl' }],
        consuming_dags: [{ dag_id: 'etl' }],
      },
      { id: 2, name: 'b', uri: 's3://b', group: 'asset', extra: {}, scheduled_dags: [], consuming_dags: [] },
    ],
    events: [
      { id: 1, asset_id: 1, dataset_id: 1, extra: { rows: 3 }, source_map_index: -1, timestamp: DATE },
      { id: 2, asset_id: 2, dataset_id: 2, extra: { token: '***' }, source_map_index: -1, timestamp: DATE },
    ],
    history: {
      ...noHistory(),
      task_instances: [
        task('etl', 'scheduled__1', 'load', 'success', { try_number: 2 }),
        task('etl', 'scheduled__1', 'mapped', 'success', { map_index: 0 }),
        task('etl', 'scheduled__1', 'mapped', 'success', { map_index: 1 }),
        task('etl', 'manual__failed', 'load', 'failed'),
        task('etl', unfinished, 'load', 'running'),
        task('etl', unfinished, 'report', null, { try_number: 0 }),
      ],
      tries: [task('etl', 'scheduled__1', 'load', 'failed')],
      xcoms: [
        xcom('scheduled__1', 'load', 'return_value', parseExact('{"n":1.0}')),
        xcom('scheduled__1', 'mapped', 'return_value', 'null as text', { map_index: 1 }),
        xcom('scheduled__1', 'load', 'nothing', null),
        xcom(unfinished, 'load', 'progress', 7),
      ],
      aliases: [{ id: 1, name: 'alias', group: 'g' }],
      queued: [{ asset_id: 1, uri: 's3://a', dag_id: 'etl', created_at: DATE }],
      dag_versions: [{ id: 'uuid-1', version_number: 1, dag_id: 'etl', bundle_name: 'dags' }],
      backfills: [],
      event_logs: [{ event_log_id: 1, when: DATE, event: 'trigger', owner: 'admin', extra: '{"p": "***"}' }],
      import_errors: [{ import_error_id: 1, timestamp: DATE, filename: 'x.py', stack_trace: 'boom' }],
    },
  };
}
