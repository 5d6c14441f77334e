import type { TableSpec } from './spec.ts';

/** Schedulers, triggerers and task processes. None of the backup is alive in the target, whatever its state says. */
export const job: TableSpec = {
  name: 'job',
  key: ['id'],
  columns: [
    'id integer',
    'dag_id text',
    'state text',
    'job_type text',
    'start_date timestamptz',
    'end_date timestamptz',
    'latest_heartbeat timestamptz',
    'executor_class text',
    'hostname text',
    'unixname text',
  ],
  chosen: { by: 'referrers' },
  sameFact: ['start_date', 'job_type', 'dag_id', 'hostname', 'unixname'],
  restore: { kind: 'history' },
  serial: 'id',
  neverReuseIds: true,
  // A process that beats is at work in the target: three times the longest default heartbeat interval (30 s, scheduler_health_check_threshold).
  liveRows: "state = 'running' AND latest_heartbeat > now() - interval '90 seconds'",
  rewrites: [
    {
      column: 'end_date',
      when: "state IS DISTINCT FROM 'success' AND state IS DISTINCT FROM 'failed'",
      to: 'coalesce(end_date, :snapshot)',
    },
    {
      column: 'state',
      when: "state IS DISTINCT FROM 'success' AND state IS DISTINCT FROM 'failed'",
      to: "'failed'",
    },
  ],
  ofRun: [
    { own: ['id'], of: 'task_instance', theirs: ['job_id'], as: 'held' },
    { own: ['id'], of: 'task_instance', theirs: ['queued_by_job_id'], as: 'held' },
  ],
  neverLocked: true,
};
