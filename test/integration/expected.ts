import type { DatabaseSnapshot } from '../helpers/compare.ts';
import { resumed } from './resumed.ts';

/** A row by column name, values as text. */
export type NamedRow = Readonly<Record<string, string | null>>;
/** Table name → rows, ids of other rows replaced by what they stand for. */
export type Content = ReadonlyMap<string, readonly NamedRow[]>;

export interface Situation {
  readonly clean: boolean;
  /** From the manifest. */
  readonly snapshotTime: string;
}

/** What each id column stands for. Written by hand, not read from the table specs: those are what is tested. */
const REFERENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  dag_run: { creating_job_id: 'job', log_template_id: 'log_template' },
  task_instance: { job_id: 'job', queued_by_job_id: 'job', trigger_id: 'trigger' },
  task_instance_history: { job_id: 'job', queued_by_job_id: 'job', trigger_id: 'trigger' },
  trigger: { triggerer_id: 'job' },
  xcom: { dag_run_id: 'dag_run' },
  dag_run_note: { dag_run_id: 'dag_run', user_id: 'ab_user' },
  task_instance_note: { user_id: 'ab_user' },
  dataset_event: { dataset_id: 'dataset' },
  dagrun_dataset_event: { dag_run_id: 'dag_run' },
  dataset_dag_run_queue: { dataset_id: 'dataset' },
  dag_schedule_dataset_reference: { dataset_id: 'dataset' },
  task_outlet_dataset_reference: { dataset_id: 'dataset' },
  dataset_alias_dataset: { dataset_id: 'dataset', alias_id: 'dataset_alias' },
  dataset_alias_dataset_event: { alias_id: 'dataset_alias' },
  dag_schedule_dataset_alias_reference: { alias_id: 'dataset_alias' },
};

/** Parents of which these columns tell which row it is; of all others, every column but the id does. */
const IDENTITY: Readonly<Record<string, readonly string[]>> = {
  log_template: ['filename', 'elasticsearch_id'],
  ab_user: ['username'],
  dataset: ['uri'],
  dataset_alias: ['name'],
  dag_run: ['dag_id', 'run_id', 'id'],
};

/** Tables whose ids may be others in the target; everywhere else the id itself is compared. */
const MOVING = new Set([
  'job',
  'trigger',
  'log',
  'log_template',
  'variable',
  'connection',
  'slot_pool',
  'dataset',
  'dataset_alias',
  'task_instance_history',
]);

export function namedRows(snapshot: DatabaseSnapshot, table: string): readonly NamedRow[] {
  const found = snapshot.get(table);
  if (!found) return [];
  return found.rows.map((row) =>
    Object.fromEntries(found.columns.map((column, at) => [column.name, row[at] ?? null])),
  );
}

/** Replaces every id by what it leads to: equal contents are equal rows with equal references, whatever the ids are. */
export function resolveIds(snapshot: DatabaseSnapshot): Content {
  const rows = new Map([...snapshot.keys()].map((table) => [table, namedRows(snapshot, table)]));
  const identities = new Map<string, ReadonlyMap<string, string>>();

  const lead = (table: string, row: NamedRow): NamedRow =>
    Object.fromEntries(
      Object.entries(row)
        .filter(([column]) => column !== 'id' || !MOVING.has(table))
        .map(([column, value]) => {
          const parent = REFERENCES[table]?.[column];
          if (parent === undefined || value === null) return [column, value];
          return [column, identitiesOf(parent).get(value) ?? `no ${parent} ${value}`];
        }),
    );
  const identitiesOf = (table: string): ReadonlyMap<string, string> => {
    const known = identities.get(table);
    if (known) return known;
    const made = new Map(
      (rows.get(table) ?? []).map((row) => {
        const led = Object.entries({ ...lead(table, row), ...(table === 'dag_run' ? { id: row.id } : {}) });
        const columns = IDENTITY[table];
        const identity = led.filter(([column]) => columns === undefined || columns.includes(column));
        return [row.id ?? '', `${table} ${JSON.stringify(identity)}`];
      }),
    );
    identities.set(table, made);
    return made;
  };
  return new Map([...rows].map(([table, list]) => [table, list.map((row) => lead(table, row))]));
}

type Rows = readonly NamedRow[];

interface Difference {
  readonly tables: readonly string[];
  readonly reason: string;
  readonly expect: (source: Rows, before: Rows, situation: Situation) => Rows;
}

/** Rows of the target stay; rows of the backup whose key the target lacks are added. */
const union =
  (...key: readonly string[]) =>
  (source: Rows, before: Rows): Rows => {
    const keyOf = (row: NamedRow): string => JSON.stringify(key.map((column) => row[column]));
    const known = new Set(before.map(keyOf));
    return [...before, ...source.filter((row) => !known.has(keyOf(row)))];
  };

const SCHEDULE = [
  'is_paused',
  'next_dagrun',
  'next_dagrun_data_interval_start',
  'next_dagrun_data_interval_end',
  'next_dagrun_create_after',
];
const NOT_BACKED_UP = { scheduler_lock: null, last_pickled: null, pickle_id: null };

/**
 * Everything in which a restored database may differ from its source, and why. What is not here must be equal; what is
 * here is predicted, not ignored.
 */
