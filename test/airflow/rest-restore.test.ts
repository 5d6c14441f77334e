import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import type { LeftOut } from '../../src/engine/plans.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { loadedEnvironment, startApi } from './api.ts';
import type { RunningApi } from './api.ts';
import { letGo } from './dag-files.ts';
import { query } from './environment.ts';
import { dump, FERNET_KEY } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat, lifeboatJson } from './lifeboat.ts';
import type { Summary } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import { compareCarried } from './rest-carried.ts';
import { addUnfinished, BEHIND, LATEST } from './rest-source.ts';
import { emptyTarget } from './rest-target.ts';
import { endAll } from './run.ts';
import { release, step } from './step.ts';
import { until } from './until.ts';
import { isRestOnly } from './versions.ts';

const RUN = `dag_id = 'lab_inflight' AND run_id = 'lab_inflight_1'`;
const CATCHUP = 'lab_catchup';

/** The API server of a 3.x hides nothing then; v1 never gives a password. */
const SHOW_SECRETS = {
  AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS: 'False',
  AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET: '1000000',
};

interface Plan {
  readonly dags: { readonly held: readonly { dagId: string; runs: number }[]; readonly startsOne: unknown };
  readonly runs: { readonly tasksAgain: readonly string[] };
  readonly leftOut: readonly LeftOut[];
}

