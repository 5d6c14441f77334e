import type { ManifestTable } from '../manifest.ts';
import type { StoredRow } from './rows.ts';

/** Tables that Airflow has a file of its own for, and the name of that file without its ending. */
export const SETTINGS_FILES: Readonly<Record<string, string>> = {
  variable: 'variables',
  connection: 'connections',
  slot_pool: 'pools',
};

type Field = string | number | boolean | null;

/** One entry of Airflow's file: its name, and a text (variables) or fields in Airflow's order. */
export interface SettingsEntry {
  readonly name: string;
  readonly value: string | Readonly<Record<string, Field>>;
}

const CONNECTION_TEXTS = ['conn_type', 'description', 'login', 'password', 'host'] as const;

/**
 * The entry of one row, secrets in clear, or why Airflow's file has no place for it. A form is lossless when each
 * `airflow … import` from 2.5 to 2.11 (airflow/cli/commands/{variable,connection,pool}_command.py) makes the same value
 * of it again:
 *
 * - A variable is always a text, its stored form: import stores a text as it is, and everything else as
 *   `json.dumps(value, indent=2)`, which is not what was there. `{"value": …, "description": …}` is understood by
 *   Airflow 3 alone; 2.x would store these braces as the value.
 * - `extra` of a connection is a text, for the same reason.
 * - A pool has include_deferred only where its Airflow has (2.7): 2.5 and 2.6 refuse an entry with three fields.
 */
export function settingsEntry(stored: ManifestTable, row: StoredRow): SettingsEntry | string {
  const field = (column: string): string | null => row[stored.columns.indexOf(column)] ?? null;
  const number = (column: string): number | null => {
    const text = field(column);
    return text === null ? null : Number(text);
  };
  const named = (
    name: string | null,
    value: Readonly<Record<string, Field>> | string,
  ): SettingsEntry | string => (name === null ? 'it has no name' : { name, value });

  if (stored.name === 'variable') {
    const value = field('val');
    // Import would store the word null for it.
    return value === null ? 'it has no value (NULL)' : named(field('key'), value);
  }
  if (stored.name === 'connection') {
    const texts = Object.fromEntries(CONNECTION_TEXTS.map((column) => [column, field(column)]));
    const rest = { port: number('port'), schema: field('schema'), extra: field('extra') };
    return named(field('conn_id'), { ...texts, ...rest });
  }
  // The import of pools ends with a traceback at either, and leaves out all that come after it.
  if (field('pool')?.trim() === '') return 'its name is empty, and the import of pools stops at it';
  if (number('slots') === null) return 'it has no slots (NULL), and the import of pools stops at it';
  const deferred = stored.columns.includes('include_deferred')
    ? { include_deferred: field('include_deferred') === 't' }
    : {};
  return named(field('pool'), {
    description: field('description'),
    ...deferred,
    slots: number('slots'),
  });
}

/** By code point, as Python sorts: UTF-16, JavaScript's order, puts 😀 before ｡. */
export function sortEntries(entries: readonly SettingsEntry[]): readonly SettingsEntry[] {
  return entries
    .map((entry) => ({ entry, bytes: Buffer.from(entry.name) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ entry }) => entry);
}
