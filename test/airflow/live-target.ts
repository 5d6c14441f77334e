import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { snapshotTime } from './backups.ts';
import type { Dump } from './dump.ts';
import { query } from './environment.ts';
import { compareFinished } from './finished.ts';
import { airflow, dump, FERNET_KEY, python } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat, lifeboatJson, MAIN } from './lifeboat.ts';
import type { Summary } from './lifeboat.ts';
import { meetWork, startSource, startTarget } from './live-source.ts';
import type { Preparation } from './prepare.ts';
import type { Components } from './processes.ts';
import { record } from './results.ts';
import type { Counts } from './results.ts';
import { outcomeDifferences, outcomes, runsToEnd, unended } from './unfinished.ts';
import { isFinishedTask, readSnapshot, taskKey } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';
import { release, step } from './step.ts';
import { markLogs, troublesSince } from './troubles.ts';
import type { LogMarks } from './troubles.ts';
import { until } from './until.ts';

const TARGET_KEY = 'dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGE=';
const KEYS = { LIFEBOAT_FERNET_KEY: TARGET_KEY, LIFEBOAT_SOURCE_FERNET_KEY: FERNET_KEY };

/**
 * The proof of a recovery: an Airflow at work is backed up and killed, and another one, with another Fernet key and with
 * its scheduler and triggerer running, is given the backup and goes on.
 *
 * @param from the source's release, the target's unless given. What was finished is not compared then: two releases do
 * not dump the same columns, and newer-minors.test.ts compares it row by row.
 */
