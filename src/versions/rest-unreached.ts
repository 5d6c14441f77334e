import { isAtLeast } from './rest.ts';
import { restTables } from './rest-tables.ts';
import { PARSER } from './rest-table-entries.ts';

/** A table of the database of which the API gives nothing that is stored, and why. */
export interface UnreachedTable {
  readonly name: string;
  readonly reason: string;
}

const OWN = 'it belongs to the environment itself: users, rights, sessions, its schema';
const PROCESSES = 'it serves processes of the environment that is gone';
const NOTES = 'the notes stand with their runs and tasks';
const ONE_WAY = 'not read: Airflow takes no such rows back through its API';

/** `name since until`: the first minor that has it, and the first that has it no more. */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  [PARSER]: [
    ...['serialized_dag', 'dag_code', 'dag_owner_attributes', 'dag_tag', 'dag_warning'],
    ...['dag_pickle 2.5 3.0', 'dag_priority_parsing_request 2.10'],
    ...['dag_schedule_dataset_reference 2.5 3.0', 'task_outlet_dataset_reference 2.5 3.0'],
    ...['dag_schedule_dataset_alias_reference 2.10 3.0', 'dag_schedule_asset_reference 3.0'],
    ...['dag_schedule_asset_alias_reference 3.0', 'dag_schedule_asset_name_reference 3.0'],
    ...['dag_schedule_asset_uri_reference 3.0', 'task_outlet_asset_reference 3.0'],
    ...['task_inlet_asset_reference 3.1', 'asset_active 3.0', 'asset_trigger 3.0 3.2', 'asset_watcher 3.2'],
    'dag_bundle 3.0',
  ],
  [OWN]: [
    ...['ab_permission', 'ab_permission_view', 'ab_permission_view_role', 'ab_register_user', 'ab_role'],
    ...['ab_user', 'ab_user_role', 'ab_view_menu', 'ab_group 3.0', 'ab_group_role 3.0', 'ab_user_group 3.0'],
    ...['alembic_version', 'alembic_version_fab 3.0', 'session', 'revoked_token 3.2', 'log_template'],
    ...['team 3.1', 'dag_bundle_team 3.1', 'dag_favorite 3.1', 'connection_test_request 3.3'],
  ],
  [PROCESSES]: ['job', 'trigger', 'callback_request 2.5 3.2', 'callback 3.2'],
  [NOTES]: ['dag_run_note', 'task_instance_note'],
  [ONE_WAY]: [
    ...[
      'rendered_task_instance_fields',
      'task_map',
      'task_reschedule',
      'task_fail 2.5 3.0',
      'sla_miss 2.5 3.0',
    ],
    ...['dataset_dag_run_queue 2.5 2.9', 'dagrun_dataset_event 2.5 3.0', 'dataset_alias 2.10 3.0'],
    ...['dataset_alias_dataset 2.10 3.0', 'dataset_alias_dataset_event 2.10 3.0', 'dagrun_asset_event 3.0'],
    ...['asset_alias_asset 3.0', 'asset_alias_asset_event 3.0', 'backfill_dag_run 3.0', 'deadline 3.0'],
    ...['deadline_alert 3.2', 'hitl_detail 3.1', 'hitl_detail_history 3.2', 'partitioned_asset_key_log 3.2'],
    ...['asset_partition_dag_run 3.2', 'asset_state_store 3.3', 'task_state_store 3.3'],
  ],
};

/** What the database of a release has besides the tables that a backup through its API holds. */
export function unreachedTables(release: string): readonly UnreachedTable[] {
  const given = new Set(restTables(release).map(({ name }) => name));
  return Object.entries(TABLES).flatMap(([reason, entries]) =>
    entries.flatMap((entry) => {
      const [name = '', since = '2.5', until] = entry.split(' ');
      const has = isAtLeast(release, since) && (until === undefined || !isAtLeast(release, until));
      return has && !given.has(name) ? [{ name, reason }] : [];
    }),
  );
}
