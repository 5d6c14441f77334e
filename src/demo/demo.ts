import { join } from 'node:path';
import type { Client } from 'pg';
import { withClient } from '../db/connect.ts';
import { parseAirflowUrl } from '../db/url.ts';
import type { DatabaseTarget } from '../db/target.ts';
import type { EngineContext, RestoreResult } from '../engine/api.ts';
import { backup } from '../engine/backup.ts';
import { listBackups } from '../engine/catalog.ts';
import type { Manifest } from '../engine/manifest.ts';
import { restore } from '../engine/restore.ts';
import { verify } from '../engine/verify.ts';
import { LifeboatError, toError } from '../errors.ts';
import { openStorage } from '../storage/open.ts';
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from './embedded-postgres.ts';
import { loadSample, SAMPLE_AIRFLOW, SAMPLE_FERNET_KEY } from './sample.ts';
import { INTENDED } from './intended.ts';
import { compareRows, readTableRows, type RowComparison, type TableRows } from './table-rows.ts';

const LOST = 'airflow_eu_west_1';
const NEW = 'airflow_eu_central_1';

export interface DemoContext {
  /** A line of the story, for people; a newline before it starts a paragraph. */
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  readonly postgres?: EmbeddedPostgresOptions;
}

export interface DemoResult {
  readonly airflow: string;
  readonly backupId: string;
  readonly tables: number;
  readonly rows: number;
  readonly identicalRows: number;
  readonly changedRows: RowComparison['changed'];
  readonly seconds: number;
}

/**
 * The whole story on a PostgreSQL of its own: back up a real Airflow's metadata, lose the database, restore into a new
 * environment, compare row for row. Leaves nothing behind, also when it is interrupted or killed.
 *
 * @throws LifeboatError 'integrity' when a row came back differently
 */
export async function runDemo(demo: DemoContext): Promise<DemoResult> {
  const started = demo.now().getTime();
  const server = await startEmbeddedPostgres(demo.postgres);
  try {
    const as = server.runsAs === undefined ? '' : ` as user ${server.runsAs}`;
    demo.say(`Started a PostgreSQL of its own on 127.0.0.1:${server.port}${as}, in a temporary folder.`);
    const told = await tell(demo, server);
    const seconds = (demo.now().getTime() - started) / 1000;
    demo.say(`\nDone in ${seconds.toFixed(1)} s. The server, its data and the backup are removed.`);
    return { ...told, seconds };
  } finally {
    await server.stop();
  }
}

async function tell(demo: DemoContext, server: EmbeddedPostgres): Promise<Omit<DemoResult, 'seconds'>> {
  const storage = await openStorage(join(server.workDir, 'backups'));
  const ctx: EngineContext = { storage, report: () => undefined, signal: demo.signal, now: demo.now };
  const [lost, fresh] = [database(server, LOST), database(server, NEW)];

  await createEnvironment(demo, server, lost, 'data');
  demo.say(`\nLoaded the metadata of a real Airflow ${SAMPLE_AIRFLOW} into ${lost.name}:`);
  demo.say(`  ${await inDatabase(demo, lost, describeContent)}`);

  const manifest = await backUp(demo, ctx, lost);
  await showCatalog(demo, ctx);
  const before = await inDatabase(demo, lost, (client) => readTableRows(client, manifest.tables));
  await loseDatabase(demo, server, lost);

  await createEnvironment(demo, server, fresh, 'fresh');
  demo.say(`\nA new Airflow ${SAMPLE_AIRFLOW} stands in another region, ${fresh.name}:`);
  demo.say(`  ${await inDatabase(demo, fresh, describeContent)}`);

  const restored = await restoreInto(demo, ctx, fresh);
  demo.say(`  ${await inDatabase(demo, fresh, describeContent)}`);
  const compared = await compare(demo, fresh, before, restored);
  return {
    airflow: SAMPLE_AIRFLOW,
    backupId: manifest.backupId,
    tables: manifest.totals.tables,
    rows: manifest.totals.rows,
    identicalRows: compared.identical,
    changedRows: compared.changed,
  };
}

async function backUp(demo: DemoContext, ctx: EngineContext, lost: DatabaseTarget): Promise<Manifest> {
  const { manifest } = await backup(ctx, {
    environment: lost,
    jobs: 2,
    compression: { codec: 'gzip', level: 1 },
    label: 'nightly',
    fernetKeys: [SAMPLE_FERNET_KEY],
    dryRun: false,
  });
  if (manifest === undefined) throw new LifeboatError('failed', 'The backup returned no manifest.');
  const { rows, tables, bytes } = manifest.totals;
  command(demo, `lifeboat backup --airflow postgresql://…@${lost.name} --storage ./backups --label nightly`);
  demo.say(
    `  ${rows} rows of ${tables} tables, ${kilobytes(bytes)}, in ${manifest.durationSeconds.toFixed(1)} s: ${manifest.backupId}`,
  );
  return manifest;
}

