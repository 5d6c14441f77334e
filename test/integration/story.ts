import type pg from 'pg';

/** One row as JSON text, ids of other rows replaced by what they stand for. */
export interface Told {
  readonly table: string;
  /** Null: of no DAG. */
  readonly dag: string | null;
  readonly run: string | null;
  readonly row: string;
}

const JOB = (id: string): string =>
  `(SELECT jsonb_build_array(j.job_type, j.start_date, j.hostname, j.unixname) FROM job j WHERE j.id = ${id})`;
const TRIGGER = (id: string): string =>
  `(SELECT jsonb_build_array(g.classpath, g.kwargs::text, g.created_date) FROM trigger g WHERE g.id = ${id})`;
const DATASET = (id: string): string => `(SELECT d.uri FROM dataset d WHERE d.id = ${id})`;

interface Telling {
  readonly table: string;
  /** Columns that hold ids: left out, or replaced. */
  readonly ids: readonly string[];
  readonly instead?: Readonly<Record<string, string>>;
  readonly dag?: string;
  readonly run?: string;
  readonly join?: string;
}

/** Written by hand, not read from the table specs: those are what is tested. */
const TELLINGS: readonly Telling[] = [
  {
    table: 'dag_run',
    ids: ['id', 'creating_job_id', 'log_template_id'],
    instead: {
      job: JOB('x.creating_job_id'),
      template: '(SELECT t.filename FROM log_template t WHERE t.id = x.log_template_id)',
    },
  },
  ...['task_instance', 'task_instance_history'].map((table): Telling => ({
    table,
    ids: ['id', 'job_id', 'queued_by_job_id', 'trigger_id'],
    instead: { job: JOB('x.job_id'), queued: JOB('x.queued_by_job_id'), trigger: TRIGGER('x.trigger_id') },
  })),
  ...['task_fail', 'task_reschedule', 'task_map', 'rendered_task_instance_fields'].map((table): Telling => ({
    table,
    ids: ['id'],
  })),
  { table: 'task_instance_note', ids: ['user_id'] },
  {
    table: 'xcom',
    ids: ['dag_run_id'],
    join: 'JOIN dag_run r ON r.id = x.dag_run_id',
    dag: 'r.dag_id',
    run: 'r.run_id',
  },
  {
    table: 'dag_run_note',
    ids: ['dag_run_id', 'user_id'],
    join: 'JOIN dag_run r ON r.id = x.dag_run_id',
    dag: 'r.dag_id',
    run: 'r.run_id',
  },
  { table: 'log', ids: ['id'], run: 'NULL' },
  { table: 'sla_miss', ids: [], run: 'NULL' },
  {
    table: 'dataset_event',
    ids: ['id', 'dataset_id'],
    instead: { dataset: DATASET('x.dataset_id') },
    dag: 'x.source_dag_id',
    run: 'x.source_run_id',
  },
  {
    table: 'dagrun_dataset_event',
    ids: ['dag_run_id', 'event_id'],
    instead: { event: 'jsonb_build_array(e.timestamp, e.source_dag_id, e.source_run_id)' },
    join: 'JOIN dag_run r ON r.id = x.dag_run_id JOIN dataset_event e ON e.id = x.event_id',
    dag: 'r.dag_id',
    run: 'r.run_id',
  },
  {
    table: 'dataset_dag_run_queue',
    ids: ['dataset_id'],
    instead: { dataset: DATASET('x.dataset_id') },
    dag: 'x.target_dag_id',
    run: 'NULL',
  },
];

/** The whole history of an environment: equal stories are equal rows with equal references, whatever the ids are. */
export async function tellStory(client: pg.ClientBase): Promise<readonly Told[]> {
  const told: Told[] = [];
  for (const one of TELLINGS) {
    const { rows: there } = await client.query('SELECT FROM pg_class WHERE relname = $1', [one.table]);
    if (there.length === 0) continue;
    const instead = Object.entries(one.instead ?? {}).map(([name, sql]) => `'${name}', ${sql}`);
    const { rows } = await client.query<{ dag: string | null; run: string | null; row: string }>(
      `SELECT ${one.dag ?? 'x.dag_id'} AS dag, ${one.run ?? 'x.run_id'} AS run,
              ((to_jsonb(x) - $1::text[]) || jsonb_build_object(${instead.join(', ')}))::text AS row
         FROM ${one.table} x ${one.join ?? ''} ORDER BY 3`,
      [one.ids],
    );
    told.push(...rows.map((row) => ({ table: one.table, ...row })));
  }
  return told;
}

/** References that lead nowhere, for people: "xcom.dag_run_id 3". */
export async function danglingReferences(client: pg.ClientBase): Promise<readonly string[]> {
  const found: string[] = [];
  for (const [table, column, parent] of REFERENCES) {
    const { rows: there } = await client.query('SELECT FROM pg_class WHERE relname = $1', [table]);
    if (there.length === 0) continue;
    const { rows } = await client.query<{ id: number }>(
      `SELECT ${column} AS id FROM ${table} x WHERE ${column} IS NOT NULL
        AND NOT EXISTS (SELECT FROM ${parent} p WHERE p.id = x.${column})`,
    );
    found.push(...rows.map(({ id }) => `${table}.${column} ${id}`));
  }
  return found;
}

const REFERENCES = [
  ['dag_run', 'creating_job_id', 'job'],
  ['dag_run', 'log_template_id', 'log_template'],
  ['task_instance', 'job_id', 'job'],
  ['task_instance', 'queued_by_job_id', 'job'],
  ['task_instance', 'trigger_id', 'trigger'],
  ['task_instance_history', 'job_id', 'job'],
  ['task_instance_history', 'queued_by_job_id', 'job'],
  ['xcom', 'dag_run_id', 'dag_run'],
  ['dag_run_note', 'dag_run_id', 'dag_run'],
  ['dag_run_note', 'user_id', 'ab_user'],
  ['dataset_event', 'dataset_id', 'dataset'],
  ['dagrun_dataset_event', 'dag_run_id', 'dag_run'],
  ['dagrun_dataset_event', 'event_id', 'dataset_event'],
  ['dataset_dag_run_queue', 'dataset_id', 'dataset'],
  ['dag_schedule_dataset_reference', 'dataset_id', 'dataset'],
  ['task_outlet_dataset_reference', 'dataset_id', 'dataset'],
  ['dataset_alias_dataset', 'dataset_id', 'dataset'],
  ['dataset_alias_dataset', 'alias_id', 'dataset_alias'],
] as const;

/** Rows that are on one side only, as bags, for people. */
export function storyDifferences(expected: readonly Told[], actual: readonly Told[]): readonly string[] {
  const texts = (told: readonly Told[]): string[] => told.map(({ table, row }) => `${table} ${row}`);
  const without = (rows: readonly string[], others: readonly string[]): string[] => {
    const left = new Map<string, number>();
    for (const row of others) left.set(row, (left.get(row) ?? 0) + 1);
    return rows.filter((row) => {
      const count = left.get(row) ?? 0;
      left.set(row, count - 1);
      return count <= 0;
    });
  };
  const [left, right] = [texts(expected), texts(actual)];
  return [
    ...without(left, right).map((row) => `missing ${row.slice(0, 300)}`),
    ...without(right, left).map((row) => `unexpected ${row.slice(0, 300)}`),
  ].slice(0, 12);
}
