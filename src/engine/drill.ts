import { randomBytes } from 'node:crypto';
import { isLifeboatError, LifeboatError, toError } from '../errors.ts';
import type { DrillRequest, DrillResult, EngineContext, RestoreRequest } from './api.ts';
import { resolveBackup } from './catalog.ts';
import { countShadow, countStages } from './drill-count.ts';
import { writeDrill } from './drill-record.ts';
import type { DrillFindings, DrillPhase } from './drill-record.ts';
import { makeBackupId } from './layout.ts';
import { lockEnvironment } from './locks.ts';
import { databaseSource, type Manifest } from './manifest.ts';
import { narrowColumns, refuseTooNarrow } from './narrow.ts';
import type { Blocker, RestorePlan } from './plans.ts';
import { refuseBlocked } from './restore-plan.ts';
import { previewRestore } from './restore-preview.ts';
import type { Preview } from './restore-preview.ts';
import { beginWork, withSession } from './session.ts';
import { removeDebris, tidyShadow } from './shadow/debris.ts';
import { explainFailure } from './shadow/failed.ts';
import { correctReferences } from './shadow/fill.ts';
import { loadShadow, prepareExchange } from './shadow/prepare.ts';
import type { LoadedShadow, ReadyShadow } from './shadow/prepare.ts';
import { checkReferences } from './shadow/references.ts';
import type { DanglingReference } from './shadow/references.ts';
import { newShadow } from './shadow/restore.ts';
import { allUnreadable } from './shadow/settle.ts';
import { makeRoom } from './shadow/swap.ts';
import { TOOL } from './tool.ts';
import { refuseInconsistent } from './verify-parts.ts';

/** Filled while the drill goes on, so that one that fails tells how far it came. */
type Notes = { -readonly [Name in keyof DrillFindings]: DrillFindings[Name] };
type Timed = <T>(phase: DrillPhase, work: () => Promise<T>) => Promise<T>;

/**
 * All of a restore via shadow but the exchange; the schema is dropped instead. It proves that this backup restores in
 * this environment, and says how long that takes. Live tables are only read: no lock above ACCESS SHARE, no sequence
 * lifted, no row written. What it found is stored, also when the backup does not pass.
 *
 * @returns also when the drill failed: then with `failure`
 * @throws LifeboatError: not-found, usage, locked or interrupted: nothing was tried, or not to its end
 */
export async function drill(ctx: EngineContext, request: DrillRequest): Promise<DrillResult> {
  const started = ctx.now();
  const notes = blank(request, started);
  let current: DrillPhase | null = null;
  const timed: Timed = async (phase, work) => {
    const since = ctx.now().getTime();
    current = phase;
    try {
      return await work();
    } finally {
      notes.phases = [...notes.phases, { phase, seconds: (ctx.now().getTime() - since) / 1000 }];
    }
  };
  let unforeseen: Error | undefined;
  try {
    await rehearse(ctx, request, notes, timed);
  } catch (error) {
    if (ctx.signal.aborted || saysNothing(error)) throw error;
    notes.result = 'failed';
    notes.failure = failureOf(error, current);
    if (!isLifeboatError(error)) unforeseen = toError(error);
  }
  notes.seconds = (ctx.now().getTime() - started.getTime()) / 1000;
  const recorded = await store(ctx, notes);
  // What nobody foresaw is told with its stack.
  if (unforeseen !== undefined) throw unforeseen;
  return { ...notes, recorded };
}

function blank(request: DrillRequest, started: Date): Notes {
  return {
    drillId: makeBackupId(started, randomBytes(3).toString('hex')),
    tool: TOOL,
    backupId: null,
    requested: request.backup,
    snapshotTime: null,
    target: request.environment.name,
    airflow: null,
    startedAt: started.toISOString(),
    seconds: 0,
    phases: [],
    result: 'passed',
    failure: null,
    tables: [],
    rows: 0,
    references: null,
    inFlight: null,
    unfinishedRuns: {},
    unfinishedTasks: {},
    secrets: null,
    unreadableSecrets: null,
  };
}

/** Nothing was tried: it says nothing about the backup. */
function saysNothing(error: unknown): boolean {
  return (['not-found', 'usage', 'locked', 'interrupted'] as const).some((kind) =>
    isLifeboatError(error, kind),
  );
}

function failureOf(error: unknown, phase: DrillPhase | null): DrillFindings['failure'] {
  if (isLifeboatError(error)) {
    return { kind: error.kind, message: error.message, next: error.next ?? null, phase };
  }
  // Nobody knows what stands in its message.
  return { kind: 'failed', message: 'It ended for a reason that nobody foresaw.', next: null, phase };
}

