import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { startFakeStepFunctions } from '../helpers/fake-step-functions.ts';
import type { FakeStepFunctions } from '../helpers/fake-step-functions.ts';
import { installBridge } from './bridge.ts';
import type { Bridge } from './bridge.ts';
import { emptyEnvironment, query } from './environment.ts';
import { airflow, create, FERNET_KEY, python } from './lab.ts';
import type { LabHome } from './lab.ts';
import { killAllAirflows, startAirflow } from './processes.ts';
import type { Components } from './processes.ts';
import { endAll } from './run.ts';
import { step } from './step.ts';
import { until } from './until.ts';

const TARGET_KEY = 'dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGE=';
const TOKEN = 'AAAAKgAAAAIAAAAAAAAAAf3qX/a+token+of+a+state==';
const HELLO = fileURLToPath(new URL('dags/lifeboat_hello.py', import.meta.url));

// The scheduled backup of one Airflow, and its restore into another that lives and has another Fernet key: both by the
// package's own DAGs on their own schedulers.
describe.runIf(inject('airflowRelease') === '2.8.1')('the DAGs on real schedulers, Airflow 2.8.1', () => {
  let folder: string;
  let bridge: Bridge;
  let sfn: FakeStepFunctions;
  let source: LabHome;
  let target: LabHome;
  let targetRuns: Components;
  let stop: () => Promise<void>;

  /** An Airflow with the package, the ready file and one more DAG; its scheduler runs. */
  async function start(at: LabHome, fernetKey: string, extra: Record<string, string>): Promise<Components> {
    const settings = {
      PYTHONPATH: bridge.sitePackages,
      LIFEBOAT_STORAGE: join(folder, 'storage'),
      AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION: 'True',
      ...sfn.env,
      ...extra,
    };
    await create(at, { fernetKey, settings });
    const dags = join(at.home, 'dags');
    await rm(dags, { recursive: true });
    await mkdir(dags);
    await copyFile(HELLO, join(dags, 'lifeboat_hello.py'));
    const ready = join(bridge.sitePackages, 'airflow_lifeboat', 'ready', 'lifeboat_dags.py');
    await copyFile(ready, join(dags, 'lifeboat_dags.py'));
    const components = startAirflow(at);
    await until(`${at.home} has parsed its DAGs`, async () => {
      components.mustRun();
      const rows = await query(at, 'SELECT dag_id FROM dag JOIN serialized_dag USING (dag_id)');
      return rows.length >= 5 ? [] : [JSON.stringify(rows)];
    });
    return components;
  }

  async function untilEnded(at: LabHome, dagId: string): Promise<void> {
    await until(`${dagId} has ended`, async () => {
      const rows = await query(at, `SELECT state FROM dag_run WHERE dag_id = '${dagId}'`);
      const open = rows.filter(({ state }) => state !== 'success' && state !== 'failed');
      return rows.length > 0 && open.length === 0 ? [] : [JSON.stringify(rows)];
    });
    const states = await query(at, `SELECT DISTINCT state FROM dag_run WHERE dag_id = '${dagId}'`);
    expect(states, await logsOf(at, dagId)).toEqual([{ state: 'success' }]);
  }

  async function logsOf(at: LabHome, dagId = ''): Promise<string> {
    const files = await readdir(join(at.home, 'logs'), { recursive: true, withFileTypes: true });
    const texts = files
      .filter((file) => file.isFile() && file.parentPath.includes(dagId))
      .map((file) => readFile(join(file.parentPath, file.name), 'utf8'));
    return (await Promise.all(texts)).join('\n');
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-bridge-live-'));
    const server = await startEmbeddedPostgres();
    stop = () => server.stop();
    sfn = await startFakeStepFunctions(TOKEN);
    await mkdir(join(folder, 'storage'));
    bridge = await installBridge('2.8.1', folder);
    source = await emptyEnvironment(server.url, folder, '2.8.1', 'bridge_source');
    target = await emptyEnvironment(server.url, folder, '2.8.1', 'bridge_target');

    const components = await start(source, FERNET_KEY, { AIRFLOW_VAR_DR_BACKUP_SCHEDULE: '@once' });
    await airflow(source, 'variables', 'set', 'greeting', 'ahoy from the source');
    await airflow(source, 'variables', 'set', 'DR_SNS_TOPIC_ARN', 'arn:of-the-source');
    await airflow(source, 'dags', 'unpause', 'hello');
    await untilEnded(source, 'hello');
    await airflow(source, 'dags', 'unpause', 'backup_metadata');
    await untilEnded(source, 'backup_metadata');
    await components.kill();

    targetRuns = await start(target, TARGET_KEY, { LIFEBOAT_SOURCE_FERNET_KEY: FERNET_KEY });
    await airflow(target, 'dags', 'unpause', 'restore_metadata');
    const conf = JSON.stringify({ task_token: TOKEN, clean: true, heartbeat_every: '1s' });
    await airflow(target, 'dags', 'trigger', 'restore_metadata', '--conf', conf);
    await step('the restore DAG', () => untilEnded(target, 'restore_metadata'));
  });

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    await sfn.close();
    await stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  it('brings the history and the secrets of the source', async () => {
    const read = `
from airflow.models import DagRun, Variable, XCom
from airflow.utils.session import create_session
with create_session() as session:
    (run,) = session.query(DagRun).filter(DagRun.dag_id == "hello").all()
    print("FOUND", run.state, XCom.get_one(dag_id="hello", task_id="answer", run_id=run.run_id, key="return_value"))
print("FOUND", Variable.get("greeting"), Variable.get("DR_SNS_TOPIC_ARN", default_var="no topic"))
`;
    const found = (await python(target, read)).split('\n').filter((line) => line.startsWith('FOUND'));
    expect(found).toEqual(['FOUND success ahoy!', 'FOUND ahoy from the source no topic']);
  });

  it("keeps its own run, and ends the backup's", async () => {
    const rows = await query(
      target,
      `SELECT dag_id, d.state AS run, t.state AS task FROM dag_run d JOIN task_instance t USING (dag_id, run_id)
       WHERE dag_id LIKE '%metadata' ORDER BY 1`,
    );
    expect(rows).toEqual([
      { dag_id: 'backup_metadata', run: 'success', task: 'success' },
      { dag_id: 'restore_metadata', run: 'success', task: 'success' },
    ]);
    const paused = await query(
      target,
      `SELECT dag_id FROM dag WHERE NOT is_paused AND dag_id LIKE '%metadata'`,
    );
    expect(paused).toEqual([{ dag_id: 'restore_metadata' }]);
  });

  it('tells the state machine once, with heartbeats before', () => {
    const actions = sfn.actions();
    expect(actions[0]).toBe('Heartbeat');
    expect(actions.filter((action) => action !== 'Heartbeat')).toEqual(['Success']);
    const output = JSON.parse(sfn.calls.at(-1)?.body.output ?? '') as Record<string, unknown>;
    expect(output).toMatchObject({
      dag: 'restore_metadata',
      status: 'Success',
      tasks: ['restore => success'],
    });
  });

  it('puts the token into no log, XCom or rendered field', async () => {
    const logs = await logsOf(target);
    expect(logs).toContain('Running lifeboat restore latest');
    expect(logs).not.toContain(TOKEN);
    const stored = await query(
      target,
      `SELECT encode(value, 'escape') AS text FROM xcom UNION ALL
       SELECT rendered_fields::text FROM rendered_task_instance_fields`,
    );
    expect(stored.length).toBeGreaterThan(2);
    expect(JSON.stringify(stored)).not.toContain(TOKEN);
  });

  it('leaves a scheduler that goes on', async () => {
    targetRuns.mustRun();
    await airflow(target, 'dags', 'trigger', 'hello', '--run-id', 'after');
    await untilEnded(target, 'hello');
    targetRuns.mustRun();
  });
});
