import type pg from 'pg';
import { expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint } from '../helpers/fingerprint.ts';
import { backUp, engine, restoreInto } from './engine.ts';

const WRITERS = 3;
/** Rows to copy while the writers write: enough for some seconds of a slow machine. */
const BULK = 120_000;

interface WriterResult {
  readonly committed: number;
  readonly longestMs: number;
}

/** One commit: a run, its task, its value and its log line, or none of them. */
async function commitOne(client: pg.Client, run: string): Promise<void> {
  await client.query('BEGIN');
  const { rows } = await client.query<{ id: number }>(
    `INSERT INTO dag_run (dag_id, run_id, execution_date, run_type, state, clear_number)
     VALUES ('moment', $1, clock_timestamp(), 'manual', 'success', 0) RETURNING id`,
    [run],
  );
  await client.query(
    `INSERT INTO task_instance (dag_id, task_id, run_id, map_index, pool, pool_slots) VALUES ('moment', 't', $1, -1, 'default_pool', 1)`,
    [run],
  );
  await client.query(
    `INSERT INTO xcom (dag_run_id, dag_id, task_id, run_id, map_index, key, timestamp) VALUES ($1, 'moment', 't', $2, -1, 'k', now())`,
    [rows[0]?.id, run],
  );
  await client.query(
    `INSERT INTO log (event, dag_id, dttm, extra) VALUES ('moment', 'moment', clock_timestamp(), $1)`,
    [run],
  );
  await client.query(`UPDATE slot_pool SET slots = slots + 1 WHERE pool = 'default_pool'`);
  await client.query('COMMIT');
}

async function write(client: pg.Client, name: string, go: () => boolean): Promise<WriterResult> {
  let committed = 0;
  let longestMs = 0;
  while (go()) {
    const started = performance.now();
    await commitOne(client, `${name} ${committed}`);
    longestMs = Math.max(longestMs, performance.now() - started);
    committed += 1;
  }
  return { committed, longestMs };
}

/**
 * Every lock that a connection of Lifeboat holds on a table (a server locks the database itself, as an object, for any
 * session that starts), and every wait behind one, until told to stop.
 */
