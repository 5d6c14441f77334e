import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { backup } from '../../src/engine/backup.ts';
import type { RestoreWay } from '../../src/engine/plans.ts';
import { restore } from '../../src/engine/restore.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import { copyDatabase, createDatabase, withClient, type TestDatabase } from '../helpers/databases.ts';
import { databaseFingerprint, type DatabaseFingerprint } from '../helpers/fingerprint.ts';
import {
  backupRequest,
  context,
  EXHAUSTIVE,
  failure,
  makeDifferent,
  noSessions,
  restoreRequest,
  until,
  type TestContext,
} from './world.ts';

let pristine: TestDatabase;
let target: TestDatabase;
let untouched: DatabaseFingerprint;
let restored: DatabaseFingerprint;
const storage = createMemoryStorage();
const WAYS: readonly RestoreWay[] = ['in-place', 'shadow'];

beforeAll(async () => {
  const source = await createDatabase();
  await backup(context(storage), backupRequest(source));
  await source.drop();
  pristine = await createDatabase();
  await withClient(pristine.url, makeDifferent);
  const reference = await copyDatabase(pristine);
  untouched = await withClient(reference.url, databaseFingerprint);
  await restore(context(storage), restoreRequest(reference));
  restored = await withClient(reference.url, databaseFingerprint);
  await reference.drop();
});
afterAll(() => pristine.drop());
beforeEach(async () => {
  target = await copyDatabase(pristine);
  return () => target.drop();
});

/** What a session of Airflow holds, and what it goes on to do while the restore is waiting for it. */
const HOLDERS: readonly { readonly holds: string; readonly sql: string; readonly goesOn: string }[] = [
  {
    holds: 'rows of dag, as the scheduler does',
    sql: 'SELECT dag_id FROM dag ORDER BY dag_id FOR UPDATE',
    goesOn: `UPDATE dag_run SET last_scheduling_decision = now(); UPDATE task_instance SET state = 'scheduled' WHERE state IS NULL`,
  },
  {
    holds: 'the pools, as its critical section does',
    sql: 'SELECT pool FROM slot_pool FOR UPDATE NOWAIT',
    goesOn: `UPDATE task_instance SET state = 'queued' WHERE state = 'scheduled'; UPDATE job SET latest_heartbeat = now() WHERE id = 1`,
  },
  {
    holds: 'a dag_run that is not committed yet',
    sql: `INSERT INTO dag_run (dag_id, run_id, run_type, state, execution_date, log_template_id, clear_number)
          SELECT 'of_the_holder', 'manual__1', 'manual', 'running', now(), min(id), 0 FROM log_template`,
    goesOn: `INSERT INTO log (dttm, event) VALUES (now(), 'of the holder');
             INSERT INTO variable (key, val, is_encrypted) VALUES ('of the holder', 'x', false)`,
  },
  {
    holds: 'a read of every XCom, as a pg_dump does',
    sql: 'SELECT count(*) FROM xcom',
    goesOn: 'SELECT count(*) FROM log; SELECT count(*) FROM dag_run',
  },
];

