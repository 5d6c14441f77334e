import type { Client } from 'pg';
import { quoteLiteral, quoteTable } from '../db/introspect.ts';
import { sqlStateOf } from '../db/sqlstate.ts';
import { LifeboatError } from '../errors.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { EngineContext } from './api.ts';

/** "life" in ASCII: the class of all advisory locks of Lifeboat; object 0 is the environment. */
const LOCK_CLASS = 0x6c696665;
/**
 * A killed client's session ends when the server looks for it, every 2 s (client_connection_check_interval): a holder
 * that outlives this is alive.
 */
const GHOST_ATTEMPTS = 16;
const GHOST_PAUSE_MS = 200;
/** How long table locks are tried for before the work is given up. */
const GIVE_UP_MS = 60_000;
/**
 * For all tables together: nobody waits longer for an attempt that fails. Below deadlock_timeout (1 s), so that it is
 * always this side that gives way.
 */
const ATTEMPT_MS = 400;

/**
 * One restore, cleanup or drill per environment, for as long as this transaction lives: the server drops the lock with it,
 * whatever happens to this process.
 *
 * @throws LifeboatError 'locked' that names the holder.
 */
export async function lockEnvironment(client: Client, name: string): Promise<void> {
  for (let attempt = 1; attempt <= GHOST_ATTEMPTS; attempt++) {
    const tried = await client.query<{ got: boolean }>(
      'SELECT pg_catalog.pg_try_advisory_xact_lock($1, 0) AS got',
      [LOCK_CLASS],
    );
    if (tried.rows[0]?.got) return;
    await pause(GHOST_PAUSE_MS);
  }
  const holder = await client.query<{ pid: number; app: string; addr: string | null; age: number | null }>(
    `SELECT a.pid, a.application_name AS app, a.client_addr::text AS addr,
            extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::int AS age
       FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.classid = $1 AND l.objid = 0 AND l.granted
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`,
    [LOCK_CLASS],
  );
  const row = holder.rows[0];
  const who = row
    ? `${row.app || 'an unnamed client'} (server process ${row.pid}${row.addr === null ? '' : ` from ${row.addr}`}, for ${row.age ?? 0} s)`
    : 'a process that has just ended';
  throw new LifeboatError('locked', `Another restore, cleanup or drill is at work in ${name}: ${who}.`, {
    next: row
      ? `Wait for it. If that process is gone for good, end it with SELECT pg_terminate_backend(${row.pid}).`
      : 'Try again.',
    details: row ? { serverProcess: row.pid, application: row.app, seconds: row.age } : {},
  });
}

/**
 * Every transaction that works beside the one that holds the environment's lock holds this one, shared: a server process
 * can outlive the restore that it worked for.
 *
 * @throws LifeboatError 'locked' when another restore has taken over
 */
export async function holdWorkerLock(client: Client): Promise<void> {
  const tried = await client.query<{ got: boolean }>(
    'SELECT pg_catalog.pg_try_advisory_xact_lock_shared($1, 1) AS got',
    [LOCK_CLASS],
  );
  if (tried.rows[0]?.got) return;
  throw new LifeboatError(
    'locked',
    'The connection that leads this restore was lost, and another has begun.',
    {
      next: 'Wait for the other one; nothing was changed by this one.',
    },
  );
}

/** Waits until the last server process of an earlier restore has ended. The caller holds the environment's lock. */
export async function waitForWorkers(client: Client): Promise<void> {
  await client.query('SAVEPOINT lifeboat_workers');
  await client.query('SELECT pg_catalog.pg_advisory_xact_lock($1, 1)', [LOCK_CLASS]);
  // Given back at once: our own workers want it.
  await client.query('ROLLBACK TO SAVEPOINT lifeboat_workers; RELEASE SAVEPOINT lifeboat_workers');
}

export interface LockWish {
  readonly table: ResolvedTable;
  /** ACCESS EXCLUSIVE is needed to truncate; EXCLUSIVE keeps every writer and row lock out and lets readers in. */
  readonly mode: 'EXCLUSIVE' | 'ACCESS EXCLUSIVE';
}

/** How long a target was held up. */
export interface LockTimes {
  /** Until all table locks were held at once. Nobody waits for longer than one attempt in that time. */
  readonly waitedSeconds: number;
  /** From then to the commit: whoever writes to these tables waits at most this long, and one attempt. */
  readonly heldSeconds: number;
}

