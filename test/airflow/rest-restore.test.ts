import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { loadedEnvironment, startApi } from './api.ts';
import type { RunningApi } from './api.ts';
import { letGo, putDags } from './dag-files.ts';
import { emptyEnvironment, query } from './environment.ts';
import { airflow, create, FERNET_KEY, python } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat, lifeboatJson } from './lifeboat.ts';
import type { Summary } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import { endAll } from './run.ts';
import { release, step } from './step.ts';
import { until } from './until.ts';

const OTHER_KEY = 'T3RoZXJPdGhlck90aGVyT3RoZXJPdGhlck90aGVyMDA=';
const RUN = `dag_id = 'lab_inflight' AND run_id = 'lab_inflight_1'`;
/** Waits behind it, and has tasks that had ended and left no XCom. */
const NEXT_RUN = `dag_id = 'lab_inflight' AND run_id = 'lab_inflight_2'`;
const isV1 = release.startsWith('2.');

/** 2.5 takes no description of a variable: the plan names those that it leaves out. */
const DESCRIBED = release.startsWith('2.5.') ? 'False' : 'True';

/** What Airflow itself reads, by name: variables and pools. */
const SETTINGS = `
import json
from airflow.models import Pool, Variable
from airflow.settings import Session
s = Session()
def value(v):
    try:
        return json.loads(v.get_val())
    except Exception:
        return v.get_val()
print(json.dumps([{v.key: [value(v), v.description if DESCRIBED else None] for v in s.query(Variable)},
                  {p.pool: [p.slots, p.description] for p in s.query(Pool)}]))
`;

type Settings = readonly [Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>];

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
    source = await loadedEnvironment(server.url, folder, release, 'source', 'data');
    for (const [state, task] of [
      ['success', 'done'],
      ['skipped', 'up_for_retry'],
    ]) {
      await query(
        source,
        `UPDATE task_instance SET state = '${state}' WHERE ${NEXT_RUN} AND task_id = '${task}'`,
      );
    }
    const from = await startApi(source);
    await lifeboat(['backup', '--airflow', from.url, ...storage], {
      ...from.env,
      LIFEBOAT_FERNET_KEY: FERNET_KEY,
    });
    await from.kill();
    target = await emptyEnvironment(server.url, folder, release, 'target');
    const settings = { AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION: 'True' };
    await create(target, { fernetKey: OTHER_KEY, settings });
    await putDags(target);
    await airflow(target, 'dags', 'reserialize');
    api = await startApi(target);
  });

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    for (const stop of stops) await stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  async function restore(): Promise<Summary> {
    const args = ['restore', 'latest', '--airflow', api.url, ...storage, '--yes', '--json'];
    // 3: ids of connections that Airflow does not take any more.
    const { stdout } = await step('lifeboat restore', () =>
      lifeboat(args, { ...api.env, LIFEBOAT_FERNET_KEY: FERNET_KEY }, [0, 3]),
    );
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Summary;
  }

  const settingsOf = async (at: LabHome): Promise<Settings> =>
    JSON.parse(
      (await python(at, `DESCRIBED = ${DESCRIBED}\n${SETTINGS}`)).trimEnd().split('\n').at(-1) ?? '',
    ) as Settings;

  it('goes on after the server died, and brings what the plan says', async () => {
    const broken = lifeboatJson(['restore', 'latest', '--airflow', api.url, ...storage, '--yes'], {
      ...api.env,
      LIFEBOAT_FERNET_KEY: FERNET_KEY,
    }).then(
      () => 'it was done before',
      () => 'it failed, or was told of what Airflow does not take',
    );
    await until('something was written', async () => {
      const [row] = await query(target, 'SELECT count(*) AS n FROM variable');
      return Number(row?.n) > 0 ? [] : ['no variable yet'];
    });
    await api.kill();
    // The command waits two minutes for a server that is away.
    api = await startApi(target);
    await broken;
    first = await restore();
    expect(first.plan).toMatchObject({ kind: 'rest-restore', blockers: [] });
    const [variables, pools] = await settingsOf(target);
    const [theirs, { lab_unlimited: unlimited, ...theirPools }] = await settingsOf(source);
    const left = JSON.stringify((first.plan as { leftOut: unknown }).leftOut);
    for (const [key, value] of Object.entries(theirs)) {
      if (key in variables) expect({ [key]: variables[key] }).toEqual({ [key]: value });
      // Of another Fernet key: the source's own API cannot show it.
      else expect(left + (key === 'lab_other_fernet_key' ? key : '')).toContain(key);
    }
    expect(Object.keys(variables).length).toBeGreaterThan(20);
    // v1 of the source fails at a pool without end.
    expect(pools).toEqual(isV1 ? theirPools : { ...theirPools, lab_unlimited: unlimited });
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
    const next = await query(
      target,
      `SELECT task_id, state FROM task_instance WHERE ${NEXT_RUN} AND state IS NOT NULL ORDER BY 1`,
    );
    const skipped = { task_id: 'up_for_retry', state: 'skipped' };
    // Before 2.10 skipped cannot be set.
    const settable = !/^2\.[5-9]\./.test(release);
    expect(next).toEqual([{ task_id: 'done', state: 'success' }, ...(settable ? [skipped] : [])]);
  });

  it('leaves DAGs paused whose catchup would start runs of the past', async () => {
    const dags = (first.plan as { dags: { held: readonly { dagId: string; runs: number }[] } }).dags;
    expect(dags.held).toEqual([{ dagId: 'lab_catchup', runs: expect.any(Number) as number }]);
    expect(dags.held[0]?.runs).toBeGreaterThan(1);
    const [row] = await query(target, `SELECT is_paused FROM dag WHERE dag_id = 'lab_catchup'`);
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

  it('the scheduler ends what had not ended, and nothing that had ended runs again', async () => {
    await query(target, `UPDATE slot_pool SET slots = 8 WHERE slots = 0`);
    await letGo(target);
    // Beside the API, which answers by now: a task of Airflow 3 that finds none fails.
    api.add('scheduler', 'scheduler', '--skip-serve-logs');
    const quiet = isV1 && !release.startsWith('2.5.') ? ['--skip-serve-logs'] : [];
    api.add('triggerer', 'triggerer', ...quiet);
    if (!isV1) api.add('dag-processor', 'dag-processor');
    await until('the runs have ended', async () => {
      api.mustRun();
      const runs = await query(
        target,
        `SELECT run_id, state FROM dag_run WHERE dag_id = 'lab_inflight' AND state <> 'success'`,
      );
      const left = await query(
        target,
        `SELECT run_id, task_id, state FROM task_instance
          WHERE dag_id = 'lab_inflight' AND state IS DISTINCT FROM 'success'`,
      );
      return runs.length === 0 ? [] : [JSON.stringify([...runs, ...left])];
    });
    await api.kill();
    const again = JSON.stringify((first.plan as { runs: { tasksAgain: unknown } }).runs.tasksAgain);
    const [done] = await query(
      target,
      `SELECT hostname <> '' AS ran FROM task_instance WHERE ${RUN} AND task_id = 'done'`,
    );
    expect(done).toEqual({ ran: again.includes('/done') });
    const ran = await query(
      target,
      `SELECT task_id FROM task_instance WHERE ${NEXT_RUN} AND hostname <> '' AND task_id IN ('done', 'up_for_retry')`,
    );
    expect(ran.map(({ task_id: id }) => id)).toEqual(
      again.includes('lab_inflight_2/up_for_retry') ? ['up_for_retry'] : [],
    );
  });
});
