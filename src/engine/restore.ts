import type { Client } from 'pg';
import { LifeboatError } from '../errors.ts';
import type { Opener } from '../secrets/seal.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { countAuthorless, readAftermath } from './aftermath.ts';
import type { EngineContext, MergeCounts, RestoreRequest, RestoreResult } from './api.ts';
import { resolveBackup } from './catalog.ts';
import { cleanLocks, cleanTables, planClean } from './clean-tables.ts';
import { commitSurely } from './commit.ts';
import { isSkipped } from './load-context.ts';
import type { LoadedTable } from './load-context.ts';
import { loadTables } from './load-tables.ts';
import { settleInFlight } from './in-flight/in-flight.ts';
import { readPlanFacts } from './in-flight/plan.ts';
import type { PlanFacts } from './in-flight/plan.ts';
import { rememberKeptRuns } from './in-flight/restored.ts';
import { lockEnvironment, lockTables } from './locks.ts';
import type { LockWish } from './locks.ts';
import type { Manifest } from './manifest.ts';
import { narrowColumns, refuseTooNarrow } from './narrow.ts';
import type { RestorePlan } from './plans.ts';
import { createProgress } from './progress.ts';
import { createRekeying } from './rekey.ts';
import type { Rekeying, RekeyRequest } from './rekey.ts';
import { planRestore, refuseBlocked } from './restore-plan.ts';
import { objectsOf } from './sealed/fields.ts';
import { omittedWarnings, planUnsealing } from './sealed/open-backup.ts';
import type { Unsealing } from './sealed/read.ts';
import { liftSequences } from './sequences.ts';
import { beginReading, beginWork, withSession } from './session.ts';
import { mapName, stageName } from './stage.ts';
import { readTargetState } from './target-state.ts';
import type { TargetState } from './target-state.ts';
import { findUnreadableSecrets } from './unreadable.ts';
import { checkParts } from './verify-parts.ts';

/**
 * Brings a backup into an environment, in one transaction: checks, cleanup, load, sequences, pause states, commit.
 * Whatever fails before the commit, the target is as it was.
 *
 * @throws LifeboatError: not-found, integrity, unsupported, refused, locked, interrupted or failed
 */
export async function restore(ctx: EngineContext, request: RestoreRequest): Promise<RestoreResult> {
  const started = ctx.now().getTime();
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  const preview = await withSession(
    ctx,
    request.environment,
    { purpose: 'restore preflight', begin: beginReading },
    async (client) => {
      const state = await readTargetState(client, request.environment, request);
      const facts = await readPlanFacts(client, request.environment.schema, manifest, ctx.now());
      const planned = planRestore(manifest, state, request, facts);
      return withSecrets(ctx, manifest, request, { state, facts, ...planned });
    },
  );
  ctx.report({ event: 'plan', plan: preview.plan });
  refuseBlocked(preview.plan.blockers);
  if (request.dryRun) return { backupId, plan: preview.plan };
  if (!(await request.confirm(preview.plan))) throw notConfirmed(preview.plan.target.name);

  ctx.report({
    event: 'phase',
    phase: 'check',
    message: `Checking ${manifest.totals.parts} parts of backup ${backupId}`,
  });
  await checkParts(ctx, manifest, { countRows: false });
  await refuseTooNarrow(ctx, manifest, narrowColumns(manifest, preview.state, preview.tables));

  return withSession(ctx, request.environment, { purpose: 'restore', begin: beginWork }, async (client) => {
    await lockEnvironment(client, preview.plan.target.name);
    const work = await execute(ctx, request, client, manifest, preview);
    await commitSurely(ctx, client, request.environment);
    return {
      backupId,
      plan: preview.plan,
      loaded: { ...work, seconds: (ctx.now().getTime() - started) / 1000 },
    };
  });
}

interface Preview {
  readonly state: TargetState;
  readonly facts: PlanFacts;
  readonly tables: readonly ResolvedTable[];
  readonly plan: RestorePlan;
  readonly opener?: Opener;
}

/** The plan with what the secrets of this backup need or lack. */
async function withSecrets(
  ctx: EngineContext,
  manifest: Manifest,
  request: RestoreRequest,
  preview: Preview,
): Promise<Preview> {
  const { plan } = preview;
  const tables = preview.tables.map(({ name }) => name).filter((name) => !isSkipped(request, name));
  const { opener, blockers } = await planUnsealing(ctx, manifest, tables, request);
  return {
    ...preview,
    plan: {
      ...plan,
      blockers: [...plan.blockers, ...blockers],
      warnings: [...plan.warnings, ...omittedWarnings(manifest, tables)],
    },
    ...(opener ? { opener } : {}),
  };
}

type Work = Omit<NonNullable<RestoreResult['loaded']>, 'seconds'>;