async function rehearse(ctx: EngineContext, asked: DrillRequest, notes: Notes, timed: Timed): Promise<void> {
  const request = asRestore(asked);
  const { manifest, preview } = await timed('plan', () => plan(ctx, request, notes));
  const { environment } = request;
  const schema = newShadow();
  const session = withSession(ctx, environment, { purpose: 'drill', begin: beginWork }, async (client) => {
    const loaded = await timed('load', async () => {
      await lockEnvironment(client, environment.name);
      await removeDebris(ctx, client, environment);
      await client.query('SAVEPOINT lifeboat_drill');
      const shadow = await loadShadow(ctx, request, client, manifest, { preview, schema, drill: true });
      note(notes, { tables: await countShadow(shadow) });
      return shadow;
    });
    const ready = await timed('settle', () => settle(request, preview, loaded, notes));
    await timed('check', () => check(ctx, loaded, ready, notes));
    await timed('drop', async () => {
      // Gives back the locks on the shadow; that of the environment is held until nothing is left of it.
      await client.query('ROLLBACK TO SAVEPOINT lifeboat_drill');
      await tidyShadow(ctx, environment, schema);
    });
    await client.query('ROLLBACK');
  });
  await session.catch((error: unknown) => explainFailure(ctx, environment, { schema, manifest, error }));
}

/** What a restore with these strategies would be asked; what it would delete or disturb is no business of a drill. */
function asRestore(request: DrillRequest): RestoreRequest {
  return {
    ...request,
    via: 'shadow',
    clean: true,
    ignoreRunning: true,
    pauseState: 'backup',
    dryRun: false,
    confirm: () => Promise.resolve(true),
  };
}

async function plan(
  ctx: EngineContext,
  request: RestoreRequest,
  notes: Notes,
): Promise<{ readonly manifest: Manifest; readonly preview: Preview }> {
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  databaseSource(manifest);
  note(notes, { backupId, snapshotTime: manifest.snapshotTime });
  const preview = await previewRestore(ctx, request, manifest);
  note(notes, { airflow: preview.plan.target.airflow });
  warn(ctx, preview.plan);
  refuseBlocked(preview.plan.blockers.map(forDrill));
  refuseInconsistent(manifest);
  await refuseTooNarrow(ctx, manifest, narrowColumns(manifest, preview.state, preview.tables));
  return { manifest, preview };
}

function warn(ctx: EngineContext, { warnings }: RestorePlan): void {
  // Running tasks are in the way of a restore alone.
  for (const warning of warnings.filter(({ code }) => code !== 'running-tasks')) {
    ctx.report({ event: 'warning', ...warning });
  }
}

function forDrill(blocker: Blocker): Blocker {
  if (blocker.code !== 'no-shadow') return blocker;
  return {
    ...blocker,
    next: 'A restore goes into the tables as they are here, which cannot be tried without changing them. Drill in another environment, or take away what is in the way.',
  };
}

async function settle(
  request: RestoreRequest,
  { tables }: Preview,
  loaded: LoadedShadow,
  notes: Notes,
): Promise<ReadyShadow> {
  const ready = await prepareExchange(loaded, request, tables);
  const { settled, rekeyed, prepared, merging } = ready;
  const room = await makeRoom(merging, loaded.plan);
  const history = notes.tables.map((one) => ({ ...one, moved: one.moved + (room.get(one.table) ?? 0) }));
  note(notes, {
    tables: [...history, ...(await countStages(merging, prepared.rehearsed))],
    inFlight: settled.inFlight,
    unfinishedRuns: settled.found.unfinishedRuns,
    unfinishedTasks: settled.found.unfinishedTasks,
    secrets: rekeyed,
    unreadableSecrets: allUnreadable(prepared.rehearsed.unreadable, settled),
  });
  return ready;
}

/** What only the exchange would find out: whether the rows that others refer to are there. */
async function check(
  ctx: EngineContext,
  { plan: shadow }: LoadedShadow,
  { merging, prepared }: ReadyShadow,
  notes: Notes,
): Promise<void> {
  ctx.report({ event: 'phase', phase: 'check', message: 'Checking what the rows refer to' });
  const parents = shadow.parents.filter(({ restore }) => restore.kind === 'merge');
  await correctReferences(merging.client, shadow.place, shadow.tables, parents);
  const references = await checkReferences(merging, shadow, prepared.rehearsed);
  note(notes, { references });
  if (references.dangling.length > 0) throw danglingError(references.dangling);
}

function danglingError(dangling: readonly DanglingReference[]): LifeboatError {
  const each = dangling.map(
    ({ table, parent, constraint, rows }) => `${rows} of ${table} to ${parent} (${constraint})`,
  );
  return new LifeboatError(
    'failed',
    `Rows of the backup refer to rows that neither it nor the target has: ${each.join(', ')}.`,
    {
      next: 'A restore would fail at these foreign keys. Look for rows without a parent in the source, and drill an older backup.',
      details: { dangling },
    },
  );
}

function note(notes: Notes, found: Partial<DrillFindings>): void {
  Object.assign(notes, found);
  notes.rows = notes.tables.reduce((sum, { rows }) => sum + rows, 0);
}

/** @returns false when the storage would not have it: the drill is what it is all the same */
async function store(ctx: EngineContext, findings: DrillFindings): Promise<boolean> {
  try {
    await writeDrill(ctx.storage, findings, ctx.signal);
    return true;
  } catch (error) {
    ctx.signal.throwIfAborted();
    ctx.report({
      event: 'warning',
      code: 'drill-not-recorded',
      message: `What this drill found could not be stored: ${toError(error).message}`,
      next: 'lifeboat status will not know of it. Drills lie in drills/ of the storage, beside backups/.',
    });
    return false;
  }
}
