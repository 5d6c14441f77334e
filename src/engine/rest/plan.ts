import type { RestClient } from '../../rest/client.ts';
import { isRestError } from '../../rest/errors.ts';
import { unreachedTables } from '../../versions/rest-unreached.ts';
import type { EngineContext } from '../api.ts';
import { compressionName } from '../backup-manifest.ts';
import type { RestBackupPlan } from '../plans.ts';
import type { RestBackupRequest } from './api.ts';
import type { Gaps } from './gaps.ts';
import { findMasked } from './masked.ts';
import { together } from './reading.ts';
import { planRestSecrets, type RestSecrets } from './secrets.ts';
import { chooseTables, planTable, type PlannedTable } from './tables.ts';

export interface PlannedRestBackup {
  readonly tables: readonly PlannedTable[];
  readonly secrets: RestSecrets;
  readonly gaps: Gaps;
  /** As far as the API counts them. */
  readonly totalRows: number;
  /** Those that the API has, whether they are read or not; null: not counted. */
  readonly xcoms: number | null;
  readonly plan: RestBackupPlan;
}

const NOT_CHOSEN = 'not chosen (--tables, --exclude-tables)';
const OMITTED = 'they hold secrets, and secrets are left out';

/** What will be read, how many rows of it there are now, and what will be missing whatever comes. */
export async function planRestBackup(
  ctx: EngineContext,
  request: RestBackupRequest,
  backupId: string,
  gaps: Gaps,
): Promise<PlannedRestBackup> {
  const { client, via } = request;
  const { chosen, others } = chooseTables(client.airflow, request);
  const secrets = await planRestSecrets(request, backupId, ctx.now);
  const tables = chosen.map((table) => planTable(table, secrets, gaps));
  for (const name of others) gaps.whole(name, NOT_CHOSEN);
  for (const { name, reason } of unreachedTables(client.airflow)) gaps.whole(name, reason);
  for (const { table, columns } of tables) {
    const isStored = (name: string): boolean => columns.some((stored) => stored.name === name);
    for (const { columns: named, reason } of table.notGiven) {
      const missing = named?.filter((name) => !isStored(name));
      if (missing?.length !== 0) gaps.whole(table.name, reason, missing);
    }
    const omitted = table.columns.filter(({ name }) => !isStored(name));
    if (omitted.length > 0) {
      gaps.whole(
        table.name,
        OMITTED,
        omitted.map(({ name }) => name),
      );
    }
  }
  const found = await together(tables, async ({ table }) => ({
    table: table.name,
    rows: await countRows(client, table.read),
  }));
  // How many of them are of unfinished runs, only reading tells.
  const some = request.xcoms === 'unfinished';
  const counted = found.map((one) => (some && one.table === 'xcom' ? { ...one, rows: null } : one));
  const masked = request.dryRun ? await findMasked(client, chosen) : undefined;
  return {
    tables,
    secrets,
    gaps,
    totalRows: counted.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
    xcoms: found.find(({ table }) => table === 'xcom')?.rows ?? null,
    plan: {
      kind: 'rest-backup',
      backupId,
      source: { name: client.name, airflow: client.airflow, api: client.dialect.api, via },
      compression: compressionName(request),
      tables: counted,
      leftOut: gaps.list(),
      ...(masked === undefined ? {} : { masked }),
      secrets: secrets.plan,
      warnings: secrets.warnings,
    },
  };
}

const TASKS = '/dags/~/dagRuns/~/taskInstances';

/** Null: only reading tells. */
export async function countRows(
  client: RestClient,
  read: PlannedTable['table']['read'],
): Promise<number | null> {
  const { lists } = client.dialect;
  const path = {
    list: read.by === 'list' ? lists[read.list]?.path : undefined,
    run: lists.dagRuns.path,
    task: TASKS,
    xcom: lists.xcoms.path,
    try: undefined,
    perDag: undefined,
    perAsset: undefined,
  }[read.by];
  if (path === undefined) return null;
  const query = read.by === 'list' ? lists[read.list]?.query : undefined;
  try {
    const { body } = await client.send({ method: 'GET', path, query: { ...query, limit: 1 } });
    const total: unknown =
      typeof body === 'object' && body !== null ? Reflect.get(body, 'total_entries') : null;
    return typeof total === 'number' ? total : null;
  } catch (thrown) {
    // Reading will say whether that is in the way.
    if (isRestError(thrown, 403)) return null;
    throw thrown;
  }
}
