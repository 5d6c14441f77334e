import { abUser } from './ab-user.ts';
import { connection } from './connection.ts';
import { dag } from './dag.ts';
import { dagOwnerAttributes } from './dag-owner-attributes.ts';
import { dagRun } from './dag-run.ts';
import { dagRunNote } from './dag-run-note.ts';
import { dagScheduleDatasetAliasReference } from './dag-schedule-dataset-alias-reference.ts';
import { dagScheduleDatasetReference } from './dag-schedule-dataset-reference.ts';
import { dagTag } from './dag-tag.ts';
import { dagrunDatasetEvent } from './dagrun-dataset-event.ts';
import { dataset } from './dataset.ts';
import { datasetAlias } from './dataset-alias.ts';
import { datasetAliasDataset } from './dataset-alias-dataset.ts';
import { datasetAliasDatasetEvent } from './dataset-alias-dataset-event.ts';
import { datasetDagRunQueue } from './dataset-dag-run-queue.ts';
import { datasetEvent } from './dataset-event.ts';
import { job } from './job.ts';
import { log } from './log.ts';
import { logTemplate } from './log-template.ts';
import { renderedTaskInstanceFields } from './rendered-task-instance-fields.ts';
import { slaMiss } from './sla-miss.ts';
import { slotPool } from './slot-pool.ts';
import { taskFail } from './task-fail.ts';
import { taskInstance } from './task-instance.ts';
import { taskInstanceHistory } from './task-instance-history.ts';
import { taskInstanceNote } from './task-instance-note.ts';
import { taskMap } from './task-map.ts';
import { taskOutletDatasetReference } from './task-outlet-dataset-reference.ts';
import { taskReschedule } from './task-reschedule.ts';
import { trigger } from './trigger.ts';
import { variable } from './variable.ts';
import { xcom } from './xcom.ts';
import type { LeftOutTable, TableSpec } from './spec.ts';

/** Every table that carries state, in any version. */
export const TABLE_SPECS: readonly TableSpec[] = [
  variable,
  connection,
  slotPool,
  logTemplate,
  job,
  trigger,
  dag,
  dagRun,
  taskInstance,
  taskInstanceHistory,
  taskFail,
  taskReschedule,
  taskMap,
  xcom,
  renderedTaskInstanceFields,
  dagRunNote,
  taskInstanceNote,
  log,
  slaMiss,
  dataset,
  datasetAlias,
  datasetEvent,
  dagrunDatasetEvent,
  datasetDagRunQueue,
  datasetAliasDataset,
  datasetAliasDatasetEvent,
  dagTag,
  dagOwnerAttributes,
  dagScheduleDatasetReference,
  dagScheduleDatasetAliasReference,
  taskOutletDatasetReference,
  abUser,
];

/** Tables that are known and left out, with the reason that the manifest and `show` give. */
export const LEFT_OUT_TABLES: readonly LeftOutTable[] = [
  { name: 'serialized_dag', reason: 'rebuilt from the DAG files by the parser' },
  { name: 'dag_code', reason: 'rebuilt from the DAG files by the parser' },
  {
    name: 'dag_pickle',
    reason:
      'pickled DAGs of a feature that Airflow dropped; rebuilt by the scheduler when donot_pickle is off',
  },
  { name: 'dag_warning', reason: 'rebuilt from the DAG files by the parser' },
  { name: 'import_error', reason: 'rebuilt from the DAG files by the parser' },
  { name: 'dag_priority_parsing_request', reason: 'requests to the parser, gone once served' },
  { name: 'callback_request', reason: 'callbacks for DAG processors of the dead environment' },
  { name: 'session', reason: 'browser sessions; they must not outlive their environment' },
  {
    name: 'alembic_version',
    reason: "the schema version belongs to the target; the manifest records the source's",
  },
  { name: 'ab_permission', reason: 'users, roles and permissions belong to the target' },
  { name: 'ab_permission_view', reason: 'users, roles and permissions belong to the target' },
  { name: 'ab_permission_view_role', reason: 'users, roles and permissions belong to the target' },
  { name: 'ab_register_user', reason: 'users, roles and permissions belong to the target' },
  { name: 'ab_role', reason: 'users, roles and permissions belong to the target' },
  { name: 'ab_user_role', reason: 'users, roles and permissions belong to the target' },
  { name: 'ab_view_menu', reason: 'users, roles and permissions belong to the target' },
  { name: 'celery_taskmeta', reason: 'results of the Celery executor of the dead environment' },
  { name: 'celery_tasksetmeta', reason: 'results of the Celery executor of the dead environment' },
  { name: 'alembic_version_fab', reason: 'the schema version belongs to the target' },
];

/** Left out by the form of their name: archives that `airflow db clean` and migrations leave behind. */
export const LEFT_OUT_PREFIXES: readonly LeftOutTable[] = [
  { name: '_airflow_deleted__', reason: 'rows archived by `airflow db clean`' },
  { name: '_airflow_moved', reason: 'rows that a migration of Airflow set aside' },
  { name: '_xcom_archive', reason: 'rows that a migration of Airflow set aside' },
];
