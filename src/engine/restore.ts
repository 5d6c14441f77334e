import type { Client } from 'pg';
import type { ResolvedTable } from '../versions/registry.ts';
import { countAuthorless, judgeRestored, lookAtRestored } from './aftermath.ts';
import type { EngineContext, RestoreRequest, RestoreResult } from './api.ts';
import { besideOf } from './beside.ts';
import { resolveBackup } from './catalog.ts';
import { lookAgain } from './chosen/facts.ts';
import { cleanLocks, cleanTables, planClean } from './clean-tables.ts';
import { dagsToEnd, notePauseStates, settleCarriers } from './carriers.ts';
import { commitSurely } from './commit.ts';
import { checkRoom, deleteStaleRows, noteStaleRows, untouchedTables } from './live-jobs.ts';
import { runLabel } from './live-rows.ts';
import type { LoadContext, LoadedTable } from './load-context.ts';
import { loadTables } from './load-tables.ts';
import { settleInFlight } from './in-flight/in-flight.ts';
import { rememberKeptRuns } from './in-flight/restored.ts';
import { lockEnvironment, lockTables } from './locks.ts';
import type { LockWish } from './locks.ts';
import { databaseSource, type Manifest } from './manifest.ts';
import { narrowColumns, refuseTooNarrow } from './narrow.ts';
import { dropOrphanEvents } from './orphan-events.ts';
import { createLoad, createSecrets, mergeOf } from './restore-parts.ts';
import type { Work } from './restore-parts.ts';
import { notConfirmed, planRestore, refuseBlocked } from './restore-plan.ts';
import { previewRestore } from './restore-preview.ts';
import type { Preview } from './restore-preview.ts';
import { liftSequences } from './sequences.ts';
import { beginWork, withSession } from './session.ts';
import { removeDebris } from './shadow/debris.ts';
import { explainFailure } from './shadow/failed.ts';
import { newShadow, restoreViaShadow } from './shadow/restore.ts';
import { mapName, stageName } from './stage.ts';
import { readTargetState } from './target-state.ts';
import { findUnreadableSecrets } from './unreadable.ts';
import { checkParts, refuseInconsistent } from './verify-parts.ts';

/**
 * Brings a backup into an environment, in one transaction: checks, cleanup, load, sequences, pause states, commit.
 * Whatever fails before the commit, the target is as it was.
 *
 * @throws LifeboatError: not-found, integrity, unsupported, refused, locked, interrupted or failed
 */
export async function restore(ctx: EngineContext, request: RestoreRequest): Promise<RestoreResult> {
  const started = ctx.now().getTime();
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  databaseSource(manifest);
  const preview = await previewRestore(ctx, request, manifest);
  ctx.report({ event: 'plan', plan: preview.plan });
  refuseBlocked(preview.plan.blockers);
  if (request.dryRun) return { backupId, plan: preview.plan };
  if (!(await request.confirm(preview.plan))) throw notConfirmed(`restore into ${preview.plan.target.name}`);

  const shadow = preview.plan.via === 'shadow' ? newShadow() : undefined;
  // In a shadow every part is proven as it is read, and until all are nothing has changed.
  if (shadow) refuseInconsistent(manifest);
  else {
    ctx.report({
      event: 'phase',
      phase: 'check',
      message: `Checking ${manifest.totals.parts} parts of backup ${backupId}`,
    });
    await checkParts(ctx, manifest, { countRows: false });
  }
  await refuseTooNarrow(ctx, manifest, narrowColumns(manifest, preview.state, preview.tables));

  const session = withSession(
    ctx,
    request.environment,
    { purpose: 'restore', begin: beginWork },
    async (client) => {
      await lockEnvironment(client, preview.plan.target.name);
      await removeDebris(ctx, client, request.environment);
      const { locks, ...work } = await (shadow
        ? restoreViaShadow(ctx, request, client, manifest, { preview, schema: shadow })
        : execute(ctx, request, client, manifest, preview));
      await commitSurely(ctx, client, request.environment);
      return {
        backupId,
        plan: preview.plan,
        loaded: { ...work, locks: locks.measure(), seconds: (ctx.now().getTime() - started) / 1000 },
      };
    },
  );
  if (!shadow) return session;
  return session.catch((error: unknown) =>
    explainFailure(ctx, request.environment, { schema: shadow, manifest, error }),
  );
}

