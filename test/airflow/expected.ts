import { canonical } from './dump.ts';
import type { Dump, Row } from './dump.ts';
import { resumedDump } from './resumed.ts';

/** What was in the target when the restore began, and the moment that the backup shows. */
export interface RestoreSituation {
  readonly before: Dump;
  /** ISO time with microseconds, from the manifest. */
  readonly snapshotTime: string;
}

type Rows = readonly Row[];

interface Exception {
  readonly tables: readonly string[];
  readonly reason: string;
  readonly expect: (source: Rows, before: Rows, situation: RestoreSituation) => Rows;
}

const keepTarget = (_source: Rows, before: Rows): Rows => before;

/** Rows of the target stay; rows of the source whose key the target does not have are added. */
const union =
  (...key: readonly string[]) =>
  (source: Rows, before: Rows): Rows => {
    const keyOf = (row: Row): string => canonical(key.map((column) => row[column]));
    const known = new Set(before.map(keyOf));
    return [...before, ...source.filter((row) => !known.has(keyOf(row)))];
  };

/**
 * Everything that a restored database may show differently from its source. What is not in this table must be equal;
 * and what is in it is predicted, not ignored.
 */
const EXCEPTIONS: readonly Exception[] = [
  {
    tables: ['serialized_dag', 'dag_code', 'dag_warning', 'import_error'],
    reason: 'Left out of the backup: the parser rebuilds them from the DAG files.',
    expect: keepTarget,
  },
  {
    tables: ['session', 'callback_request', 'dag_pickle', 'dag_priority_parsing_request'],
    reason: 'Left out of the backup: they serve processes of the environment that is gone.',
    expect: keepTarget,
  },
  {
    tables: [
      'ab_permission',
      'ab_permission_view',
      'ab_permission_view_role',
      'ab_register_user',
      'ab_role',
      'ab_user',
      'ab_user_role',
      'ab_view_menu',
    ],
    reason: 'Left out of the backup: users, roles and permissions belong to the target.',
    expect: keepTarget,
  },
  { tables: ['alembic_version'], reason: 'The schema version belongs to the target.', expect: keepTarget },
  {
    tables: ['log_template'],
    reason: 'Rows of the target stay, and runs of the backup are led to them by content.',
    expect: union('filename', 'elasticsearch_id'),
  },
  {
    tables: ['variable'],
    reason: 'The strategy append keeps the variables that the target has.',
    expect: union('key'),
  },
  {
    tables: ['connection'],
    reason: 'The strategy append keeps the connections that the target has (db init makes some up to 2.6).',
    expect: union('conn_id'),
  },
  {
    tables: ['job'],
    reason:
      'A job that was unfinished is dead in the target: it is stored as failed at the moment of the backup.',
    expect: (source, _before, { snapshotTime }) =>
      source.map((row) =>
        row.state === 'success' || row.state === 'failed'
          ? row
          : { ...row, state: 'failed', end_date: row.end_date ?? { __dt__: snapshotTime } },
      ),
  },
  {
    tables: ['dag'],
    reason:
      'A DAG that the target parsed takes pause state and next run; another is inactive until it is parsed.',
    expect: (source, before) => {
      const parsed = new Map(before.map((row) => [row.dag_id, row]));
      const restored = source.map((row) => {
        const existing = parsed.get(row.dag_id);
        if (existing === undefined) return { ...row, is_active: false };
        return { ...existing, ...pick(row, SCHEDULE_COLUMNS) };
      });
      return union('dag_id')(before, restored);
    },
  },
];

const SCHEDULE_COLUMNS = [
  'is_paused',
  'next_dagrun',
  'next_dagrun_data_interval_start',
  'next_dagrun_data_interval_end',
  'next_dagrun_create_after',
];

const pick = (row: Row, columns: readonly string[]): Row =>
  Object.fromEntries(columns.map((column) => [column, row[column]]));

/** Hooks show the same rows through Airflow's accessors, so the same exceptions hold there. */
const HOOK_EXCEPTIONS: Readonly<Record<string, (source: unknown, before: unknown) => unknown>> = {
  serialized_dag: (_source, before) => before,
  variable: (source, before) => ({ ...(source as Row), ...(before as Row) }),
  connection: (source, before) => ({ ...(source as Row), ...(before as Row) }),
};

/** The dump that a correct restore of `source` must produce, in this situation. */
export function expectedDump(source: Dump, situation: RestoreSituation): Dump {
  const led = leadToTemplatesOf(situation.before, resumedDump(source, situation.snapshotTime));
  const semantic = Object.fromEntries(
    Object.entries(led.semantic).map(([table, rows]) => {
      const exception = EXCEPTIONS.find(({ tables }) => tables.includes(table));
      const before = situation.before.semantic[table] ?? [];
      return [table, exception === undefined ? rows : exception.expect(rows, before, situation)];
    }),
  );
  const hooks = Object.fromEntries(
    Object.entries(led.hooks).map(([hook, value]) => {
      const exception = HOOK_EXCEPTIONS[hook];
      return [hook, exception === undefined ? value : exception(value, situation.before.hooks[hook])];
    }),
  );
  const row_counts = Object.fromEntries(Object.entries(semantic).map(([name, rows]) => [name, rows.length]));
  return { airflow_version: source.airflow_version, errors: [], row_counts, semantic, hooks };
}

/**
 * Airflow makes its log templates itself in each environment, so the same template has another creation time there.
 * Wherever the source's dump shows a template that the target has, this is what it looks like in the target.
 */
export function leadToTemplatesOf(target: Dump, source: Dump): Dump {
  const content = (row: Row): string => canonical([row.filename, row.elasticsearch_id]);
  const own = new Map((target.semantic.log_template ?? []).map((row) => [content(row), row]));
  const lead = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(lead);
    if (value === null || typeof value !== 'object') return value;
    const row = value as Row;
    if ('elasticsearch_id' in row && 'filename' in row) return own.get(content(row)) ?? row;
    return Object.fromEntries(Object.entries(row).map(([key, inner]) => [key, lead(inner)]));
  };
  return lead(source) as Dump;
}
