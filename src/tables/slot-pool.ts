import type { TableSpec } from './spec.ts';

/** Pools, matched by name: default_pool exists in every environment and takes the slots of the backup. */
export const slotPool: TableSpec = {
  name: 'slot_pool',
  key: ['id'],
  columns: [
    'id integer',
    'pool text',
    'slots integer',
    'description text',
    { column: 'include_deferred boolean', since: '2.7' },
  ],
  chosen: {
    by: 'referrers',
    named: { own: 'pool', in: { task_instance: 'pool', task_instance_history: 'pool' } },
  },
  restore: { kind: 'merge', by: ['pool'], existing: 'replace' },
  serial: 'id',
  liveRows: "pool = 'default_pool'",
};