async function execute(
  ctx: EngineContext,
  request: RestoreRequest,
  client: Client,
  manifest: Manifest,
  { state: seen, facts, tables, chosen, opener }: Preview,
): Promise<Work> {
  const { schema } = request.environment;
  const clean = request.clean
    ? planClean(seen, tables, chosen?.choice)
    : { truncate: [], remove: [], last: [] };
  // The first thing that touches a table: a lock asked for while a weaker one is held is how deadlocks are made.
  const untouched = await untouchedTables(client, seen, tables);
  const wishes = lockWishes(tables, untouched, cleanLocks(clean));
  const locks = await lockTables(ctx, client, schema, wishes);
  // Under the locks nothing moves any more: what was refused at first sight is refused for good here.
  const state = await readTargetState(client, request.environment, request);
  const now = chosen && (await lookAgain(client, state, chosen));
  refuseBlocked(planRestore(manifest, state, request, facts, now).plan.blockers);

  if (request.clean) {
    ctx.report({
      event: 'phase',
      phase: 'clean',
      message: chosen ? 'Deleting the chosen history of the target' : 'Deleting the history of the target',
    });
  }
  const deleted = await cleanTables(client, state, clean);
  await noteStaleRows(client, state, clean.last);
  await notePauseStates(client, schema);
  await rememberKeptRuns(client, schema);
  ctx.report({ event: 'phase', phase: 'load', message: `Loading ${tables.length} tables` });
  const secrets = createSecrets(ctx, request, manifest, opener);
  const input = { manifest, state, tables, chosen, deleted, ...secrets.load };
  const load = createLoad(ctx, request, client, input);
  const { loaded, events } = await dropOrphanEvents(load, await loadTables(load, tables));
  load.progress.end();
  const rekeyed = secrets.finish();
  ctx.report({ event: 'phase', phase: 'finish', message: 'Lifting sequences, reading the result' });
  const carriers = await settleCarriers(load);
  await liftSequences(
    ctx,
    client,
    state,
    tables.filter((table) => !table.neverLocked),
  );
  // Its new rows take their ids from the sequences.
  const inFlight = await settleInFlight(client, schema, {
    policy: request.inFlight ?? 'resume',
    backupId: manifest.backupId,
    snapshotTime: manifest.snapshotTime,
    tables,
    now: ctx.now(),
    beside: besideOf(load),
    carrying: await dagsToEnd(load),
  });
  const aftermath = await judgeRestored(client, schema, await lookAtRestored(client, schema));
  const unreadableSecrets = await unreadable(client, request, tables);
  const notesWithoutUser = await authorless(client, loaded);
  const stale = await finishUnlocked(ctx, load, tables, clean.last);
  return {
    tables: loaded.map(({ table, rows, moved }) => ({ table, rows, moved })),
    rows: loaded.reduce((sum, table) => sum + table.rows, 0),
    deleted: [...deleted.values(), ...stale.values()].reduce((sum, rows) => sum + rows, 0),
    variables: mergeOf(loaded, 'variable'),
    connections: mergeOf(loaded, 'connection'),
    ...aftermath,
    inFlight,
    secrets: rekeyed,
    unreadableSecrets,
    notesWithoutUser,
    eventsWithoutDataset: events,
    keptRuns: state.liveRuns.map(runLabel),
    leftOutRuns: load.leftOutRuns,
    ...carriers,
    locks,
  };
}

/** The last moments: rows that live processes beat into are locked here, none is waited for, and the commit is next. */
async function finishUnlocked(
  ctx: EngineContext,
  load: LoadContext,
  tables: readonly ResolvedTable[],
  last: readonly ResolvedTable[],
): Promise<ReadonlyMap<string, number>> {
  const unlocked = tables.filter((table) => table.neverLocked);
  const deleted = await deleteStaleRows(load.client, load.state, last);
  await checkRoom(load.client, load.state, unlocked, load.free);
  await liftSequences(ctx, load.client, load.state, unlocked);
  return deleted;
}

async function unreadable(
  client: Client,
  request: RestoreRequest,
  tables: readonly ResolvedTable[],
): Promise<readonly string[] | null> {
  if (request.fernetKeys.length === 0) return null;
  const secretTables = tables.filter((table) => table.secrets.length > 0);
  return findUnreadableSecrets(client, request.environment.schema, secretTables, request.fernetKeys);
}

/**
 * Every table that is written is locked against writers and row locks, before the first of them is touched. Those that
 * live processes beat into are not, unless nobody ever did.
 */
function lockWishes(
  tables: readonly ResolvedTable[],
  untouched: readonly ResolvedTable[],
  clean: readonly LockWish[],
): readonly LockWish[] {
  const named = new Set(clean.map(({ table }) => table.name));
  const written = tables.filter(
    (table) =>
      table.restore.kind !== 'lookup' &&
      !named.has(table.name) &&
      (!table.neverLocked || untouched.includes(table)),
  );
  return [...written.map((table): LockWish => ({ table, mode: 'EXCLUSIVE' })), ...clean];
}

async function authorless(client: Client, loaded: readonly LoadedTable[]): Promise<number> {
  const names = loaded.map((one) => one.table);
  if (!names.includes('ab_user')) return 0;
  const notes = ['dag_run_note', 'task_instance_note'].filter((table) => names.includes(table));
  return countAuthorless(client, mapName('ab_user'), notes, stageName);
}
