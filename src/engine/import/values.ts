import type { ColumnType } from '../../tables/spec.ts';
import { pythonBytes, pythonLiteralToJson } from './python-literal.ts';

export interface ColumnRule {
  readonly type: ColumnType;
  /** An empty field is '', not NULL: the column is NOT NULL, or Airflow itself writes '' there. */
  readonly keepsEmpty: boolean;
}

/**
 * Both tools write NULL and '' as an empty field. Where '' would be NULL in a NOT NULL text column it stays ''; elsewhere
 * it becomes NULL, which is what Airflow has in all but a few of these columns:
 * - variable.val: set_val writes '' for an empty value (airflow/models/variable.py)
 * - task_instance.hostname: a task that never ran has '' (airflow/models/taskinstance.py, insert_mapping)
 * The rest are the text columns that are NOT NULL, or part of a key that other rows name.
 */
const KEEP_EMPTY: Readonly<Record<string, readonly string[]>> = {
  variable: ['key', 'val'],
  connection: ['conn_id', 'conn_type'],
  slot_pool: ['pool'],
  dag: ['dag_id'],
  dag_run: ['dag_id', 'run_id', 'run_type'],
  task_instance: ['dag_id', 'task_id', 'run_id', 'hostname', 'pool'],
  task_instance_history: ['dag_id', 'task_id', 'run_id', 'hostname', 'pool'],
  task_instance_note: ['dag_id', 'task_id', 'run_id'],
  task_fail: ['dag_id', 'task_id', 'run_id'],
  xcom: ['dag_id', 'task_id', 'run_id', 'key'],
  trigger: ['classpath', 'kwargs'],
};

export function keepsEmpty(table: string, column: string): boolean {
  return KEEP_EMPTY[table]?.includes(column) ?? false;
}

const BOOLEANS: Readonly<Record<string, string>> = { True: 't', False: 'f' };

/** A field of mwaa_dr: `str` of what psycopg2 returned. Timestamps, numbers and `\x` hex are PostgreSQL's already. */
export function mwaaValue(field: string, { type, keepsEmpty: kept }: ColumnRule): string | null {
  if (field === '') return kept && type === 'text' ? '' : null;
  if (type === 'json') return pythonLiteralToJson(field);
  if (type === 'boolean') return BOOLEANS[field] ?? field;
  return field;
}

/**
 * A field of the Glue export: what pandas wrote of a Spark frame. A column of integers that has a NULL became floats,
 * times lost their zone (Glue works in UTC), and bytes became `bytearray(b'…')`. JSON is text all the way.
 */
export function glueValue(field: string, { type, keepsEmpty: kept }: ColumnRule): string | null {
  if (field === '') return kept && type === 'text' ? '' : null;
  switch (type) {
    case 'boolean':
      return BOOLEANS[field] ?? field;
    case 'integer':
    case 'bigint':
      return field.replace(/\.0+$/, '');
    case 'timestamptz':
      return /^\d{4}-\d\d-\d\d( [\d:.]+)?$/.test(field)
        ? `${field}${field.length > 10 ? '' : ' 00:00:00'}+00`
        : field;
    case 'bytea':
      return field.startsWith('\\x') ? field : `\\x${pythonBytes(field).toString('hex')}`;
    default:
      return field;
  }
}