export function liveTarget(preparation: () => Promise<Preparation>, from = release): void {
  let folder: string;
  let source: LabHome;
  let target: LabHome;
  let components: Components;
  let storage: string;
  let sourceDump: Dump;
  let snapshot: Snapshot;
  let restored: Summary;
  let marks: LogMarks;
  /** The target's clock right before the restore began. */
  let restoreBegan: string;
  let toEnd: readonly string[];

  const untilTarget = (what: string, missing: () => Promise<readonly string[]>): Promise<void> =>
    until(what, () => {
      components.mustRun();
      return missing();
    });

  const now = async (at: LabHome): Promise<string> =>
    String((await query(at, 'SELECT now()::text AS now'))[0]?.now);

  let counts: Counts | undefined;
  let restoreMs: number;
  let failed = false;

  /** Task instances of the target that were unfinished in the backup. */
  const tasksOfThen = (): readonly string[] =>
    outcomes(snapshot, toEnd, source.release).map(({ task }) => task);

  beforeAll(async () => {
    const prepared = await preparation();
    folder = join(prepared.folder, 'live');
    storage = pathToFileURL(join(folder, 'storage')).href;
    await mkdir(join(folder, 'storage'), { recursive: true });
    source = prepared.copy;
    target = await prepared.empty('live_target', release);
    const [running, started] = await Promise.all([startSource(source), startTarget(target, TARGET_KEY)]);
    components = started;
    await meetWork(source, running);
    const backup = ['backup', '--airflow', source.database, '--storage', storage];
    await step('lifeboat backup at work', () => lifeboat(backup));
    await running.kill();
    snapshot = await readSnapshot(storage, join(folder, 'snapshot'));
    sourceDump = await step('dump the source', () => dump(source));
    marks = markLogs(target);
    restoreBegan = await now(target);
    const restore = ['restore', 'latest', '--airflow', target.database, '--storage', storage];
    const began = performance.now();
    restored = await step('lifeboat restore, live', () =>
      lifeboatJson([...restore, '--clean', '--yes', '--unreadable', 'keep'], KEYS),
    );
    restoreMs = performance.now() - began;
    const paused = await query(source, 'SELECT dag_id FROM dag WHERE is_paused');
    toEnd = runsToEnd(snapshot, new Set(paused.map(({ dag_id }) => dag_id)));
  });

  afterEach(({ task }) => {
    failed ||= task.result?.state === 'fail';
  });

  afterAll(async () => {
    if (counts !== undefined && !failed) await record(release, counts);
  });

  it('meets work of every state in the backup', () => {
    const states = new Set(snapshot.tasks.map(({ state }) => state));
    const wanted = ['success', 'failed', 'skipped', 'upstream_failed', 'queued', 'scheduled', 'running'];
    wanted.push('restarting', 'deferred', 'up_for_retry', 'up_for_reschedule', '');
    expect([...states].sort()).toEqual(expect.arrayContaining(wanted.sort()));
    const runs = new Set(snapshot.runs.map(({ run_type, state }) => `${run_type} ${state}`));
    for (const run of ['manual running', 'manual queued', 'scheduled running', 'backfill running']) {
      expect([...runs]).toContain(run);
    }
    expect(restored).toHaveProperty('event', 'summary');
  });

  it('keeps the times at which sleeping tasks wake up', async () => {
    const ends = await query(
      target,
      `SELECT dag_id, run_id, task_id, map_index, to_char(end_date AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS ended
       FROM task_instance WHERE state = 'up_for_retry' AND dag_id = 'lab_inflight'`,
    );
    const then = snapshot.tasks.filter(
      ({ dag_id, state }) => dag_id === 'lab_inflight' && state === 'up_for_retry',
    );
    expect(ends.map(taskKeyOf)).toEqual(then.map(taskKey));
    expect(Date.parse(`${String(ends[0]?.ended)}Z`)).toBe(Date.parse(String(then[0]?.end_date)));
    const woken = await query(
      target,
      `SELECT to_char(max(reschedule_date) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at FROM task_reschedule WHERE dag_id = 'lab_inflight'`,
    );
    const last = snapshot.reschedules
      .filter(({ dag_id }) => dag_id === 'lab_inflight')
      .map(({ reschedule_date }) => Date.parse(String(reschedule_date)));
    expect(Date.parse(`${String(woken[0]?.at)}Z`)).toBe(Math.max(...last));
  });

  it('ends every run that was unfinished', async () => {
    // Ten hours later, and an operator gives the starved pool a slot.
    await query(
      target,
      `UPDATE task_instance SET end_date = end_date - interval '11 hours' WHERE dag_id = 'lab_inflight' AND state = 'up_for_retry';
       UPDATE task_reschedule SET reschedule_date = reschedule_date - interval '11 hours' WHERE dag_id = 'lab_inflight';
       UPDATE slot_pool SET slots = 1 WHERE pool = 'lab_zero_slots'`,
    );
    await untilTarget('every restored run has ended', () => unended(target, toEnd));
    const states = await query(target, `SELECT dag_id, run_id, run_type, state FROM dag_run`);
    const ended = states.filter((run) => toEnd.includes(JSON.stringify([run.dag_id, run.run_id])));
    expect(ended.filter(({ state }) => state !== 'success')).toEqual([]);
    const backfill = await query(
      target,
      `SELECT r.state, n.content <> '' AS says_why FROM dag_run r LEFT JOIN dag_run_note n ON n.dag_run_id = r.id
       WHERE dag_id = 'proof_backfill' AND run_type = 'backfill'`,
    );
    expect(backfill, 'the backfill that nobody goes on with').toEqual([{ state: 'failed', says_why: true }]);
  });

  it('gives each unfinished task the tries that it has left', async () => {
    const wanted = outcomes(snapshot, toEnd, source.release);
    expect(wanted.length).toBeGreaterThan(15);
    expect(await outcomeDifferences(target, wanted)).toEqual([]);
  });

  it('goes on with the schedules: no interval twice, none left out', async () => {
    await untilTarget('the catchup is done', async () => {
      const rows = await query(target, `SELECT state FROM dag_run WHERE dag_id = 'proof_catchup'`);
      const done = rows.filter(({ state }) => state === 'success').length;
      return done === rows.length && done >= 7 ? [] : [`${done} of ${rows.length}`];
    });
    const days = await query(
      target,
      `SELECT to_char(execution_date AT TIME ZONE 'UTC', 'DD') AS day FROM dag_run WHERE dag_id = 'proof_catchup' ORDER BY 1`,
    );
    expect(days.map(({ day }) => day)).toEqual(['01', '02', '03', '04', '05', '06', '07']);
    const once = await query(target, `SELECT run_id FROM dag_run WHERE dag_id = 'proof_mixed'`);
    expect(once.length, 'runs of a DAG with @once').toBe(1);
    await untilTarget('the schedule of each minute goes on', async () => {
      const rows = await query(
        target,
        `SELECT 1 FROM dag_run WHERE dag_id = 'proof_minutely' AND state = 'success' AND start_date > '${restoreBegan}'`,
      );
      return rows.length > 0 ? [] : ['a new run of proof_minutely'];
    });
  });

  it.runIf(from === release)('shows all that was finished as the source had it', async () => {
    const targetDump = await step('dump the target', () => dump(target));
    const at = await snapshotTime(folder);
    const { compared, differences } = compareFinished(sourceDump, targetDump, snapshot, at);
    for (const table of ['dag_run', 'task_instance', 'xcom', 'log', 'job', 'xcom read by Airflow']) {
      expect(compared[table], table).toBeGreaterThan(10);
    }
    expect(differences).toEqual([]);
    counts = {
      runs: compared.dag_run ?? 0,
      tasks: compared.task_instance ?? 0,
      xcoms: compared.xcom ?? 0,
      resumedRuns: toEnd.length,
      resumedTasks: tasksOfThen().length,
      restoreMs,
    };
  });

  it('runs nothing again that was finished, and ends nothing twice', async () => {
    const finished = new Set(snapshot.tasks.filter(isFinishedTask).map(taskKey));
    const events = await query(
      target,
      `SELECT l.dag_id, r.run_id, l.task_id, l.map_index, l.event, l.dttm > '${restoreBegan}' AS new
       FROM log l JOIN dag_run r ON r.dag_id = l.dag_id AND r.execution_date = l.execution_date
       WHERE l.event IN ('running', 'success', 'failed', 'skipped', 'up_for_retry', 'up_for_reschedule', 'deferred')`,
    );
    expect(events.filter((row) => row.new).length).toBeGreaterThan(20);
    expect(events.filter((row) => row.new === true && finished.has(taskKeyOf(row)))).toEqual([]);
    const successes = events.filter(({ event }) => event === 'success').map(taskKeyOf);
    const twice = successes.filter((key, index) => successes.indexOf(key) !== index);
    expect(twice).toEqual([]);
    const produced = await query(
      target,
      `SELECT source_dag_id, source_run_id, source_task_id, source_map_index, dataset_id FROM dataset_event
       GROUP BY 1, 2, 3, 4, 5 HAVING count(*) > 1`,
    );
    expect(produced).toEqual([]);
  });

  it('leaves the queued runs of a paused DAG queued', async () => {
    const paused = `SELECT run_id, state FROM dag_run WHERE dag_id = 'lab_paused' ORDER BY 1`;
    expect(await query(target, paused)).toEqual([
      { run_id: 'lab_paused_1', state: 'queued' },
      { run_id: 'lab_paused_2', state: 'queued' },
    ]);
  });

  it('lets new runs begin, also of a DAG of which a backfill was at work', async () => {
    await airflow(target, 'dags', 'unpause', 'proof_backfill');
    for (const dag of ['proof_backfill', 'proof_reader', 'lab_producer']) {
      await airflow(target, 'dags', 'trigger', dag, '--run-id', `after_${dag}`);
    }
    const consumers = `SELECT count(*)::int AS runs FROM dag_run WHERE dag_id = 'lab_consumer' AND state = 'success'`;
    const before = snapshot.runs.filter(({ dag_id }) => dag_id === 'lab_consumer').length;
    await untilTarget('the new runs have succeeded', async () => {
      const rows = await query(
        target,
        `SELECT dag_id FROM dag_run WHERE run_id LIKE 'after_%' AND state = 'success'`,
      );
      const [consumer] = await query(target, consumers);
      return [
        ...(rows.length === 3 ? [] : [`3 new runs, of which succeeded: ${JSON.stringify(rows)}`]),
        ...(Number(consumer?.runs) > before ? [] : ['the run that the new dataset event starts']),
      ];
    });
  });

  it('lets tasks read old XComs, variables and connections', async () => {
    const read = JSON.parse(await python(target, READ_RETURN_VALUE)) as Record<string, unknown>;
    expect(read.variable).toContain('nested');
    expect(read.password).toContain('p@ss:/?#[]!$&');
    expect(read.extra).toHaveProperty('sslmode', 'require');
    expect(read.xcom).toHaveProperty('a');
  });

  it('lets finished runs be cleared, which then run again', async () => {
    const row = `SELECT t.try_number, t.state, r.state AS run FROM task_instance t JOIN dag_run r USING (dag_id, run_id)
      WHERE t.dag_id = 'proof_catchup' AND r.execution_date = '2024-01-02T00:00:00Z'`;
    const [before] = await query(target, row);
    await airflow(target, 'tasks', 'clear', '-y', '-s', '2024-01-02', '-e', '2024-01-02', 'proof_catchup');
    await untilTarget('the cleared run has succeeded again', async () => {
      const [after] = await query(target, row);
      const done = after?.run === 'success' && Number(after.try_number) === Number(before?.try_number) + 1;
      return done ? [] : [JSON.stringify(after)];
    });
  });

  it('hurts neither scheduler nor triggerer', () => {
    components.mustRun();
    expect(troublesSince(target, marks)).toEqual([]);
  });

  it('survives a restore that one of its own tasks carries', async () => {
    await writeFile(join(target.home, 'restore.sh'), carriedRestore(storage));
    await airflow(target, 'dags', 'pause', 'proof_minutely');
    await untilTarget('nothing of the target runs', async () => {
      const rows = await query(
        target,
        `SELECT dag_id, run_id FROM task_instance WHERE state IN ('queued', 'running')`,
      );
      return rows.map((row) => JSON.stringify(row));
    });
    marks = markLogs(target);
    await airflow(target, 'dags', 'trigger', 'proof_restores', '--run-id', 'carries');
    const carrier = `SELECT r.state, t.state AS task, t.try_number, j.state AS job FROM dag_run r
      JOIN task_instance t USING (dag_id, run_id) LEFT JOIN job j ON j.id = t.job_id WHERE run_id = 'carries'`;
    await untilTarget('the run that carries the restore has ended', async () => {
      const rows = await query(target, carrier);
      const state = rows[0]?.state;
      return state === 'success' || state === 'failed' ? [] : [JSON.stringify(rows)];
    });
    expect(await query(target, carrier)).toEqual([
      { state: 'success', task: 'success', try_number: 1, job: 'success' },
    ]);
    await untilTarget('every restored run has ended again, those that sleep excepted', () =>
      unended(
        target,
        toEnd.filter((run) => !run.includes('lab_inflight')),
      ),
    );
    const kept = await query(target, `SELECT dag_id, run_id FROM dag_run WHERE run_id LIKE 'after_%'`);
    expect(kept, 'runs of the target that were history').toEqual([]);
    expect(troublesSince(target, marks)).toEqual([]);
    await components.kill();
  });
}

