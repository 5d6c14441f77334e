import { inflateSync } from 'node:zlib';
import type { Client } from 'pg';
import { quoteTable } from '../../db/introspect.ts';
import type { TimeLimit } from '../plans.ts';

type Row = Omit<TimeLimit, 'taskId' | 'mapIndex'> & {
  readonly taskId: string | null;
  readonly mapIndex: number | null;
};

/** A list that is longer helps nobody, and a manifest must stay small. Earliest first. */
const MAX_LIMITS = 500;

/**
 * What counts wall-clock time in unfinished work: for a deferred task `at` is when its trigger times out, for a run and
 * a sensor (a task in up_for_reschedule) when it began. Airflow's source: check_trigger_timeouts and dagrun_timeout in
 * airflow/jobs/scheduler_job_runner.py, `_get_first_reschedule_date` in airflow/sensors/base.py (2.8.1, 2.11.0).
 *
 * @param among SQL with a dag_run named r: which runs.
 */
export async function readLimits(
  client: Client,
  schema: string,
  among = 'true',
): Promise<readonly TimeLimit[]> {
  const run = quoteTable(schema, 'dag_run');
  const task = quoteTable(schema, 'task_instance');
  const iso = (moment: string): string => `pg_catalog.to_char(${moment}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
  const joined = `${task} t JOIN ${run} r ON r.dag_id = t.dag_id AND r.run_id = t.run_id AND r.state = 'running'`;
  const { rows } = await client.query<Row>(
    `SELECT * FROM (
       SELECT 'dagrun' AS kind, r.dag_id AS "dagId", r.run_id AS "runId", NULL AS "taskId", NULL::int AS "mapIndex",
              ${iso(`r.start_date AT TIME ZONE 'UTC'`)} AS at
         FROM ${run} r WHERE r.state = 'running' AND r.start_date IS NOT NULL AND (${among})
       UNION ALL
       SELECT 'trigger', t.dag_id, t.run_id, t.task_id, t.map_index, ${iso('t.trigger_timeout')}
         FROM ${joined} WHERE t.state = 'deferred' AND t.trigger_timeout IS NOT NULL AND (${among})
       UNION ALL
       SELECT 'sensor', t.dag_id, t.run_id, t.task_id, t.map_index,
              ${iso(`(SELECT pg_catalog.min(w.start_date) FROM ${quoteTable(schema, 'task_reschedule')} w
                WHERE w.dag_id = t.dag_id AND w.task_id = t.task_id AND w.run_id = t.run_id AND w.map_index = t.map_index) AT TIME ZONE 'UTC'`)}
         FROM ${joined} WHERE t.state = 'up_for_reschedule' AND (${among})
     ) limits WHERE at IS NOT NULL ORDER BY at, "dagId", "runId", "taskId" NULLS FIRST, "mapIndex" LIMIT ${MAX_LIMITS}`,
  );
  return rows.map(({ taskId, mapIndex, dagId, runId, kind, at }) => ({
    dagId,
    runId,
    ...(taskId === null ? {} : { taskId }),
    ...(mapIndex === null ? {} : { mapIndex }),
    kind,
    at,
  }));
}

/** dagrun_timeout of DAGs that the target has parsed, in seconds: "dag"."dagrun_timeout" in airflow/serialization/schema.json. */
export async function readRunTimeouts(
  client: Client,
  schema: string,
  dagIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (dagIds.length === 0) return new Map();
  const table = quoteTable(schema, 'serialized_dag');
  const known = await client.query<{ there: boolean }>(
    'SELECT pg_catalog.to_regclass($1) IS NOT NULL AS there',
    [table],
  );
  if (!known.rows[0]?.there) return new Map();
  const { rows } = await client.query<{ dag_id: string; timeout: string | null; packed: Buffer | null }>(
    `SELECT dag_id, data #>> '{dag,dagrun_timeout}' AS timeout, CASE WHEN data IS NULL THEN data_compressed END AS packed
       FROM ${table} WHERE dag_id = ANY ($1)`,
    [dagIds],
  );
  const found = rows.map(({ dag_id, timeout, packed }): [string, number] => [
    dag_id,
    Number(packed === null ? (timeout ?? NaN) : unpackTimeout(packed)),
  ]);
  return new Map(found.filter(([, seconds]) => Number.isFinite(seconds)));
}

/** With `[core] compress_serialized_dags` the JSON is packed with zlib (airflow/models/serialized_dag.py). */
function unpackTimeout(packed: Buffer): number {
  try {
    const parsed = JSON.parse(inflateSync(packed).toString('utf8')) as { dag?: { dagrun_timeout?: unknown } };
    const seconds = parsed.dag?.dagrun_timeout;
    return typeof seconds === 'number' ? seconds : NaN;
  } catch {
    // What the parser will write anew is not worth an error here.
    return NaN;
  }
}

/** Pure: the limits that are passed at a moment. Sensors are all told: only their code knows how long they wait. */
export function passedLimits(
  limits: readonly TimeLimit[],
  runTimeouts: ReadonlyMap<string, number>,
  now: Date,
): readonly TimeLimit[] {
  return limits.flatMap((limit) => {
    if (limit.kind === 'sensor') return [limit];
    if (limit.kind === 'trigger') return Date.parse(limit.at) <= now.getTime() ? [limit] : [];
    const timeout = runTimeouts.get(limit.dagId);
    if (timeout === undefined) return [];
    const ends = Date.parse(limit.at) + timeout * 1000;
    return ends <= now.getTime() ? [{ ...limit, at: new Date(ends).toISOString() }] : [];
  });
}
