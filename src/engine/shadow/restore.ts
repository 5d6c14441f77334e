import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import type { ResolvedTable } from '../../versions/registry.ts';
import { judgeRestored } from '../aftermath.ts';
import type { EngineContext, RestoreRequest } from '../api.ts';
import { runLabel } from '../live-rows.ts';
import type { LoadContext, LoadedTable } from '../load-context.ts';
import { lockTables } from '../locks.ts';
import type { HeldLocks } from '../locks.ts';
import { storedTable } from '../manifest.ts';
import type { Manifest } from '../manifest.ts';
import { mergeOf } from '../restore-parts.ts';
import type { Work } from '../restore-parts.ts';
import type { Preview } from '../restore-preview.ts';
import { flushLog, keepMaintenanceOut, linkQuiet } from './before-locks.ts';
import { addFound, exchange } from './exchange.ts';
import type { Exchanged, Prepared } from './exchange.ts';
import type { Filled } from './fill.ts';
import type { ShadowPlan } from './jobs.ts';
import { countGone, lookAgain, refuseChanged } from './look-again.ts';
import { loadShadow, prepareExchange } from './prepare.ts';
import { allUnreadable } from './settle.ts';
import type { Settled } from './settle.ts';
import { makeRoom } from './swap.ts';

/** A client of the target waits this long at most for an attempt that fails. */
const ATTEMPT_MS = 70;
/** A backup of the target holds all its tables for as long as it takes; nobody suffers while we wait for it. */
const GIVE_UP_MS = 300_000;
/** A name that nobody else has. The schema is there until the exchange is committed. */
export function newShadow(): string {
  return `lifeboat_${randomBytes(6).toString('hex')}`;
}

/**
 * Restores into tables beside the live ones, and exchanges them in the last moments: all that takes time happens where
 * nobody waits for it. `lead` holds the lock of the environment in the transaction that the exchange is part of; when it
 * commits, everything is there, and until then nothing is.
 */
export async function restoreViaShadow(
  ctx: EngineContext,
  request: RestoreRequest,
  lead: Client,
  manifest: Manifest,
  { preview, schema }: { readonly preview: Preview; readonly schema: string },
): Promise<Work> {
  const { tables } = preview;
  const shadow = await loadShadow(ctx, request, lead, manifest, { preview, schema });
  const { plan, load, filled } = shadow;
  const { settled, merging, rekeyed, prepared: rehearsed } = await prepareExchange(shadow, request, tables);

  ctx.report({ event: 'phase', phase: 'finish', message: 'Exchanging the tables' });
  await keepMaintenanceOut(lead, plan);
  await refuseChanged(lead, plan);
  const deleted = request.clean ? await countGone(lead, plan, load) : 0;
  const prepared = await linkQuiet(merging, plan, rehearsed);
  const early = await makeRoom(merging, plan);
  await flushLog(ctx, request.environment);
  const locks = await lockAll(ctx, lead, plan, prepared);
  await lookAgain(lead, request, manifest, preview, plan);
  const exchanged = addMoved(await exchange(merging, plan, prepared), early);
  return {
    ...(await report(lead, load, { tables, plan, filled, settled, exchanged })),
    deleted,
    secrets: rekeyed,
    locks,
  };
}

function lockAll(
  ctx: EngineContext,
  client: Client,
  { place, tables }: ShadowPlan,
  { merged, linked }: Prepared,
): Promise<HeldLocks> {
  const wishes = [
    ...merged.filter(({ name }) => !linked.has(name)).map((table) => ({ table, mode: 'EXCLUSIVE' as const })),
    ...tables.map((table) => ({ table, mode: 'ACCESS EXCLUSIVE' as const })),
  ];
  return lockTables(ctx, client, place.live, wishes, { attemptMs: ATTEMPT_MS, giveUpMs: GIVE_UP_MS });
}

function addMoved(exchanged: Exchanged, early: ReadonlyMap<string, number>): Exchanged {
  const moved = new Map(exchanged.carried.moved);
  for (const [table, rows] of early) moved.set(table, rows + (moved.get(table) ?? 0));
  return { ...exchanged, carried: { ...exchanged.carried, moved } };
}

interface Outcome {
  readonly tables: readonly ResolvedTable[];
  readonly plan: ShadowPlan;
  readonly filled: Filled;
  readonly settled: Settled;
  readonly exchanged: Exchanged;
}

async function report(
  client: Client,
  load: LoadContext,
  { tables, plan, filled, settled, exchanged }: Outcome,
): Promise<Omit<Work, 'deleted' | 'secrets' | 'locks'>> {
  const { live } = plan.place;
  const { carried, mergedTables, carryingDags } = exchanged;
  const loaded = tables.flatMap((table): LoadedTable[] => {
    const lookup = table.restore.kind === 'lookup' && storedTable(load.manifest, table.name);
    const none = lookup ? { table: table.name, rows: 0, moved: 0 } : undefined;
    const one = filled.loaded.get(table.name) ?? mergedTables.get(table.name) ?? none;
    if (!one) return [];
    const rows = one.rows - (carried.gone.get(table.name) ?? 0);
    return [{ ...one, rows, moved: one.moved + (carried.moved.get(table.name) ?? 0) }];
  });
  return {
    tables: loaded.map(({ table, rows, moved }) => ({ table, rows, moved })),
    rows: loaded.reduce((sum, table) => sum + table.rows, 0),
    variables: mergeOf(loaded, 'variable'),
    connections: mergeOf(loaded, 'connection'),
    ...(await judgeRestored(client, live, addFound(settled.found, carried.found))),
    inFlight: settled.inFlight,
    unreadableSecrets: allUnreadable(exchanged.unreadable, settled),
    notesWithoutUser: [...filled.authorless.values()].reduce((sum, notes) => sum + notes, 0),
    eventsWithoutDataset: filled.orphanEvents,
    keptRuns: load.state.liveRuns.map(runLabel),
    leftOutRuns: load.leftOutRuns,
    carryingDags,
    endedRun: settled.endedRun,
  };
}
