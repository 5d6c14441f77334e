import type { TableSpec } from './spec.ts';

/** Names of users who wrote notes: only to find the same user in the target. Users, roles and passwords are not backed up. */
export const abUser: TableSpec = {
  name: 'ab_user',
  key: ['id'],
  columns: ['id integer', 'username text'],
  leftOutColumns: [
    { name: 'first_name', reason: 'users, roles and passwords belong to the target' },
    { name: 'last_name', reason: 'users, roles and passwords belong to the target' },
    { name: 'password', reason: 'users, roles and passwords belong to the target' },
    { name: 'active', reason: 'users, roles and passwords belong to the target' },
    { name: 'email', reason: 'users, roles and passwords belong to the target' },
    { name: 'last_login', reason: 'users, roles and passwords belong to the target' },
    { name: 'login_count', reason: 'users, roles and passwords belong to the target' },
    { name: 'fail_login_count', reason: 'users, roles and passwords belong to the target' },
    { name: 'created_on', reason: 'users, roles and passwords belong to the target' },
    { name: 'changed_on', reason: 'users, roles and passwords belong to the target' },
    { name: 'created_by_fk', reason: 'users, roles and passwords belong to the target' },
    { name: 'changed_by_fk', reason: 'users, roles and passwords belong to the target' },
  ],
  chosen: { by: 'environment' },
  restore: { kind: 'lookup', by: ['username'] },
  only: 'id IN (SELECT user_id FROM {schema}.dag_run_note UNION SELECT user_id FROM {schema}.task_instance_note)',
};
