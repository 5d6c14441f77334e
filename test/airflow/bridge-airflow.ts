import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect } from 'vitest';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { openFixture } from '../helpers/fixtures.ts';
import type { FixtureVersion } from '../helpers/fixtures.ts';
import type { Bridge } from './bridge.ts';
import { query, withClient } from './environment.ts';
import { create } from './lab.ts';
import type { LabHome } from './lab.ts';
import { startAirflow } from './processes.ts';
import type { Components } from './processes.ts';
import { until } from './until.ts';

export interface BridgedOptions {
  readonly fernetKey: string;
  readonly dagFiles: readonly string[];
  readonly dagIds: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
}

/** The DAGs as the package has them ready. */
export const readyFile = (bridge: Bridge): string =>
  join(bridge.sitePackages, 'airflow_lifeboat', 'ready', 'lifeboat_dags.py');

/** A new Airflow with the package in it whose scheduler runs and has read the DAGs. All are paused at first. */
export async function startBridged(
  at: LabHome,
  bridge: Bridge,
  { fernetKey, dagFiles, dagIds, settings }: BridgedOptions,
): Promise<Components> {
  await withClient(at.database, (client) =>
    loadSqlDump(client, openFixture('fresh', at.release as FixtureVersion)),
  );
  // Airflow's examples; in one of the fixtures they are encrypted with a key that is gone.
  await query(at, 'DELETE FROM connection');
  await create(at, {
    onlyHome: true,
    fernetKey,
    settings: {
      PYTHONPATH: bridge.sitePackages,
      AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION: 'True',
      ...settings,
    },
  });
  const dags = join(at.home, 'dags');
  await mkdir(dags);
  for (const file of dagFiles) await copyFile(file, join(dags, basename(file)));
  const components = startAirflow(at);
  await until(`${at.home} has parsed its DAGs`, async () => {
    components.mustRun();
    const rows = await query(at, 'SELECT dag_id FROM dag JOIN serialized_dag USING (dag_id)');
    const parsed = new Set(rows.map((row) => row.dag_id));
    return dagIds.filter((id) => !parsed.has(id));
  });
  return components;
}

export async function unpause(at: LabHome, dagId: string): Promise<void> {
  await query(at, `UPDATE dag SET is_paused = false WHERE dag_id = '${dagId}'`);
}

/** Waits until no run of the DAG is open, and fails unless the newest was a success. */
export async function untilSuccess(at: LabHome, dagId: string): Promise<void> {
  expect(await untilEnded(at, dagId), await logsOf(at, dagId)).toBe('success');
}

/** Waits until no run of the DAG is open; returns the state of the newest. */
export async function untilEnded(at: LabHome, dagId: string): Promise<unknown> {
  let newest: unknown;
  await until(`${dagId} has ended`, async () => {
    const rows = await query(at, `SELECT state FROM dag_run WHERE dag_id = '${dagId}' ORDER BY id`);
    newest = rows.at(-1)?.state;
    const open = rows.filter(({ state }) => state !== 'success' && state !== 'failed');
    return rows.length > 0 && open.length === 0 ? [] : [JSON.stringify(rows)];
  });
  return newest;
}

/** The task logs of a DAG, or of all. */
export async function logsOf(at: LabHome, dagId = ''): Promise<string> {
  const files = await readdir(join(at.home, 'logs'), { recursive: true, withFileTypes: true });
  const texts = files
    .filter((file) => file.isFile() && file.parentPath.includes(dagId))
    .map((file) => readFile(join(file.parentPath, file.name), 'utf8'));
  return (await Promise.all(texts)).join('\n');
}
