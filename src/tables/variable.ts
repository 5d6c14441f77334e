import type { TableSpec } from './spec.ts';

/** Airflow Variables. `val` is a Fernet token when `is_encrypted`; the flag is per row, so mixed tables are legal. */
export const variable: TableSpec = {
  name: 'variable',
  key: ['id'],
  columns: ['id integer', 'key text', 'val text', 'description text', 'is_encrypted boolean'],
  chosen: { by: 'environment' },
  restore: { kind: 'merge', by: ['key'], existing: 'strategy' },
  serial: 'id',
  secrets: [{ column: 'val', flag: 'is_encrypted' }],
};