const taskKeyOf = (row: Readonly<Record<string, unknown>>): string => taskKey(row as never);

/** What the task of proof_reader returned, through Airflow's own accessor; and an XCom of a finished old run. */
const READ_RETURN_VALUE = `
import json
from airflow.models import DagRun
from airflow.utils.session import create_session
with create_session() as session:
    run = session.query(DagRun).filter(DagRun.dag_id == 'proof_reader', DagRun.run_id == 'after_proof_reader').one()
    value = run.get_task_instance('read', session=session).xcom_pull(task_ids='read', session=session)
    old = session.query(DagRun).filter(DagRun.dag_id == 'lab_everything', DagRun.run_id == 'lab_run_1').one()
    pulled = old.get_task_instance('push_xcoms', session=session).xcom_pull(task_ids='push_xcoms', key='nested', session=session)
    assert pulled == value['xcom'] or value['xcom'] is not None
    value['xcom'] = pulled
print(json.dumps(value))
`;

/** The restore as a user's DAG runs it: the environment comes from Airflow, keys and storage from its own settings. */
function carriedRestore(storage: string): string {
  const quoted = [process.execPath, MAIN, 'restore', 'latest', '--storage', storage].map(
    (word) => `'${word}'`,
  );
  return `export LIFEBOAT_SOURCE_FERNET_KEY='${FERNET_KEY}'
exec ${quoted.join(' ')} --clean --yes --unreadable keep
`;
}