async function watchLocks(
  client: pg.Client,
  go: () => boolean,
): Promise<{ readonly modes: ReadonlySet<string>; readonly blocked: readonly string[] }> {
  const modes = new Set<string>();
  const blocked: string[] = [];
  while (go()) {
    const held = await client.query<{ mode: string }>(
      `SELECT DISTINCT mode FROM pg_locks l JOIN pg_stat_activity a USING (pid)
       WHERE a.datname = current_database() AND a.application_name LIKE 'lifeboat%' AND l.locktype = 'relation'`,
    );
    for (const { mode } of held.rows) modes.add(mode);
    const waits = await client.query<{ query: string }>(
      `SELECT w.query FROM pg_stat_activity w JOIN pg_stat_activity b ON b.pid = ANY (pg_blocking_pids(w.pid))
       WHERE w.datname = current_database() AND b.application_name LIKE 'lifeboat%'`,
    );
    blocked.push(...waits.rows.map(({ query }) => query));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return { modes, blocked };
}

interface Disturbed<T> {
  readonly backup: T;
  /** Commits of the writers when the backup began and when it had ended. */
  readonly before: number;
  readonly after: number;
  readonly writers: readonly WriterResult[];
  readonly locks: { readonly modes: ReadonlySet<string>; readonly blocked: readonly string[] };
}

/** Runs the work while writers commit; a writer that fails fails it all. */
async function whileWriting<T>(source: TestDatabase, work: () => Promise<T>): Promise<Disturbed<T>> {
  let writing = true;
  const go = (): boolean => writing;
  const [client, watcher, ...clients] = await Promise.all(
    Array.from({ length: WRITERS + 2 }, () => source.client()),
  );
  if (!client || !watcher) throw new Error('no connection');
  const background = Promise.all([
    Promise.all(clients.map((one, at) => write(one, `w${at}`, go))),
    watchLocks(watcher, go),
  ]);
  const foreground = async (): Promise<{ backup: T; before: number; after: number }> => {
    const before = await waitForWriters(client);
    const backup = await work();
    return { backup, before, after: await countRuns(client) };
  };
  try {
    // The background ends only when it fails or is told to.
    const result = await Promise.race([
      foreground(),
      background.then(() => Promise.reject(new Error('ended'))),
    ]);
    writing = false;
    const [writers, locks] = await background;
    return { ...result, writers, locks };
  } finally {
    writing = false;
  }
}

test('a backup is one moment, and who writes meanwhile does not feel it', { timeout: 240_000 }, async () => {
  const source = await createDatabase();
  const client = await source.client();
  await client.query(
    `INSERT INTO log (event, dttm, extra) SELECT 'bulk', now(), repeat(md5(i::text), 12) FROM generate_series(1, ${BULK}) i`,
  );
  const ctx = engine();
  const { backup, before, after, writers, locks } = await whileWriting(source, () => backUp(ctx, source));
  const { manifest } = backup;

  // Something was committed before, during and after: otherwise nothing was tested.
  expect(before).toBeGreaterThan(0);
  expect(after).toBeGreaterThan(before + 5);
  expect(locks.modes).toEqual(new Set(['AccessShareLock']));
  expect(locks.blocked).toEqual([]);
  for (const { longestMs, committed } of writers) {
    expect(committed).toBeGreaterThan(0);
    expect(longestMs, 'longest transaction of a writer, in ms').toBeLessThan(1000);
  }

  const target = await createDatabase({ from: 'fresh' });
  await restoreInto(ctx, target);
  const restored = await target.client();
  const { rows } = await restored.query<
    Record<'runs' | 'whole' | 'tasks' | 'xcoms' | 'logs' | 'late', string>
  >(
    `SELECT
       (SELECT count(*) FROM dag_run WHERE dag_id = 'moment') AS runs,
       (SELECT count(*) FROM dag_run r JOIN task_instance USING (dag_id, run_id) JOIN xcom x ON x.dag_run_id = r.id
          JOIN log l ON l.extra = r.run_id AND l.event = 'moment' WHERE r.dag_id = 'moment') AS whole,
       (SELECT count(*) FROM task_instance WHERE dag_id = 'moment') AS tasks,
       (SELECT count(*) FROM xcom WHERE dag_id = 'moment') AS xcoms,
       (SELECT count(*) FROM log WHERE event = 'moment') AS logs,
       (SELECT count(*) FROM log WHERE event = 'moment' AND dttm > $1) AS late`,
    [manifest.snapshotTime],
  );
  const counts = rows[0];
  expect(counts?.late, 'rows written after the snapshot').toBe('0');
  expect([counts?.whole, counts?.tasks, counts?.xcoms, counts?.logs]).toEqual(Array(4).fill(counts?.runs));
  // Each commit raised the pool by one: the pool belongs to the same moment as the runs.
  const slots = await restored.query<{ more: number }>(
    `SELECT slots - 128 AS more FROM slot_pool WHERE pool = 'default_pool'`,
  );
  expect(slots.rows[0]?.more).toBe(Number(counts?.runs));
  expect(Number(counts?.runs)).toBeGreaterThanOrEqual(before);
  expect(Number(counts?.runs)).toBeLessThan(after);
});

async function countRuns(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    `SELECT count(*) FROM dag_run WHERE dag_id = 'moment'`,
  );
  return Number(rows[0]?.count);
}

/** Until the writers are at work. */
async function waitForWriters(client: pg.Client): Promise<number> {
  for (;;) {
    const count = await countRuns(client);
    if (count > WRITERS) return count;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test.each([1, 4])('the source is only read, with %i connections', async (jobs) => {
  const source = await createDatabase();
  const client = await source.client();
  const before = await databaseFingerprint(client);
  const written = await writeCounters(client);
  await backUp(engine(), source, { jobs });
  expect(await databaseFingerprint(client)).toEqual(before);
  expect(await writeCounters(client)).toEqual(written);
});

/** What the server counts of writes: not one tuple, not one transaction id. */
async function writeCounters(client: pg.Client): Promise<unknown> {
  const { rows } = await client.query(
    `SELECT sum(n_tup_ins) AS inserted, sum(n_tup_upd) AS updated, sum(n_tup_del) AS deleted,
       (SELECT temp_files FROM pg_stat_database WHERE datname = current_database()) AS temp_files FROM pg_stat_all_tables
     WHERE schemaname = 'public'`,
  );
  return rows[0];
}