async function execute(
  ctx: EngineContext,
  request: RestoreRequest,
  client: Client,
  manifest: Manifest,
  { state: seen, facts, tables, opener }: Preview,
): Promise<Work> {
  const { schema } = request.environment;
  const clean = request.clean ? planClean(seen, tables) : { truncate: [], remove: [] };
  // The first thing that touches a table: a lock asked for while a weaker one is held is how deadlocks are made.
  await lockTables(ctx, client, schema, lockWishes(tables, cleanLocks(clean)));
  // Under the locks nothing moves any more: what was refused at first sight is refused for good here.
  const state = await readTargetState(client, request.environment, request);
  refuseBlocked(planRestore(manifest, state, request, facts).plan.blockers);

  if (request.clean) {
    ctx.report({ event: 'phase', phase: 'clean', message: 'Deleting the history of the target' });
  }
  const deleted = await cleanTables(client, state, clean);
  await rememberKeptRuns(client, schema);
  ctx.report({ event: 'phase', phase: 'load', message: `Loading ${tables.length} tables` });
  const rekeying = createRekeying(client, rekeyRequest(ctx, request, manifest));
  let opened = 0;
  const [key] = request.fernetKeys;
  const unsealing = opener && {
    opener,
    // Without a key there are only secrets here that never become tokens: planUnsealing has refused all others.
    key: key ?? '',
    encrypt: 'all' as const,
    now: ctx.now(),
    onToken: () => (opened += 1),
  };
  const input = { manifest, state, tables, deleted, rekeying, ...(unsealing ? { unsealing } : {}) };
  const loaded = await load(ctx, request, client, input);
  const rekeyed = rekeying.finish();
  const secrets = { ...rekeyed, reencrypted: rekeyed.reencrypted + opened };
  ctx.report({ event: 'phase', phase: 'finish', message: 'Lifting sequences, reading the result' });
  await liftSequences(ctx, client, state, tables);
  // Its new rows take their ids from the sequences.
  const inFlight = await settleInFlight(client, schema, {
    policy: request.inFlight ?? 'resume',
    backupId: manifest.backupId,
    snapshotTime: manifest.snapshotTime,
    tables,
    now: ctx.now(),
  });
  const aftermath = await readAftermath(client, schema);
  const secretTables = tables.filter((table) => table.secrets.length > 0);
  return {
    tables: loaded.map(({ table, rows, moved }) => ({ table, rows, moved })),
    rows: loaded.reduce((sum, table) => sum + table.rows, 0),
    deleted: [...deleted.values()].reduce((sum, rows) => sum + rows, 0),
    variables: mergeOf(loaded, 'variable'),
    connections: mergeOf(loaded, 'connection'),
    ...aftermath,
    inFlight,
    secrets,
    unreadableSecrets:
      request.fernetKeys.length === 0
        ? null
        : await findUnreadableSecrets(client, schema, secretTables, request.fernetKeys),
    notesWithoutUser: await authorless(client, loaded),
  };
}

async function load(
  ctx: EngineContext,
  request: RestoreRequest,
  client: Client,
  input: {
    readonly manifest: Manifest;
    readonly state: TargetState;
    readonly tables: readonly ResolvedTable[];
    readonly deleted: ReadonlyMap<string, number>;
    readonly rekeying: Rekeying;
    readonly unsealing?: Unsealing;
  },
): Promise<readonly LoadedTable[]> {
  const { manifest, state, tables, deleted, ...secrets } = input;
  const stored = manifest.tables.filter((table) => tables.some(({ name }) => name === table.name));
  const progress = createProgress(ctx, 'load', {
    totalRows: stored.reduce((sum, table) => sum + table.rows, 0),
    totalBytes: stored
      .flatMap((table) => table.parts.flatMap(objectsOf))
      .reduce((sum, object) => sum + object.bytes, 0),
  });
  const kept = (table: string): number => (state.counts.get(table)?.rows ?? 0) - (deleted.get(table) ?? 0);
  const loaded = await loadTables(
    { ctx, client, manifest, state, request, ...secrets, progress, kept, ids: new Map() },
    tables,
  );
  progress.end();
  return loaded;
}

function rekeyRequest(ctx: EngineContext, request: RestoreRequest, manifest: Manifest): RekeyRequest {
  return {
    targetKeys: request.fernetKeys,
    sourceKeys: request.sourceFernetKeys ?? [],
    storedFingerprints: manifest.secrets.fernetKeys,
    keepUnreadable: request.unreadable === 'keep',
    encryptClear: request.encryptClear ?? false,
    now: ctx.now(),
  };
}

/** Every table that is written is locked against writers and row locks, before the first of them is touched. */
function lockWishes(tables: readonly ResolvedTable[], clean: readonly LockWish[]): readonly LockWish[] {
  const named = new Set(clean.map(({ table }) => table.name));
  const written = tables.filter((table) => table.restore.kind !== 'lookup' && !named.has(table.name));
  return [...written.map((table): LockWish => ({ table, mode: 'EXCLUSIVE' })), ...clean];
}

function mergeOf(loaded: readonly LoadedTable[], table: string): MergeCounts {
  return (
    loaded.find((one) => one.table === table)?.merge ?? { added: 0, replaced: 0, kept: 0, keptDifferent: [] }
  );
}

async function authorless(client: Client, loaded: readonly LoadedTable[]): Promise<number> {
  const names = loaded.map((one) => one.table);
  if (!names.includes('ab_user')) return 0;
  const notes = ['dag_run_note', 'task_instance_note'].filter((table) => names.includes(table));
  return countAuthorless(client, mapName('ab_user'), notes, stageName);
}

function notConfirmed(name: string): LifeboatError {
  return new LifeboatError('refused', `Nothing was changed: the restore into ${name} was not confirmed.`, {
    next: 'Look at the plan (--dry-run), then confirm it, or give --yes.',
  });
}
