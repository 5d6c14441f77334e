import type { TableSpec } from './spec.ts';

/** Runs. `conf` is a pickle: opaque bytes, never parsed. */
export const dagRun: TableSpec = {
  name: 'dag_run',
  key: ['id'],
  columns: [
    'id integer',
    'dag_id text',
    'queued_at timestamptz',
    'execution_date timestamptz',
    'start_date timestamptz',
    'end_date timestamptz',
    'state text',
    'run_id text',
    'creating_job_id integer',
    'external_trigger boolean',
    'run_type text',
    'conf bytea',
    'data_interval_start timestamptz',
    'data_interval_end timestamptz',
    'last_scheduling_decision timestamptz',
    'dag_hash text',
    'log_template_id integer',
    'updated_at timestamptz',
    // The default is in migrated databases (0129_2_8_0_add_clear_number_to_dag_run.py) and in fresh ones since 2.9.
    { column: 'clear_number integer', since: '2.8', migrated: '0' },
  ],
  chosen: { by: 'dag', column: 'dag_id' },
  restore: { kind: 'history' },
  serial: 'id',
  references: { creating_job_id: 'job', log_template_id: 'log_template' },
  countsAsHistory: true,
  // The pickle of {}.
  taskTokens: { column: 'conf', type: 'bytea', emptied: "'\\x80047d942e'::bytea" },
};
