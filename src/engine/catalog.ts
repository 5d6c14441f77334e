import { isLifeboatError, LifeboatError } from '../errors.ts';
import type { Storage } from '../storage/storage.ts';
import type { CatalogEntry, EngineContext } from './api.ts';
import { BACKUPS, backupIdOf, isBackupId, manifestKey } from './layout.ts';
import type { Manifest } from './manifest.ts';
import { readSmall } from './read-small.ts';
import { checkParts } from './verify-parts.ts';

/** What lies under backups/, by listing alone. */
export interface Listing {
  /** Ids with a manifest, oldest first. */
  readonly complete: readonly string[];
  /** Ids without one: under way, or left by a backup that did not finish. */
  readonly incomplete: readonly IncompleteBackup[];
  readonly objects: ReadonlyMap<string, readonly { readonly key: string; readonly bytes: number }[]>;
}

export interface IncompleteBackup {
  readonly backupId: string;
  readonly objects: number;
  /** When something was last written there, milliseconds since the epoch. */
  readonly lastWrite: number;
}

export async function readListing(storage: Storage, signal: AbortSignal): Promise<Listing> {
  const objects = new Map<string, { key: string; bytes: number }[]>();
  const lastWrite = new Map<string, number>();
  for await (const object of storage.list(BACKUPS, signal)) {
    const id = backupIdOf(object.key);
    if (id === undefined) continue;
    const list = objects.get(id) ?? [];
    list.push({ key: object.key, bytes: object.bytes });
    objects.set(id, list);
    lastWrite.set(id, Math.max(lastWrite.get(id) ?? 0, object.modified.getTime()));
  }
  const ids = [...objects.keys()].sort();
  const isComplete = (id: string): boolean =>
    (objects.get(id) ?? []).some((object) => object.key === manifestKey(id));
  return {
    complete: ids.filter(isComplete),
    incomplete: ids
      .filter((id) => !isComplete(id))
      .map((id) => ({
        backupId: id,
        objects: objects.get(id)?.length ?? 0,
        lastWrite: lastWrite.get(id) ?? 0,
      })),
    objects,
  };
}

/** All complete backups, newest first, with their manifests; one that cannot be read is an entry with its problem. */
export async function listBackups(
  storage: Storage,
  signal: AbortSignal,
): Promise<{ readonly entries: readonly CatalogEntry[]; readonly incomplete: readonly string[] }> {
  const listing = await readListing(storage, signal);
  const entries: CatalogEntry[] = [];
  for (const backupId of listing.complete.toReversed()) {
    try {
      entries.push({ backupId, manifest: await readManifest(storage, backupId, signal) });
    } catch (error) {
      if (!isLifeboatError(error, 'integrity') && !isLifeboatError(error, 'unsupported')) throw error;
      entries.push({ backupId, problem: error.message });
    }
  }
  return { entries, incomplete: listing.incomplete.map((backup) => backup.backupId) };
}

async function readManifest(storage: Storage, backupId: string, signal: AbortSignal): Promise<Manifest> {
  // The schema validator takes longer to load than all the rest; an empty catalog and --help must not pay for it.
  const { decodeManifest, MAX_MANIFEST_BYTES } = await import('./manifest-file.ts');
  const bytes = await readSmall(storage, manifestKey(backupId), signal, {
    maxBytes: MAX_MANIFEST_BYTES,
    tooLarge: () =>
      new LifeboatError(
        'integrity',
        `The manifest of backup ${backupId} is larger than any manifest can be.`,
        { next: 'Use another backup (`lifeboat list`), and find out what changed this one.' },
      ),
  });
  return decodeManifest(bytes, backupId);
}

export interface ResolvedBackup {
  readonly backupId: string;
  readonly manifest: Manifest;
}

/**
 * Finds the backup that a person means: an id, a unique prefix of one, `latest`, or `latest-verified`.
 *
 * `latest` is the newest id that has a manifest, readable or not: silently taking an older one would lose data.
 * `latest-verified` re-reads backups from the newest down and takes the first that is whole.
 *
 * @throws LifeboatError 'not-found', 'usage' (ambiguous prefix), 'integrity' or 'unsupported' (its manifest).
 */
export async function resolveBackup(ctx: EngineContext, reference: string): Promise<ResolvedBackup> {
  const { complete, incomplete } = await readListing(ctx.storage, ctx.signal);
  if (complete.length === 0) {
    throw new LifeboatError('not-found', `There is no backup in ${ctx.storage.location}.`, {
      next: 'Check --storage, or make one with `lifeboat backup`.',
    });
  }
  if (reference === 'latest-verified') return latestVerified(ctx, complete);
  const backupId = reference === 'latest' ? complete[complete.length - 1] : matchId(complete, reference);
  if (backupId === undefined) {
    const unfinished = incomplete.find((backup) => backup.backupId === reference);
    throw new LifeboatError(
      'not-found',
      unfinished
        ? `Backup ${reference} in ${ctx.storage.location} has no manifest: it was never finished.`
        : `There is no backup ${reference} in ${ctx.storage.location}.`,
      { next: '`lifeboat list` shows what is there.' },
    );
  }
  return { backupId, manifest: await readManifest(ctx.storage, backupId, ctx.signal) };
}

function matchId(ids: readonly string[], reference: string): string | undefined {
  if (isBackupId(reference)) return ids.find((id) => id === reference);
  const matches = reference === '' ? [] : ids.filter((id) => id.startsWith(reference));
  if (matches.length > 1) {
    throw new LifeboatError(
      'usage',
      `${reference} is the beginning of ${matches.length} backup ids: ${matches.slice(0, 5).join(', ')}${matches.length > 5 ? ', …' : ''}.`,
      {
        next: 'Give more of the id.',
      },
    );
  }
  return matches[0];
}

async function latestVerified(ctx: EngineContext, complete: readonly string[]): Promise<ResolvedBackup> {
  for (const backupId of complete.toReversed()) {
    try {
      const manifest = await readManifest(ctx.storage, backupId, ctx.signal);
      await checkParts(ctx, manifest, { countRows: false });
      return { backupId, manifest };
    } catch (error) {
      if (!isLifeboatError(error, 'integrity') && !isLifeboatError(error, 'unsupported')) throw error;
      ctx.report({
        event: 'warning',
        code: 'backup-not-usable',
        message: `Backup ${backupId} is passed over: ${error.message}`,
      });
    }
  }
  throw new LifeboatError(
    'integrity',
    `None of the ${complete.length} backups in ${ctx.storage.location} is whole.`,
    {
      next: 'Run `lifeboat verify` on each to see what is wrong; look for another copy of the storage.',
    },
  );
}