async function showCatalog(demo: DemoContext, ctx: EngineContext): Promise<void> {
  const { entries } = await listBackups(ctx.storage, ctx.signal);
  command(demo, 'lifeboat list --storage ./backups');
  for (const { backupId, manifest } of entries) {
    demo.say(
      `  ${backupId}  ${manifest?.source.environment}  Airflow ${manifest?.source.airflow}  ${manifest?.label}`,
    );
  }
  const checked = await verify(ctx, { backup: 'latest' });
  command(demo, 'lifeboat verify latest --storage ./backups');
  demo.say(`  ${checked.parts} parts re-read: every SHA-256 and row count is right`);
}

/** For real: the database is dropped, and connecting to it shows what an operator would see. */
async function loseDatabase(
  demo: DemoContext,
  server: EmbeddedPostgres,
  lost: DatabaseTarget,
): Promise<void> {
  await inDatabase(demo, database(server, 'postgres'), (client) =>
    client.query(`DROP DATABASE ${lost.database} WITH (FORCE)`),
  );
  demo.say('\nDisaster: the region is gone, and the database with it (DROP DATABASE).');
  await inDatabase(demo, lost, describeContent).then(
    () => {
      throw new LifeboatError('failed', 'The demo could not drop its own database.');
    },
    (error: unknown) => {
      demo.say(`  ${toError(error).message}`);
    },
  );
}

async function restoreInto(
  demo: DemoContext,
  ctx: EngineContext,
  fresh: DatabaseTarget,
): Promise<RestoreResult> {
  command(
    demo,
    `lifeboat restore latest --airflow postgresql://…@${fresh.name} --storage ./backups --clean --yes`,
  );
  const result = await restore(ctx, {
    environment: fresh,
    backup: 'latest',
    clean: true,
    variables: 'append',
    connections: 'append',
    pauseState: 'backup',
    fernetKeys: [SAMPLE_FERNET_KEY],
    // Its environments are rows without an Airflow: whatever was running is not.
    ignoreRunning: true,
    dryRun: false,
    confirm: () => Promise.resolve(true),
  });
  const { rows = 0, seconds = 0, unreadableSecrets } = result.loaded ?? {};
  demo.say(`  ${rows} rows in one atomic step, in ${seconds.toFixed(1)} s`);
  if (unreadableSecrets && unreadableSecrets.length > 0) {
    demo.say(`  Secrets that the Fernet key cannot read, as in the source: ${unreadableSecrets.join(', ')}`);
  }
  return result;
}

async function compare(
  demo: DemoContext,
  fresh: DatabaseTarget,
  before: readonly TableRows[],
  { plan }: RestoreResult,
): Promise<RowComparison> {
  // Tables that only translate ids (users, log templates) belong to the new environment.
  const brought = before.filter(({ table }) =>
    plan.tables.some((step) => step.table === table && step.action !== 'lookup'),
  );
  const wanted = brought.map(({ table, columns }) => ({ name: table, columns }));
  const after = await inDatabase(demo, fresh, (client) => readTableRows(client, wanted));
  const result = compareRows(brought, after, INTENDED);
  if (result.different.length > 0) {
    throw new LifeboatError('integrity', `The restored rows differ in ${result.different.join(', ')}.`, {
      next: 'Please report this with the output above.',
    });
  }
  demo.say(
    `\nCompared row for row with what was lost: ${result.identical} rows of ${brought.length} tables are identical.`,
  );
  for (const { table, rows, why } of result.changed) {
    demo.say(`  ${rows === 1 ? '1 row' : `${rows} rows`} of ${table} not, on purpose: ${why}.`);
  }
  return result;
}

function command(demo: DemoContext, line: string): void {
  demo.signal.throwIfAborted();
  demo.say(`\n$ ${line}`);
}

async function createEnvironment(
  demo: DemoContext,
  server: EmbeddedPostgres,
  target: DatabaseTarget,
  kind: 'data' | 'fresh',
): Promise<void> {
  await inDatabase(demo, database(server, 'postgres'), (client) =>
    client.query(`CREATE DATABASE ${target.database}`),
  );
  await inDatabase(demo, target, (client) => loadSample(client, kind));
}

/** "15 DAGs, 23 runs (4 unfinished), …" */
async function describeContent(client: Client): Promise<string> {
  const { rows } = await client.query<{ content: string }>(
    `SELECT format('%s DAGs, %s runs (%s unfinished), %s task instances, %s XComs, %s variables, %s connections, %s log rows',
       (SELECT count(*) FROM public.dag), (SELECT count(*) FROM public.dag_run),
       (SELECT count(*) FROM public.dag_run WHERE state IN ('queued', 'running')),
       (SELECT count(*) FROM public.task_instance), (SELECT count(*) FROM public.xcom),
       (SELECT count(*) FROM public.variable), (SELECT count(*) FROM public.connection),
       (SELECT count(*) FROM public.log)) AS content`,
  );
  return rows[0]?.content ?? '';
}

function database(server: EmbeddedPostgres, name: string): DatabaseTarget {
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  return parseAirflowUrl(url.href, {});
}

function inDatabase<T>(
  demo: DemoContext,
  target: DatabaseTarget,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  return withClient(target, { signal: demo.signal, applicationName: 'lifeboat demo' }, work);
}

function kilobytes(bytes: number): string {
  return `${Math.round(bytes / 1000)} KB`;
}
