import type { TableSpec } from './spec.ts';

/** Tasks of runs. `executor_config` is a pickle: opaque bytes. Deleting a trigger row deletes its task instance (ON DELETE CASCADE), so triggers are loaded first. */
export const taskInstance: TableSpec = {
  name: 'task_instance',
  key: ['dag_id', 'task_id', 'run_id', 'map_index'],
  columns: [
    'task_id text',
    'dag_id text',
    'run_id text',
    'map_index integer',
    'start_date timestamptz',
    'end_date timestamptz',
    'duration float',
    'state text',
    'try_number integer',
    'max_tries integer',
    'hostname text',
    'unixname text',
    'job_id integer',
    'pool text',
    'pool_slots integer',
    'queue text',
    'priority_weight integer',
    'operator text',
    { column: 'custom_operator_name text', since: '2.7' },
    'queued_dttm timestamptz',
    'queued_by_job_id integer',
    'pid integer',
    { column: 'executor text', since: '2.10' },
    'executor_config bytea',
    'updated_at timestamptz',
    { column: 'rendered_map_index text', since: '2.9' },
    'external_executor_id text',
    'trigger_id integer',
    'trigger_timeout timestamp',
    'next_method text',
    'next_kwargs json',
    { column: 'task_display_name text', since: '2.9' },
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  after: ['dag_run'],
  references: { trigger_id: 'trigger', job_id: 'job', queued_by_job_id: 'job' },
  rewrites: [
    // Up to 2.9 a try is counted when its process starts (_check_and_change_state_before_execution in
    // airflow/models/taskinstance.py, 2.9.2) and taken back when it defers or reschedules (defer_task, _handle_reschedule).
    // From 2.10 on DagRun.schedule_tis counts it, and nothing takes it back (airflow/models/dagrun.py, 2.10.3). So these
    // four are behind by the try that they are in. Airflow's own migration leaves them behind: their next try would run
    // as number 0, or a second time under the number of the last one. NULL and up_for_retry wait for a try that
    // schedule_tis will count, running and restarting ones were counted on either side, and finished rows read the same.
    {
      column: 'try_number',
      when: "state IN ('scheduled', 'queued', 'deferred', 'up_for_reschedule')",
      to: 'try_number + 1',
      entering: '2.10',
    },
  ],
  countsAsHistory: true,
  ofRun: [{ own: ['dag_id', 'run_id'], of: 'dag_run', theirs: ['dag_id', 'run_id'], as: 'part' }],
};