describe('a session that holds locks on the target', () => {
  const cases = WAYS.flatMap((via) => HOLDERS.map((holder) => ({ ...holder, via })));
  test.each(cases)('$via, $holds: the restore waits, and lets it work', async ({ sql, goesOn, via }) => {
    const holder = await target.client();
    await holder.query(`BEGIN; ${sql}`);
    const ctx = context(storage);
    let ended = false;
    const restoring = restore(ctx, restoreRequest(target, { via })).finally(() => (ended = true));
    restoring.catch(() => undefined);
    // In place nothing is touched; in a shadow everything is ready but for the exchange.
    const last = via === 'shadow' ? 'finish' : 'check';
    await until(() => phases(ctx).includes(last), `the phase ${last}`);
    await pause(1500);
    expect(phases(ctx).at(-1)).toBe(last);
    expect(ended).toBe(false);
    // Statements that need other locks, while the restore tries for all of them.
    await holder.query(goesOn);
    await pause(300);
    await holder.query('COMMIT');
    await restoring;
    const { tables } = await withClient(target.url, databaseFingerprint);
    for (const table of ['dag_run', 'task_instance', 'xcom', 'slot_pool', 'dag', 'log_template']) {
      expect(`${table} ${tables[`public."${table}"`]}`).toBe(
        `${table} ${restored.tables[`public."${table}"`]}`,
      );
    }
  });

  test.each([
    ['in-place', 60],
    ['shadow', 300],
  ] as const)(
    '%s, for longer than %i s: the restore gives up, names it and has changed nothing',
    async (via, seconds) => {
      const holder = await target.client();
      await holder.query(`SET application_name = 'pg_dump of somebody'; BEGIN; SELECT count(*) FROM xcom`);
      // A clock on which that time is over in two seconds.
      const started = Date.now();
      const now = (): Date => new Date(started + ((Date.now() - started) * seconds) / 2);
      const error = await failure(restore(context(storage, { now }), restoreRequest(target, { via })));
      expect(error.kind).toBe('failed');
      expect(error.message).toContain(`in use for ${seconds} s without a gap: `);
      expect(error.message).toMatch(/pg_dump of somebody \(server process \d+, xcom, \d+ s\)/);
      await holder.query('COMMIT');
      await noSessions(holder, target);
      expect(await databaseFingerprint(holder)).toEqual(untouched);
      await restore(context(storage), restoreRequest(target));
      expect(await databaseFingerprint(holder)).toEqual(restored);
    },
  );
});

describe('a scheduler that goes on all the time', () => {
  test('never gets a deadlock, and the restore finds its gap', async () => {
    const rounds = EXHAUSTIVE ? 10 : 1;
    let statements = 0;
    for (let round = 1; round <= rounds; round++) {
      const stop = new AbortController();
      const schedulers = [1, 2, 3].map(async () => {
        const client = await target.client();
        while (!stop.signal.aborted) {
          statements += await schedulingLoop(client);
          await pause(Math.random() * 20);
        }
      });
      await pause(200);
      const restoring = restore(context(storage), restoreRequest(target));
      await restoring.finally(() => {
        stop.abort();
      });
      await Promise.all(schedulers);
    }
    expect(statements).toBeGreaterThan(100);
    console.log(`${statements} statements of schedulers beside ${rounds} restores, none of them failed.`);
  });
});

/** One round of a scheduler's work, in its order of locks; an error of any statement fails the test. */
async function schedulingLoop(client: pg.Client): Promise<number> {
  const transactions: readonly (readonly string[])[] = [
    [
      `SELECT dag_id FROM dag WHERE NOT is_paused AND is_active ORDER BY next_dagrun_create_after FOR UPDATE SKIP LOCKED LIMIT 10`,
      `SELECT id FROM dag_run WHERE state = 'running' FOR UPDATE SKIP LOCKED LIMIT 20`,
      `UPDATE dag_run SET last_scheduling_decision = now() WHERE id = (SELECT max(id) FROM dag_run WHERE state = 'running')`,
      `UPDATE task_instance SET updated_at = now() WHERE run_id = (SELECT min(run_id) FROM task_instance)`,
    ],
    [
      `SELECT pool FROM slot_pool ORDER BY pool FOR UPDATE`,
      `SELECT task_id FROM task_instance WHERE state = 'scheduled' FOR UPDATE SKIP LOCKED`,
      `UPDATE task_instance SET queued_dttm = now() WHERE state = 'queued'`,
    ],
    [`UPDATE job SET latest_heartbeat = now() WHERE id = (SELECT min(id) FROM job)`],
    [`INSERT INTO log (dttm, event) VALUES (now(), 'scheduled')`, `SELECT count(*) FROM trigger`],
  ];
  for (const statements of transactions) {
    await client.query('BEGIN');
    for (const statement of statements) await client.query(statement);
    await client.query('COMMIT');
  }
  return transactions.flat().length;
}

function phases({ events }: TestContext): readonly string[] {
  return events.flatMap((event) => (event.event === 'phase' ? [event.phase] : []));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
