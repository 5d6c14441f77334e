import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { startFakeStepFunctions } from '../helpers/fake-step-functions.ts';
import type { FakeStepFunctions } from '../helpers/fake-step-functions.ts';
import { startVersitygw } from '../helpers/versitygw.ts';
import { installBridge } from './bridge.ts';
import type { Bridge } from './bridge.ts';
import { logsOf, readyFile, startBridged, untilSuccess } from './bridge-airflow.ts';
import { emptyEnvironment, query } from './environment.ts';
import { airflow, FERNET_KEY, python } from './lab.ts';
import type { LabHome } from './lab.ts';
import { killAllAirflows } from './processes.ts';
import type { Components } from './processes.ts';
import { endAll } from './run.ts';
import { step } from './step.ts';

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
  let s3: Readonly<Record<string, string>>;
  let stop: () => Promise<unknown>;

  const start = (
    at: LabHome,
    fernetKey: string,
    extra: Readonly<Record<string, string>>,
  ): Promise<Components> =>
    startBridged(at, bridge, {
      fernetKey,
      dagFiles: [readyFile(bridge), HELLO],
      dagIds: ['backup_metadata', 'restore_metadata', 'cleanup_metadata', 'prune_metadata', 'hello'],
      settings: { ...sfn.env, ...s3, ...extra },
    });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-bridge-live-'));
    const server = await startEmbeddedPostgres();
    stop = () => server.stop();
    sfn = await startFakeStepFunctions(TOKEN);
    const { server: gateway, stop: stopS3 } = await startVersitygw('dr-bucket');
    stop = () => Promise.all([server.stop(), stopS3()]);
    s3 = {
      AIRFLOW_VAR_DR_BACKUP_BUCKET: gateway.bucket,
      AWS_ENDPOINT_URL_S3: gateway.url,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: gateway.accessKey,
      AWS_SECRET_ACCESS_KEY: gateway.secretKey,
    };
    bridge = await installBridge('2.8.1', folder);
    source = await emptyEnvironment(server.url, folder, '2.8.1', 'bridge_source');
    target = await emptyEnvironment(server.url, folder, '2.8.1', 'bridge_target');

    const components = await start(source, FERNET_KEY, { AIRFLOW_VAR_DR_BACKUP_SCHEDULE: '@once' });
    await airflow(source, 'variables', 'set', 'greeting', 'ahoy from the source');
    await airflow(source, 'variables', 'set', 'DR_SNS_TOPIC_ARN', 'arn:of-the-source');
    await airflow(source, 'dags', 'unpause', 'hello');
    await untilSuccess(source, 'hello');
    await airflow(source, 'dags', 'unpause', 'backup_metadata');
    await untilSuccess(source, 'backup_metadata');
    await components.kill();

    targetRuns = await start(target, TARGET_KEY, { LIFEBOAT_SOURCE_FERNET_KEY: FERNET_KEY });
    await airflow(target, 'dags', 'unpause', 'restore_metadata');
    const conf = JSON.stringify({ task_token: TOKEN, clean: true, heartbeat_every: '1s' });
    await airflow(target, 'dags', 'trigger', 'restore_metadata', '--conf', conf);
    await step('the restore DAG', () => untilSuccess(target, 'restore_metadata'));
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

  it('adds seconds to what the engine itself takes', async () => {
    const [row] = await query(
      source,
      `SELECT t.duration AS task, (convert_from(x.value, 'UTF8')::json->>'durationSeconds')::float AS engine
         FROM task_instance t JOIN xcom x USING (dag_id, task_id, run_id)
        WHERE dag_id = 'backup_metadata' AND x.key = 'return_value'`,
    );
    const { task, engine } = row as { readonly task: number; readonly engine: number };
    console.log(`2.8.1  the backup's task: ${task.toFixed(1)} s, of which the backup ${engine.toFixed(1)} s`);
    expect(engine).toBeGreaterThan(0);
    expect(task - engine).toBeLessThan(20);
  });

  it('leaves a scheduler that goes on', async () => {
    targetRuns.mustRun();
    await airflow(target, 'dags', 'trigger', 'hello', '--run-id', 'after');
    await untilSuccess(target, 'hello');
    targetRuns.mustRun();
  });
});