describe(`A restore through the REST API into Airflow ${release}`, () => {
  let folder: string;
  let source: LabHome;
  let target: LabHome;
  let api: RunningApi;
  let storage: readonly string[];
  let first: Summary;
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-rest-restore-'));
    const server = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    stops.push(() => server.stop());
    storage = ['--storage', join(folder, 'storage')];
    source = await loadedEnvironment(server.url, folder, release, 'source', 'data', {
      settings: SHOW_SECRETS,
    });
    const from = await startApi(source);
    await addUnfinished(source, from.url, from.env);
    await lifeboat(['backup', '--airflow', from.url, ...storage], {
      ...from.env,
      LIFEBOAT_FERNET_KEY: FERNET_KEY,
    });
    await from.kill();
    target = await emptyTarget(server.url, folder, release);
    api = await startApi(target);
  });

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    for (const stop of stops) await stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  async function restore(more: readonly string[] = []): Promise<Summary> {
    const args = ['restore', 'latest', '--airflow', api.url, ...storage, '--yes', '--json', ...more];
    // 3: ids of connections that Airflow does not take any more.
    const { stdout } = await step('lifeboat restore', () =>
      lifeboat(args, { ...api.env, LIFEBOAT_FERNET_KEY: FERNET_KEY }, [0, 3]),
    );
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Summary;
  }

  const plan = (): Plan => first.plan as Plan;

  it('goes on after the server died, and brings what the plan says', async () => {
    // Before anything is there; what the last of several tries plans is less.
    first = await restore(['--dry-run']);
    expect(plan()).toMatchObject({ kind: 'rest-restore', blockers: [] });
    const broken = lifeboatJson(['restore', 'latest', '--airflow', api.url, ...storage, '--yes'], {
      ...api.env,
      LIFEBOAT_FERNET_KEY: FERNET_KEY,
    }).then(
      () => 'it was done before',
      () => 'it failed, or was told of what Airflow does not take',
    );
    // In the middle: all of it takes two seconds.
    while ((await query(target, 'SELECT FROM variable LIMIT 1')).length === 0) await sleep(20);
    await api.kill();
    // The command waits two minutes for a server that is away.
    api = await startApi(target);
    await broken;
    const { restored } = await restore();
    expect(restored).toMatchObject({ runs: { problems: [] } });
  });

  it('makes the unfinished runs again, with what had ended', async () => {
    const [run] = await query(target, `SELECT state, conf IS NOT NULL AS conf FROM dag_run WHERE ${RUN}`);
    expect(run).toMatchObject({ state: 'queued', conf: true });
    const tasks = await query(
      target,
      `SELECT task_id FROM task_instance WHERE ${RUN} AND state = 'success' ORDER BY 1`,
    );
    const again = JSON.stringify(first.plan);
    // Its XCom can be written from 3.3 on; before, the plan says that it runs again.
    if (tasks.length === 0) expect(again).toContain('lab_inflight/lab_inflight_1/done');
    else expect(tasks).toEqual([{ task_id: 'done' }]);
    expect(Number(release.split('.')[1]) >= 3 && release.startsWith('3.')).toBe(tasks.length > 0);
  });

  it('leaves DAGs paused whose catchup would start runs of the past', async () => {
    expect(plan().dags).toMatchObject({ held: [{ dagId: CATCHUP, runs: 3 }], startsOne: [LATEST] });
    const [row] = await query(target, `SELECT is_paused FROM dag WHERE dag_id = '${CATCHUP}'`);
    expect(row).toEqual({ is_paused: true });
  });

  it('done once more it writes nothing', async () => {
    const counts = `SELECT (SELECT count(*) FROM dag_run) AS runs, (SELECT count(*) FROM variable) AS variables,
      (SELECT count(*) FROM xcom) AS xcoms, (SELECT count(*) FROM dag WHERE is_paused) AS paused`;
    const before = await query(target, counts);
    const again = await restore();
    expect(await query(target, counts)).toEqual(before);
    expect(again.restored).toMatchObject({ runs: { made: [] }, paused: [], unpaused: [], events: [] });
  });

  it('is what the API carries, as both Airflows read it', async () => {
    const [from, to] = [await dump(source), await dump(target)];
    const { compared, differences } = compareCarried(from, to, {
      from: 'rest',
      release,
      backupId: String(first.backupId),
      held: plan().dags.held.map(({ dagId }) => dagId),
      again: plan().runs.tasksAgain,
      dags: new Set((to.semantic.dag ?? []).map((row) => String(row.dag_id))),
    });
    expect(differences).toEqual([]);
    for (const [what, least] of Object.entries(LEAST)) {
      expect(compared[what], what).toBeGreaterThanOrEqual(least);
    }
  });

  it('--history mark: what had ended is there again, as it ended', async () => {
    const others = ['lab_inflight', CATCHUP];
    const result = await restore([
      '--history',
      'mark',
      ...others.flatMap((dagId) => ['--exclude-dags', dagId]),
    ]);
    const { history } = result.restored as { history: { made: number; notMarked: readonly LeftOut[] } };
    const left = [...(result.plan as Plan).leftOut, ...history.notMarked].flatMap(({ table, names = [] }) =>
      table === 'dag_run' ? names : [],
    );
    const ended = `state IN ('success', 'failed') AND dag_id NOT IN ('${others.join("', '")}')`;
    const namesOf = async (at: LabHome): Promise<readonly string[]> => {
      const rows = await query(at, `SELECT dag_id, run_id, state FROM dag_run WHERE ${ended}`);
      const named = rows.map((row) => [
        `${String(row.dag_id)}/${String(row.run_id).replace(/^restored__/, '')}`,
        String(row.state),
      ]);
      return named
        .filter(([name = '']) => !left.includes(name))
        .map((words) => words.join(' '))
        .sort();
    };
    const wanted = await namesOf(source);
    expect(await namesOf(target)).toEqual(wanted);
    expect(history.made).toBe(wanted.length);
    expect(wanted.length).toBeGreaterThan(5);
    expect(wanted.join()).toContain(' failed');
  });

  it('the scheduler ends what had not ended, and nothing that had ended runs again', async () => {
    await query(target, `UPDATE slot_pool SET slots = 8 WHERE slots = 0`);
    await letGo(target);
    // Beside the API, which answers by now: a task of Airflow 3 that finds none fails.
    api.add('scheduler', 'scheduler', '--skip-serve-logs');
    // Those of two releases that are tested side by side would want the same port.
    const quiet = isRestOnly(release) || release.startsWith('2.5.') ? [] : ['--skip-serve-logs'];
    api.add('triggerer', 'triggerer', ...quiet);
    if (isRestOnly(release)) api.add('dag-processor', 'dag-processor');
    await until('the runs have ended', async () => {
      api.mustRun();
      const where = `dag_id = 'lab_inflight' AND state IS DISTINCT FROM 'success'`;
      const runs = await query(target, `SELECT run_id, state FROM dag_run WHERE ${where}`);
      const left = await query(target, `SELECT run_id, task_id, state FROM task_instance WHERE ${where}`);
      return runs.length === 0 ? [] : [JSON.stringify([...runs, ...left])];
    });
    const [done] = await query(
      target,
      `SELECT hostname <> '' AS ran FROM task_instance WHERE ${RUN} AND task_id = 'done'`,
    );
    const again = JSON.stringify(plan().runs.tasksAgain);
    expect(done).toEqual({ ran: again.includes('lab_inflight_1/done') });
    const ran = await query(
      target,
      `SELECT task_id FROM task_instance WHERE ${BEHIND} AND hostname <> '' AND task_id IN ('done', 'up_for_retry')`,
    );
    // Before 2.10 skipped cannot be set.
    expect(ran.map((row) => row.task_id)).toEqual(/^2\.[5-9]\./.test(release) ? ['up_for_retry'] : []);
    expect(again.includes('lab_inflight_2/up_for_retry')).toBe(ran.length > 0);
  });

  const runsOf = (dagId: string): ReturnType<typeof query> =>
    query(target, `SELECT run_type, state FROM dag_run WHERE dag_id = '${dagId}' ORDER BY run_type, run_id`);

  it('a DAG without catchup starts its latest run, one with catchup none', async () => {
    await until(`a run of ${LATEST} has ended`, async () => {
      const rows = await runsOf(LATEST);
      return rows.some(({ state }) => state === 'success') ? [] : [JSON.stringify(rows)];
    });
    expect(await runsOf(LATEST)).toEqual([{ run_type: 'scheduled', state: 'success' }]);
    expect(await runsOf(CATCHUP)).toEqual([{ run_type: 'manual', state: 'queued' }]);
  });

  it('--catchup start lets it go: each of its dates runs once, that of the restored run too', async () => {
    await restore(['--catchup', 'start']);
    await until(`the schedule of ${CATCHUP} has come to its end`, async () => {
      api.mustRun();
      const [dag] = await query(target, `SELECT next_dagrun FROM dag WHERE dag_id = '${CATCHUP}'`);
      const rows = await runsOf(CATCHUP);
      const isOver = dag?.next_dagrun === null && rows.every(({ state }) => state === 'success');
      return isOver ? [] : [JSON.stringify([dag, ...rows])];
    });
    expect((await runsOf(CATCHUP)).map((row) => row.run_type)).toEqual(['manual', 'scheduled', 'scheduled']);
    await api.kill();
  });
});

/** What the comparison must not fall short of: an empty one finds no difference. */
const LEAST: Readonly<Record<string, number>> = {
  variable: 30,
  connection: isRestOnly(release) ? 14 : 0,
  pool: 4,
  'pause state': 15,
  'unfinished run': 6,
  'asset in a queue': /^2\.[5-8]\./.test(release) ? 0 : 1,
};
