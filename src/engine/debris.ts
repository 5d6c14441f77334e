import type { EngineContext } from './api.ts';
import { readListing } from './catalog.ts';

/** Says what earlier backups left that did not finish; they are prune's to remove. */
export async function reportDebris(ctx: EngineContext): Promise<readonly string[]> {
  const { incomplete } = await readListing(ctx.storage, ctx.signal);
  for (const { backupId, objects } of incomplete) {
    ctx.report({
      event: 'warning',
      code: 'incomplete-backup',
      message: `${backupId} in the storage has ${objects} objects and no manifest: it is under way, or did not finish.`,
      next: '`lifeboat prune` removes such remains a day after the last write.',
    });
  }
  return incomplete.map((one) => one.backupId);
}