const DIFFERENCES: readonly Difference[] = [
  {
    tables: [
      'serialized_dag',
      'dag_code',
      'dag_warning',
      'import_error',
      'session',
      'callback_request',
      'dag_pickle',
      'dag_priority_parsing_request',
    ],
    reason: 'left out: rebuilt by the parser, or of processes that are gone',
    expect: (_source, before) => before,
  },
  {
    tables: [
      'alembic_version',
      'ab_permission',
      'ab_permission_view',
      'ab_permission_view_role',
      'ab_register_user',
      'ab_role',
      'ab_user',
      'ab_user_role',
      'ab_view_menu',
    ],
    reason: 'left out: belong to the target',
    expect: (_source, before) => before,
  },
  {
    tables: ['log_template'],
    reason: 'matched by content; the target’s created_at stays',
    expect: union('filename', 'elasticsearch_id'),
  },
  { tables: ['variable'], reason: 'strategy append: the target’s value stays', expect: union('key') },
  { tables: ['connection'], reason: 'strategy append: the target’s value stays', expect: union('conn_id') },
  { tables: ['dataset'], reason: 'matched by uri; the parser’s row stays', expect: union('uri') },
  { tables: ['dataset_alias'], reason: 'matched by name', expect: union('name') },
  {
    tables: ['slot_pool'],
    reason: 'matched by name; the backup’s slots win, target-only pools stay',
    expect: (source, before) => union('pool')(before, source),
  },
  { tables: ['dag_tag'], reason: 'merged: the parser rewrites them', expect: union('name', 'dag_id') },
  {
    tables: ['dag_owner_attributes'],
    reason: 'merged: the parser rewrites them',
    expect: union('dag_id', 'owner'),
  },
  {
    tables: ['dag_schedule_dataset_reference'],
    reason: 'merged: the parser rewrites them',
    expect: union('dataset_id', 'dag_id'),
  },
  {
    tables: ['dag_schedule_dataset_alias_reference'],
    reason: 'merged: the parser rewrites them',
    expect: union('alias_id', 'dag_id'),
  },
  {
    tables: ['task_outlet_dataset_reference'],
    reason: 'merged: the parser rewrites them',
    expect: union('dataset_id', 'dag_id', 'task_id'),
  },
  {
    tables: ['dataset_alias_dataset'],
    reason: 'merged: what an alias stood for on either side',
    expect: union('alias_id', 'dataset_id'),
  },
  {
    tables: ['dag'],
    reason: 'a parsed DAG takes pause state and next run; another is created inactive until it is parsed',
    expect: (source, before) => {
      const parsed = new Map(before.map((row) => [row.dag_id, row]));
      const restored = source.map((row) => {
        const existing = parsed.get(row.dag_id ?? null);
        if (!existing) return { ...row, ...NOT_BACKED_UP, is_active: 'false' };
        return {
          ...existing,
          ...Object.fromEntries(SCHEDULE.map((column) => [column, row[column] ?? null])),
        };
      });
      return union('dag_id')(before, restored);
    },
  },
];

/** Unfinished jobs of the backup are dead: stored as failed, ended at the moment of the backup. */
export function endJobs(source: DatabaseSnapshot, snapshotTime: string): DatabaseSnapshot {
  const job = source.get('job');
  if (!job) return source;
  const at = (name: string): number => job.columns.findIndex((column) => column.name === name);
  const ended = snapshotTime.replace('T', ' ').replace(/\.?0*Z$/, '+00');
  const rows = job.rows.map((row) => {
    const state = row[at('state')];
    if (state === 'success' || state === 'failed') return row;
    return row.map((value, index) => {
      if (index === at('state')) return 'failed';
      return index === at('end_date') ? (value ?? ended) : value;
    });
  });
  return new Map([...source, ['job', { ...job, rows }]]);
}

/** What a correct restore of `source` into a database with the content `before` makes of it. */
export function expectedContent(
  source: DatabaseSnapshot,
  before: DatabaseSnapshot,
  situation: Situation,
): Content {
  const [from, into] = [
    resolveIds(endJobs(resumed(source, situation.snapshotTime), situation.snapshotTime)),
    resolveIds(before),
  ];
  return new Map(
    [...into].map(([table, own]) => {
      const rule = DIFFERENCES.find(({ tables }) => tables.includes(table));
      const stored = from.get(table) ?? [];
      if (rule) return [table, rule.expect(stored, own, situation)];
      return [table, situation.clean ? stored : [...own, ...stored]];
    }),
  );
}

const MOST_LINES = 6;

/** Rows that are on one side only, for people; empty when both are equal. */
export function diffContent(expected: Content, actual: Content): readonly string[] {
  return [...new Set([...expected.keys(), ...actual.keys()])].sort().flatMap((table) => {
    const [left, right] = [texts(expected.get(table)), texts(actual.get(table))];
    const lines = [
      ...without(left, right).map((text) => `${table}: missing ${text.slice(0, 600)}`),
      ...without(right, left).map((text) => `${table}: unexpected ${text.slice(0, 600)}`),
    ];
    return lines.length > MOST_LINES
      ? [...lines.slice(0, MOST_LINES), `${table}: and ${lines.length - MOST_LINES} more`]
      : lines;
  });
}

function texts(rows: Rows = []): readonly string[] {
  return rows.map((row) =>
    JSON.stringify(Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))),
  );
}

/** As bags: a row that is there twice on one side and once on the other is a difference. */
function without(rows: readonly string[], others: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const row of others) left.set(row, (left.get(row) ?? 0) + 1);
  return rows.filter((row) => {
    const count = left.get(row) ?? 0;
    left.set(row, count - 1);
    return count <= 0;
  });
}