export interface LockPatience {
  /** For all tables together; below deadlock_timeout (1 s), so that it is always this side that gives way. */
  readonly attemptMs?: number;
  readonly giveUpMs?: number;
}

export interface HeldLocks {
  /** Asked right after the commit. */
  measure(): LockTimes;
}

/**
 * Takes all table locks or none, in attempts too short for anybody to notice or for a deadlock to be found. Once all are
 * held, nobody else holds or waits for a row lock in these tables, so that nothing later in the transaction can deadlock
 * with a scheduler.
 *
 * Tables that live processes beat into are none of these: see live-jobs.ts.
 */
export async function lockTables(
  ctx: EngineContext,
  client: Client,
  schema: string,
  wishes: readonly LockWish[],
  { attemptMs = ATTEMPT_MS, giveUpMs = GIVE_UP_MS }: LockPatience = {},
): Promise<HeldLocks> {
  const started = ctx.now().getTime();
  const held = (since: number): HeldLocks => ({
    measure: () => ({
      waitedSeconds: (since - started) / 1000,
      heldSeconds: (ctx.now().getTime() - since) / 1000,
    }),
  });
  if (wishes.length === 0) return held(started);
  let order = wishes.map(
    ({ table, mode }) => `LOCK TABLE ${quoteTable(schema, table.name)} IN ${mode} MODE;`,
  );
  await client.query('SAVEPOINT lifeboat_locks');
  for (;;) {
    ctx.signal.throwIfAborted();
    try {
      // One statement, so that one timeout spans all of its locks.
      await client.query(`SET LOCAL statement_timeout = ${attemptMs}`);
      await client.query(`DO ${quoteLiteral(`BEGIN ${order.join(' ')} END`)}`);
      break;
    } catch (error) {
      if (!isBusy(error)) throw error;
      await client.query('ROLLBACK TO SAVEPOINT lifeboat_locks');
      if (ctx.now().getTime() - started > giveUpMs) throw await tablesBusy(client, schema, wishes, giveUpMs);
      order = busyFirst(order, error);
      await pause(100 + Math.random() * 300);
    }
  }
  const since = ctx.now().getTime();
  await client.query('SET LOCAL statement_timeout = 0; RELEASE SAVEPOINT lifeboat_locks');
  return held(since);
}

/**
 * Clients that lock in another order than ours could keep us out for ever: each holds what we want next, and wants what
 * we hold. The table that was busy comes first the next time; the error's context names its statement.
 */
function busyFirst(order: readonly string[], error: unknown): string[] {
  const where = error instanceof Error && 'where' in error ? String(error.where) : '';
  const busy = order.filter((statement) => where.includes(`"${statement.replace(/;$/, '')}"`));
  return [...busy, ...order.filter((statement) => !busy.includes(statement))];
}

/** lock_not_available, deadlock_detected */
export function isLockRefused(error: unknown): boolean {
  const code = sqlStateOf(error);
  return code === '55P03' || code === '40P01';
}

/** Or query_canceled, by the timeout of an attempt. */
function isBusy(error: unknown): boolean {
  return isLockRefused(error) || sqlStateOf(error) === '57014';
}

async function tablesBusy(
  client: Client,
  schema: string,
  wishes: readonly LockWish[],
  giveUpMs: number,
): Promise<LifeboatError> {
  const names = wishes.map(({ table }) => quoteTable(schema, table.name));
  const holders = await client.query<{ pid: number; app: string; table: string; age: number | null }>(
    `SELECT DISTINCT a.pid, a.application_name AS app, c.relname AS table,
            extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::int AS age
       FROM pg_catalog.pg_locks l
       JOIN pg_catalog.pg_stat_activity a USING (pid)
       JOIN pg_catalog.pg_class c ON c.oid = l.relation
      WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid()
        AND l.relation = ANY (SELECT pg_catalog.to_regclass(n) FROM pg_catalog.unnest($1::text[]) n)
      ORDER BY age DESC NULLS LAST LIMIT 5`,
    [names],
  );
  const who = holders.rows
    .map(
      (row) => `${row.app || 'unnamed client'} (server process ${row.pid}, ${row.table}, ${row.age ?? 0} s)`,
    )
    .join('; ');
  return new LifeboatError(
    'failed',
    `The tables were in use for ${giveUpMs / 1000} s without a gap: ${who || 'by many short transactions'}.`,
    {
      next: 'Stop what holds them (a pg_dump or a backup of the target does), then try again; nothing was changed.',
    },
  );
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
