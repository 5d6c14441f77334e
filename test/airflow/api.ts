import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { openFixture } from '../helpers/fixtures.ts';
import type { FixtureKind, FixtureVersion } from '../helpers/fixtures.ts';
import { emptyEnvironment, withClient } from './environment.ts';
import { create } from './lab.ts';
import type { CreateOptions, LabHome } from './lab.ts';
import { startComponents } from './processes.ts';
import type { Components } from './processes.ts';
import { until } from './until.ts';

/** The user that airflow-lab makes, who may everything; the fixtures with data have it too. */
export const ADMIN = { user: 'admin', password: 'admin' };

/** An Airflow whose REST API answers, and that runs nothing. */
export interface RunningApi extends Components {
  readonly url: string;
  /** For a command that shall sign in as ADMIN. */
  readonly env: Readonly<Record<string, string>>;
}

/** Where the API of that home is, whoever serves it: airflow-lab chose its port when it made the home. */
export function apiUrl({ home }: LabHome): string {
  const { port } = JSON.parse(readFileSync(join(home, 'env.json'), 'utf8')) as { readonly port: number };
  return `http://127.0.0.1:${port}`;
}

/** Starts the web server of a 2.x, the API server of a 3.x. After `kill` it may be started again, at the same URL. */
export async function startApi(at: LabHome): Promise<RunningApi> {
  const name = at.release.startsWith('2.') ? 'webserver' : 'api-server';
  const components = startComponents(at, { [name]: [name] });
  await untilApiAnswers(at, components);
  return {
    ...components,
    url: apiUrl(at),
    env: { LIFEBOAT_REST_USER: ADMIN.user, LIFEBOAT_REST_PASSWORD: ADMIN.password },
  };
}

export async function untilApiAnswers(at: LabHome, components: Components): Promise<void> {
  const version = at.release.startsWith('2.') ? '/api/v1/version' : '/api/v2/version';
  await until(`the API of ${at.home} answers`, async () => {
    components.mustRun();
    try {
      const { ok, status } = await fetch(`${apiUrl(at)}${version}`, { signal: AbortSignal.timeout(5000) });
      return ok ? [] : [`it answers ${status}`];
    } catch {
      return ['it does not answer'];
    }
  });
}

/**
 * An Airflow on the server whose database is a fixture: `data` was filled by running DAGs and killed with runs in flight,
 * `fresh` has nothing but users (of 2.x not even these). Its home has no DAG files; putDags of dag-files.ts puts them there.
 */
export async function loadedEnvironment(
  server: string,
  folder: string,
  release: string,
  name: string,
  kind: FixtureKind,
  options: CreateOptions = {},
): Promise<LabHome> {
  const at = await emptyEnvironment(server, folder, release, name);
  await withClient(at.database, (client) =>
    loadSqlDump(client, openFixture(kind, release as FixtureVersion)),
  );
  await create(at, { ...options, onlyHome: true });
  return at;
}
