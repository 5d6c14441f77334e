import { LifeboatError, toError } from '../errors.ts';
import type { EngineContext, PruneRequest, PruneResult } from './api.ts';
import { listBackups, readListing } from './catalog.ts';
import type { Listing } from './catalog.ts';
import { journalsPrefix, LOCKS, manifestKey } from './layout.ts';
import type { PrunePlan } from './plans.ts';
import type { Leftover } from '../storage/storage.ts';
import { keptBackups } from './retention.ts';

/** What a killed backup left is only known from one under way by its age: nothing was written there for this long. */
const DEBRIS_AGE_MS = 24 * 60 * 60 * 1000;

/**
 * Removes backups that no rule keeps, and debris. The manifest goes first: from then on the backup does not exist, and
 * a prune that is killed leaves debris, never a backup with holes.
 *
 * @throws LifeboatError: refused (not confirmed), interrupted or failed
 */
export async function prune(ctx: EngineContext, request: PruneRequest): Promise<PruneResult> {
  const listing = await readListing(ctx.storage, ctx.signal);
  const { entries } = await listBackups(ctx.storage, ctx.signal);
  const unreadable = entries.filter((entry) => !entry.manifest).map((entry) => entry.backupId);
  const locks = await oldLocks(ctx);
  const leftovers = [...(await findLeftovers(ctx)), ...locks];
  const plan = planPrune(listing, unreadable, request, ctx.now(), leftovers);
  ctx.report({ event: 'plan', plan });
  if (request.dryRun) return { plan };
  if (plan.remove.length + plan.debris.length + plan.leftovers.length === 0) {
    return { plan, removed: { backups: 0, debris: 0, leftovers: 0, objects: 0, bytes: 0 } };
  }
  if (!(await request.confirm(plan))) {
    throw new LifeboatError('refused', 'Nothing was removed: the prune was not confirmed.', {
      next: 'Look at the plan (--dry-run), then confirm it, or give --yes.',
    });
  }
  let objects = 0;
  let bytes = 0;
  for (const backupId of [...plan.remove, ...plan.debris]) {
    ctx.signal.throwIfAborted();
    const own = listing.objects.get(backupId) ?? [];
    const manifest = manifestKey(backupId);
    await ctx.storage.remove([manifest], ctx.signal);
    await removeJournals(ctx, backupId);
    await ctx.storage.remove(
      own.map((object) => object.key).filter((key) => key !== manifest),
      ctx.signal,
    );
    objects += own.length;
    bytes += own.reduce((sum, object) => sum + object.bytes, 0);
    ctx.report({ event: 'phase', phase: 'prune', message: `Removed ${backupId}` });
  }
  if (locks.length > 0) await ctx.storage.remove(locks, ctx.signal);
  const swept = plan.leftovers.length === 0 ? [] : await sweep(ctx, false);
  return {
    plan,
    removed: {
      backups: plan.remove.length,
      debris: plan.debris.length,
      leftovers: swept.length + locks.length,
      objects,
      bytes,
    },
  };
}

/**
 * What restores through the REST API have noted about it is nothing without it. Before its parts: a prune that fails here
 * leaves those, by which the next one finds both.
 */
async function removeJournals(ctx: EngineContext, backupId: string): Promise<void> {
  const keys: string[] = [];
  for await (const { key } of ctx.storage.list(journalsPrefix(backupId), ctx.signal)) keys.push(key);
  if (keys.length > 0) await ctx.storage.remove(keys, ctx.signal);
}

/** Of commands that were killed at work in an Airflow through its API: whoever holds one writes it anew all the time. */
async function oldLocks(ctx: EngineContext): Promise<readonly string[]> {
  const before = ctx.now().getTime() - DEBRIS_AGE_MS;
  const keys: string[] = [];
  for await (const { key, modified } of ctx.storage.list(LOCKS, ctx.signal)) {
    if (modified.getTime() < before) keys.push(key);
  }
  return keys;
}

/** A backup killed in the middle of a part leaves what no listing shows, and what is paid for all the same. */
async function findLeftovers(ctx: EngineContext): Promise<readonly string[]> {
  try {
    return (await sweep(ctx, true)).map((leftover) => leftover.name);
  } catch (error) {
    ctx.signal.throwIfAborted();
    // Some endpoints cannot list unfinished uploads; the backups can be pruned without.
    ctx.report({
      event: 'warning',
      code: 'leftovers-unknown',
      message: `Unfinished writes were not looked for: ${toError(error).message}`,
    });
    return [];
  }
}

async function sweep(ctx: EngineContext, dryRun: boolean): Promise<readonly Leftover[]> {
  const before = new Date(ctx.now().getTime() - DEBRIS_AGE_MS);
  return (await ctx.storage.sweep?.(before, { dryRun, signal: ctx.signal })) ?? [];
}

/** Pure: what goes, what stays, and why. */
function planPrune(
  listing: Listing,
  unreadable: readonly string[],
  request: PruneRequest,
  now: Date,
  leftovers: readonly string[],
): PrunePlan {
  const readable = listing.complete.filter((id) => !unreadable.includes(id));
  const kept = keptBackups(readable, request, now);
  const old = now.getTime() - DEBRIS_AGE_MS;
  return {
    kind: 'prune',
    keep: [...kept].map(([backupId, reasons]) => ({ backupId, reasons })),
    remove: readable.filter((id) => !kept.has(id)),
    debris: listing.incomplete.filter((one) => one.lastWrite < old).map((one) => one.backupId),
    underWay: listing.incomplete.filter((one) => one.lastWrite >= old).map((one) => one.backupId),
    unreadable,
    leftovers,
  };
}
