import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { openFixture } from '../helpers/fixtures.ts';
import { expectedRows, expectedSecrets, mwaaBackup } from '../helpers/mwaa-dr.ts';
import type { ExpectedRow, MwaaFixture } from '../helpers/mwaa-dr.ts';
import { emptyEnvironment, withClient } from './environment.ts';
import { environmentOnly, python } from './lab.ts';
import type { LabHome } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import { endAll } from './run.ts';

// After mwaa_dr's own restore of the first of these backups, none of its XComs could be read any more: they kept the run
// ids of the source.

const FINISHED = new Set(['success', 'failed', 'skipped', 'upstream_failed', 'removed']);
const taskKey = (row: ExpectedRow): string =>
  JSON.stringify([row.dag_id, row.run_id, row.task_id, row.map_index]);
/** mwaa_dr backed itself up while it ran: its files and the source's rows are of different moments there. */
const isOwn = (row: ExpectedRow): boolean => String(row.dag_id).endsWith('_metadata');

/** Reads what people read, through Airflow's models: the values of XComs of a list of keys, variables, connections. */
const READER = `
import json, sys
from airflow.hooks.base import BaseHook
from airflow.models import Connection, TaskInstance, Variable, XCom
from airflow.utils.json import XComDecoder
from airflow.utils.session import create_session

with open(sys.argv[0].replace("script.py", "wanted.json")) as file:
    wanted = json.load(file)
found = {"xcoms": [], "pulled": 0, "variables": {}, "connections": {}}
with create_session() as session:
    for dag_id, run_id, task_id, map_index, key, text in wanted["xcoms"]:
        value = XCom.get_one(
            dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, key=key, session=session)
        found["xcoms"].append(value == json.loads(text, cls=XComDecoder))
    for ti in session.query(TaskInstance).filter(TaskInstance.state == "success").limit(20):
        value = ti.xcom_pull(task_ids=ti.task_id, dag_id=ti.dag_id, map_indexes=ti.map_index, session=session)
        found["pulled"] += value is not None
    for key in wanted["variables"]:
        found["variables"][key] = Variable.get(key)
    for conn_id in wanted["connections"]:
        found["connections"][conn_id] = BaseHook.get_connection(conn_id).password
print("FOUND" + json.dumps(found))
`;

interface Found {
  /** Whether each one has the value that it had in the source. */
  readonly xcoms: readonly boolean[];
  readonly pulled: number;
  readonly variables: Readonly<Record<string, string>>;
  readonly connections: Readonly<Record<string, string | null>>;
}

describe.runIf(inject('airflowRelease') === '2.8.1')('backups of mwaa_dr in a real Airflow 2.8.1', () => {
  let folder: string;
  let server: string;
  const releasers: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lifeboat-mwaa-dr-'));
    releasers.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const embedded = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    server = embedded.url;
    releasers.push(() => embedded.stop(), endAll);
  });

  afterAll(async () => {
    for (const release of releasers.reverse()) await release();
  });

  async function restored(fixture: MwaaFixture): Promise<LabHome> {
    const [old, storage] = [join(folder, `${fixture}-old`), join(folder, `${fixture}-storage`)];
    await Promise.all([mkdir(old), mkdir(storage)]);
    const files = await mwaaBackup(fixture);
    for await (const { key } of files.list('')) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of await files.read(key)) chunks.push(chunk as Uint8Array);
      await writeFile(join(old, key), Buffer.concat(chunks));
    }
    const at = ['--storage', pathToFileURL(storage).href];
    await lifeboat(['import', old, '--from', 'mwaa-dr', '--airflow-version', '2.8.1', ...at]);
    const target = await emptyEnvironment(server, folder, '2.8.1', fixture);
    await withClient(target.database, (client) => loadSqlDump(client, openFixture('fresh', '2.8.1')));
    await environmentOnly(target);
    await lifeboat(['restore', 'latest', '--airflow', target.database, ...at, '--yes']);
    return target;
  }

  it.each(['clean', 'inflight'] as const)('%s: every XCom of a finished task is read', async (fixture) => {
    const target = await restored(fixture);
    const finished = new Set(
      expectedRows(fixture, 'task_instance')
        .filter((row) => FINISHED.has(String(row.state)))
        .map(taskKey),
    );
    const xcoms = expectedRows(fixture, 'xcom').filter((row) => finished.has(taskKey(row)) && !isOwn(row));
    const [variables, connections] = (['variable', 'connection'] as const).map((table) =>
      expectedSecrets(fixture, table),
    ) as [Readonly<Record<string, ExpectedRow>>, Readonly<Record<string, ExpectedRow>>];
    const wanted = {
      xcoms: xcoms.map((row) => [
        row.dag_id,
        row.run_id,
        row.task_id,
        row.map_index,
        row.key,
        hexText(row.value),
      ]),
      variables: Object.keys(variables),
      connections: Object.keys(connections),
    };
    await writeFile(join(target.home, 'wanted.json'), JSON.stringify(wanted));
    const out = await python(target, READER);
    const line = out.split('\n').find((one) => one.startsWith('FOUND')) ?? 'FOUND{}';
    const found = JSON.parse(line.slice('FOUND'.length)) as Found;

    expect(xcoms.length).toBeGreaterThan(0);
    expect(found.xcoms).toEqual(xcoms.map(() => true));
    expect(found.pulled).toBeGreaterThan(0);
    expect(found.variables).toEqual(
      Object.fromEntries(Object.entries(variables).map(([key, { val }]) => [key, val ?? ''])),
    );
    const passwords = Object.entries(connections).map(([id, { password }]) => [id, emptyIsNull(password)]);
    expect(
      Object.fromEntries(
        Object.entries(found.connections).map(([id, password]) => [id, emptyIsNull(password)]),
      ),
    ).toEqual(Object.fromEntries(passwords));
    console.log(
      `${fixture}: ${xcoms.length} XComs, ${wanted.variables.length} variables, ${wanted.connections.length} connections`,
    );
  });
});

/** PostgreSQL's hex form of bytea, as text. */
const hexText = (value: unknown): string =>
  Buffer.from(String(value).replace(/^\\x/, ''), 'hex').toString('utf8');

/** mwaa_dr's files do not tell NULL from ''. */
const emptyIsNull = (value: unknown): unknown => (value === '' ? null : value);
