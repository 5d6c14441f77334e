import { isAtLeast, type NamedList, offers, restDialect } from '../../versions/rest.ts';
import type { Row } from '../../rest/pages.ts';
import { isMasked } from '../rest/values.ts';
import { canonicalJson } from './json.ts';
import type { LackingRow, StoredRecord } from './records.ts';

/** One pool, variable or connection as the API takes it. */
export interface Setting {
  readonly name: string;
  readonly record: StoredRecord;
  readonly body: Row;
}

export interface SettingSpec {
  readonly kind: NamedList;
  readonly table: 'slot_pool' | 'variable' | 'connection';
  /** Field of the name. */
  readonly key: string;
  /** Fields that are compared; of these the API may hide some. */
  readonly fields: readonly string[];
  /** The body of a stored row, or why Airflow takes none like it. */
  readonly toBody: (record: StoredRecord, release: string) => Row | string;
}

/** Airflow's own: neither made nor deleted by anybody. */
export const DEFAULT_POOL = 'default_pool';

export const SETTINGS: readonly SettingSpec[] = [
  {
    kind: 'pools',
    table: 'slot_pool',
    key: 'name',
    fields: ['slots', 'description', 'include_deferred'],
    toBody: ({ pool, slots, description, include_deferred: deferred }, release) =>
      slots === null || slots === undefined
        ? 'it has no slots (NULL)'
        : {
            name: pool,
            slots: Number(slots),
            ...(pool === DEFAULT_POOL && !isAtLeast(release, '3.0')
              ? {}
              : { description: description ?? null }),
            ...(isAtLeast(release, '2.7') ? { include_deferred: deferred === 't' } : {}),
          },
  },
  {
    kind: 'variables',
    table: 'variable',
    key: 'key',
    fields: ['value', 'description'],
    toBody: ({ key, val, description }, release) =>
      val === null || val === undefined
        ? 'it has no value (NULL)'
        : { key, value: val, ...(describes(release) ? { description: description ?? null } : {}) },
  },
  {
    kind: 'connections',
    table: 'connection',
    key: 'connection_id',
    fields: ['conn_type', 'description', 'host', 'login', 'schema', 'port', 'password', 'extra'],
    toBody: (record) => ({
      connection_id: record.conn_id,
      conn_type: record.conn_type ?? '',
      ...Object.fromEntries(CONNECTION_TEXTS.map((column) => [column, record[column] ?? null])),
      port: (record.port ?? null) === null ? null : Number(record.port),
    }),
  },
];

const CONNECTION_TEXTS = ['description', 'host', 'login', 'schema', 'password', 'extra'];

/** Rows of the backup as the target takes them, and those that it cannot have. */
export function toSettings(
  spec: SettingSpec,
  records: readonly StoredRecord[],
  release: string,
): { readonly settings: readonly Setting[]; readonly lacking: readonly LackingRow[] } {
  const settings: Setting[] = [];
  const lacking: LackingRow[] = [];
  for (const record of records) {
    const name = record[NAME_COLUMNS[spec.table]] ?? '';
    const team = record.team_name ?? null;
    const body = spec.toBody(record, release);
    if (typeof body === 'string') lacking.push({ name, reason: body });
    else if (team !== null && !isAtLeast(release, TEAMS)) {
      lacking.push({ name, reason: `it belongs to the team ${team}, and Airflow ${release} has no teams` });
    } else settings.push({ name, record, body: team === null ? body : { ...body, team_name: team } });
  }
  return { settings, lacking };
}

const TEAMS = '3.2';
const NAME_COLUMNS = { slot_pool: 'pool', variable: 'key', connection: 'conn_id' } as const;

/** A value of a setting that does not get into the target, although the setting does. */
export interface NotTaken {
  readonly column: string;
  readonly reason: string;
}

/** What this Airflow leaves as it is when a setting is written. */
export function notTaken(
  { kind }: SettingSpec,
  { record, body }: Setting,
  { release, replaces }: { readonly release: string; readonly replaces: boolean },
): readonly NotTaken[] {
  const found: NotTaken[] = [];
  if (kind === 'variables' && (record.description ?? '') !== '' && !describes(release)) {
    found.push({ column: 'description', reason: `the API of Airflow ${release} takes none` });
  }
  for (const [field, instead] of Object.entries(restDialect(release)?.nullsRefused[kind] ?? {})) {
    if (replaces && body[field] === null && instead === null) found.push({ column: field, reason: STAYS });
  }
  return found;
}

const STAYS =
  'there is none in the backup, and the API of Airflow 2 takes none away: one that the target has stays';

function describes(release: string): boolean {
  const dialect = restDialect(release);
  return dialect === undefined || offers(dialect, release, 'changeDescription');
}

/** unknown: the API hides what would have to be compared. */
export type Likeness = 'same' | 'different' | 'unknown';

/** Whether the target has a setting as the backup has it. */
export function likeness({ fields }: SettingSpec, wanted: Row, found: Row): Likeness {
  const compared = fields
    .filter((field) => field in wanted)
    .map((field): Likeness => {
      // v1 gives no password at all, and the extra of single connections alone.
      if (!(field in found)) return 'unknown';
      if (isMasked(found[field])) return 'unknown';
      return comparable(wanted[field]) === comparable(found[field]) ? 'same' : 'different';
    });
  if (compared.includes('different')) return 'different';
  return compared.includes('unknown') ? 'unknown' : 'same';
}

/** Airflow 3 writes JSON anew before it shows it, and takes no text for none. */
function comparable(value: unknown): string {
  if (value === null || value === undefined || value === '') return '';
  return typeof value === 'string' ? (canonicalJson(value) ?? value) : JSON.stringify(value);
}
