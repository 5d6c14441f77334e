import type { Client } from 'pg';
import { quoteLiteral, quoteTable } from '../../db/introspect.ts';
import { RUNS, SAME_TASK, TASKS } from './restored.ts';
import { assignments, INTERRUPTED, NO_NEXT_METHOD } from './states.ts';

/** Characters of a note's content: String(1000) in airflow/models/dagrun.py (DagRunNote) and taskinstance.py. */
const NOTE_LENGTH = 1000;

export interface FailWish {
  /** SQL over RUNS, named r: which runs end as failed. */
  readonly runs: string;
  /** When and why, for the note; no secret. */
  readonly note: string;
  readonly snapshotTime: string;
  readonly notes: boolean;
}

export interface Failed {
  readonly runs: number;
  readonly tasks: number;
}

/**
 * Ends runs and their unfinished tasks as failed at the moment of the backup, the last at which they are known to have
 * lived, with a note on each. Tasks of runs that were over already, which a process was still at, end with them.
 */
export async function failRuns(client: Client, schema: string, wish: FailWish): Promise<Failed> {
  const moment = `${quoteLiteral(wish.snapshotTime)}::timestamptz`;
  const chosen = `(f.unfinished_run IN (SELECT r.id FROM ${RUNS} r WHERE ${wish.runs})
                   OR f.unfinished_run IS NULL AND f.state IN ('queued', ${INTERRUPTED.slice(1)})`;
  if (wish.notes) await writeNotes(client, schema, wish, chosen);
  const tasks = await client.query(
    `UPDATE ${quoteTable(schema, 'task_instance')} t
        SET state = 'failed', end_date = ${moment}, duration = extract(epoch FROM ${moment} - t.start_date),
            ${assignments(NO_NEXT_METHOD)}
       FROM ${TASKS} f WHERE ${SAME_TASK} AND ${chosen}`,
  );
  const runs = await client.query(
    `UPDATE ${quoteTable(schema, 'dag_run')} d SET state = 'failed', end_date = ${moment}
       FROM ${RUNS} r WHERE d.id = r.id AND (${wish.runs})`,
  );
  await dropTriggers(client, schema);
  // What is left in the lists is for the other steps.
  await client.query(`DELETE FROM ${TASKS} f WHERE ${chosen}`);
  await client.query(`DELETE FROM ${RUNS} r WHERE ${wish.runs}`);
  return { runs: runs.rowCount ?? 0, tasks: tasks.rowCount ?? 0 };
}

/** Notes that people wrote stay: ours is added below, as far as there is room. */
async function writeNotes(client: Client, schema: string, wish: FailWish, chosen: string): Promise<void> {
  const joined = (table: string): string =>
    `content = pg_catalog.left(pg_catalog.concat_ws(E'\\n', nullif(${table}.content, ''), excluded.content), ${NOTE_LENGTH}), updated_at = excluded.updated_at`;
  const note = `pg_catalog.left($1::text || state || '.', ${NOTE_LENGTH})`;
  await client.query(
    `INSERT INTO ${quoteTable(schema, 'dag_run_note')} AS n (dag_run_id, content, created_at, updated_at)
       SELECT r.id, ${note.replace(' state', " coalesce(r.state, 'no state yet')")}, pg_catalog.now(), pg_catalog.now() FROM ${RUNS} r WHERE ${wish.runs}
     ON CONFLICT (dag_run_id) DO UPDATE SET ${joined('n')}`,
    [wish.note],
  );
  await client.query(
    `INSERT INTO ${quoteTable(schema, 'task_instance_note')} AS n (dag_id, task_id, run_id, map_index, content, created_at, updated_at)
       SELECT f.dag_id, f.task_id, f.run_id, f.map_index, ${note.replace(' state', ' f.state')}, pg_catalog.now(), pg_catalog.now()
         FROM ${TASKS} f WHERE ${chosen}
     ON CONFLICT (task_id, dag_id, run_id, map_index) DO UPDATE SET ${joined('n')}`,
    [wish.note],
  );
}

/** A trigger that no task waits for would run, and wake nobody. Only those of tasks that this restore ended. */
export async function dropTriggers(client: Client, schema: string): Promise<void> {
  await client.query(
    `DELETE FROM ${quoteTable(schema, 'trigger')} g
      WHERE g.id IN (SELECT f.trigger_id FROM ${TASKS} f)
        AND NOT EXISTS (SELECT 1 FROM ${quoteTable(schema, 'task_instance')} t WHERE t.trigger_id = g.id)`,
  );
}
