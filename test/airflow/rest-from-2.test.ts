import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { memoryFolders } from '../helpers/memory-folders.ts';
import { loadedEnvironment, startApi } from './api.ts';
import { dump, FERNET_KEY, install } from './lab.ts';
import { lifeboat } from './lifeboat.ts';
import { killAllAirflows } from './processes.ts';
import { compareCarried } from './rest-carried.ts';
import { emptyTarget } from './rest-target.ts';
import { endAll } from './run.ts';
import { release } from './step.ts';
import { isRestOnly } from './versions.ts';

/** MWAA's most used. */
const FROM = '2.8.1';

interface Summary {
  readonly backupId: string;
  readonly plan: {
    readonly dags: { readonly held: readonly { dagId: string }[] };
    readonly runs: { readonly tasksAgain: readonly string[] };
    readonly leftOut: readonly { readonly table: string; readonly names?: readonly string[] }[];
  };
  readonly restored: { readonly refused: readonly { readonly name: string }[] };
}

describe.runIf(isRestOnly(release))(`A database of ${FROM} restored through the API of ${release}`, () => {
  const stops: (() => Promise<unknown>)[] = [];

  afterAll(async () => {
    await killAllAirflows();
    await endAll();
    for (const stop of stops.reverse()) await stop();
  });

  it('has all that the API lets in, and the rest is named', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lifeboat-rest-from-2-'));
    stops.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const server = await startEmbeddedPostgres({ temporaryFolders: await memoryFolders() });
    stops.push(() => server.stop());
    await install(FROM);
    const source = await loadedEnvironment(server.url, folder, FROM, 'source', 'data');
    const storage = ['--storage', join(folder, 'storage')];
    await lifeboat(['backup', '--airflow', source.database, ...storage]);
    const target = await emptyTarget(server.url, folder, release);
    const api = await startApi(target);
    const { stdout } = await lifeboat(
      ['restore', 'latest', '--airflow', api.url, ...storage, '--yes', '--json'],
      { ...api.env, LIFEBOAT_FERNET_KEY: FERNET_KEY },
      [3],
    );
    await api.kill();
    const { backupId, plan, restored } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Summary;
    const [from, to] = [await dump(source), await dump(target)];
    const { compared, differences } = compareCarried(from, to, {
      from: 'database',
      release,
      backupId,
      held: plan.dags.held.map(({ dagId }) => dagId),
      again: plan.runs.tasksAgain,
      dags: new Set((to.semantic.dag ?? []).map((row) => String(row.dag_id))),
    });
    expect(differences).toEqual([]);
    expect(compared).toMatchObject({ variable: 31, connection: 15, pool: 5, 'unfinished run': 4 });
    expect(plan.leftOut.flatMap(({ names }) => names ?? []).sort()).toEqual([
      // Another URI there: 3.x has stricter ones.
      'lab_consumer_both: s3://lab-bucket/data/y=1',
      'lab_null_val',
      'lab_other_fernet_key',
    ]);
    expect(restored.refused.map(({ name }) => name).sort()).toEqual([
      `lab odd id ü'"`,
      'lab/slash.dot-dash:colon(x)',
      'lab_extra_not_json',
    ]);
  });
});
