import type { Intended } from './table-rows.ts';

/** What a restore does not bring back as it was, on purpose. */
export const INTENDED: readonly Intended[] = [
  {
    table: 'log_template',
    columns: ['created_at'],
    why: "the new environment's own with the same content; runs refer to those",
  },
  {
    table: 'dag',
    columns: ['is_active'],
    why: 'inactive until the new scheduler has parsed their files; paused or not as before',
  },
  {
    table: 'job',
    columns: ['state', 'end_date'],
    why: 'schedulers and tasks that died with the region, stored as failed so that nothing dead looks alive',
  },
  {
    table: 'task_instance',
    columns: [
      'state',
      'max_tries',
      'queued_dttm',
      'queued_by_job_id',
      'job_id',
      'pid',
      'hostname',
      'external_executor_id',
      'trigger_id',
      'trigger_timeout',
      'next_method',
      'next_kwargs',
    ],
    why: 'unfinished: the new scheduler goes on with them, and what was interrupted starts anew at no cost of a retry',
  },
  {
    table: 'trigger',
    columns: ['triggerer_id'],
    why: 'their triggerer died; the new one takes them up',
  },
];
