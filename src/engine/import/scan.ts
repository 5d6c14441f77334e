import { canRead, fernetDecrypt } from '../../secrets/fernet.ts';
import type { ForeignBackup, Row } from './foreign.ts';
import { moment } from './moments.ts';

/** DAGs that make and restore these backups; their own unfinished run is the backup itself. */
const OWN_DAGS = [
  'backup_metadata',
  'restore_metadata',
  'cleanup_metadata',
  'glue_mwaa_export',
  'glue_mwaa_restore',
];
/** A task of mwaa_dr's backup, whatever its DAG is called. */
const OWN_TASK = 'export_tables.export_';

export interface Scan {
  readonly ownDags: ReadonlySet<string>;
  /** trigger_id of a deferred task → the row that must be its trigger; empty when ids are kept or nothing can be told. */
  readonly triggers: ReadonlyMap<string, Row>;
}

/**
 * What must be known before the first row is written. Reads the tasks once more than needed to store them, instead of
 * holding them in memory.
 */
export async function scanTasks(
  backup: ForeignBackup,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<Scan> {
  const ownDags = new Set(OWN_DAGS);
  const deferred: Row[] = [];
  for await (const row of backup.tables.get('task_instance')?.rows(signal) ?? []) {
    if ((row.task_id ?? '').startsWith(OWN_TASK)) ownDags.add(row.dag_id ?? '');
    if (row.state === 'deferred' && deferred.length < 2) deferred.push(row);
  }
  const triggers = backup.keepsIds
    ? new Map<string, Row>()
    : await pairTriggers(backup, deferred, keys, signal);
  return { ownDags, triggers };
}

/**
 * Triggers have no id in the files of mwaa_dr. A wrong one would resume a task with another's event, and nobody would see
 * it, so a task gets a trigger only where there is one of each, and the trigger is not older than the try that made it.
 */
async function pairTriggers(
  backup: ForeignBackup,
  deferred: readonly Row[],
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Row>> {
  const found: Row[] = [];
  for await (const row of backup.tables.get('trigger')?.rows(signal) ?? []) {
    if (found.length < 2) found.push(row);
  }
  const [task, ...otherTasks] = deferred;
  const [trigger, ...otherTriggers] = found;
  if (!task || !trigger || otherTasks.length + otherTriggers.length > 0) return new Map();
  const [made, started] = [moment(trigger.created_date), moment(task.start_date)];
  if (made === undefined || started === undefined || made < started) return new Map();
  if (typeof task.trigger_id !== 'string' || !readable(trigger.kwargs ?? '', keys)) return new Map();
  return new Map([[task.trigger_id, trigger]]);
}

/** Clear JSON, or a token that a known key reads: from 2.9 the arguments are encrypted (airflow/models/trigger.py). */
function readable(kwargs: string, keys: readonly string[]): boolean {
  return kwargs.startsWith('{') || canRead(keys, kwargs);
}

/** The token's clear text when it has to be encrypted anew, because only an older key reads it. */
export function clearIfForeign(kwargs: string, keys: readonly string[]): Buffer | undefined {
  const [first, ...others] = keys;
  if (first === undefined || kwargs.startsWith('{') || canRead([first], kwargs)) return undefined;
  return fernetDecrypt(others, kwargs);
}
