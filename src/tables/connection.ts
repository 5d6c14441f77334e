import type { TableSpec } from './spec.ts';

/** Airflow Connections. login, host and schema are never encrypted; password and extra each have their own flag. */
export const connection: TableSpec = {
  name: 'connection',
  key: ['id'],
  columns: [
    'id integer',
    'conn_id text',
    'conn_type text',
    'description text',
    'host text',
    'schema text',
    'login text',
    'password text',
    'port integer',
    'is_encrypted boolean',
    'is_extra_encrypted boolean',
    'extra text',
  ],
  chosen: { by: 'environment' },
  restore: { kind: 'merge', by: ['conn_id'], existing: 'strategy' },
  serial: 'id',
  secrets: [
    { column: 'password', flag: 'is_encrypted' },
    { column: 'extra', flag: 'is_extra_encrypted' },
  ],
};
