import { randomBytes } from 'node:crypto';
import { isLifeboatError, ObjectNotFoundError } from '../../errors.ts';
import { createOpener, SealError } from '../../secrets/seal.ts';
import type { Opener } from '../../secrets/seal.ts';
import type { EngineContext } from '../api.ts';
import type { Manifest, ManifestTable } from '../manifest.ts';
import type { Blocker, PlanWarning } from '../plans.ts';
import type { Unsealing } from './read.ts';
import { hasSealed, sealedFields, wholeTable } from './fields.ts';

const KEY_BYTES = 32;
const KMS = /^awskms:/i;

/** Whether there is anything to open sealed secrets with: an identity, or a KMS key to ask. */
function mayOpen(manifest: Manifest, identities: readonly string[]): boolean {
  return identities.length > 0 || (manifest.secrets.recipients ?? []).some((one) => KMS.test(one));
}

/** @throws LifeboatError 'usage' for an identity that is none */
export function openerOf(manifest: Manifest, identities: readonly string[]): Promise<Opener> {
  const { backupId } = manifest;
  return createOpener({ identities, backupId, recipients: manifest.secrets.recipients ?? [] });
}

/**
 * Opens the head of one sealed part: tells at once, and not after an hour, that the identity is another one's.
 *
 * @throws LifeboatError 'refused' when nothing fits
 */
async function proveOpener(
  ctx: Pick<EngineContext, 'storage' | 'signal'>,
  opener: Opener,
  tables: readonly ManifestTable[],
): Promise<void> {
  const sealed = tables.flatMap((table) => table.parts).find((part) => part.sealed !== undefined)?.sealed;
  if (!sealed) return;
  const bytes = (await ctx.storage.read(sealed.key, { signal: ctx.signal })) as AsyncIterable<Uint8Array>;
  // The first chunk proves that the key fits; a part that is damaged is the part check's to tell.
  for await (const chunk of await opener.open(bytes)) if (chunk.length > 0) break;
}

/**
 * For reading sealed secrets without a target: they come as they stood in the source, what was encrypted there as tokens
 * of a key that lives as long as this run.
 *
 * @returns undefined when nothing of these tables is sealed
 * @throws LifeboatError 'refused' when nothing opens them
 */
export async function unsealForReading(
  ctx: Pick<EngineContext, 'storage' | 'signal' | 'now'>,
  manifest: Manifest,
  tables: readonly ManifestTable[],
  identities: readonly string[],
): Promise<Unsealing | undefined> {
  const sealed = tables.filter(hasSealed);
  if (sealed.length === 0) return undefined;
  const opener = await openerOf(manifest, identities);
  await proveOpener(ctx, opener, sealed);
  const key = `${randomBytes(KEY_BYTES).toString('base64url')}=`;
  return { opener, key, encrypt: 'as-stored', now: ctx.now() };
}

export interface UnsealRequest {
  readonly identities?: readonly string[];
  /** Keys of the target, first key first. */
  readonly fernetKeys: readonly string[];
}

/**
 * What stands in the way of restoring the sealed secrets of these tables.
 *
 * @returns an opener when they can be opened and there are any
 */
export async function planUnsealing(
  ctx: Pick<EngineContext, 'storage' | 'signal'>,
  manifest: Manifest,
  tables: readonly string[],
  request: UnsealRequest,
): Promise<{ readonly opener?: Opener; readonly blockers: readonly Blocker[] }> {
  const sealed = manifest.tables.filter((table) => tables.includes(table.name) && hasSealed(table));
  if (sealed.length === 0) return { blockers: [] };
  const blockers: Blocker[] = [];
  if (request.fernetKeys.length === 0 && sealed.some(becomesToken)) blockers.push(noTargetKey(sealed));
  const identities = request.identities ?? [];
  const recipients = manifest.secrets.recipients ?? [];
  if (!mayOpen(manifest, identities)) {
    blockers.push({
      code: 'no-identity',
      message: `The secrets of backup ${manifest.backupId} are sealed for ${recipients.join(', ')}, and no identity is given.`,
      next: 'Give the identity file of one of these recipients with --identity-file or LIFEBOAT_IDENTITY_FILE.',
    });
    return { blockers };
  }
  const opener = await openerOf(manifest, identities);
  try {
    await proveOpener(ctx, opener, sealed);
  } catch (error) {
    // A part that is damaged or missing is found by the check of all parts, which names every one.
    if (error instanceof SealError || error instanceof ObjectNotFoundError) return { opener, blockers };
    if (!isLifeboatError(error, 'refused')) throw error;
    blockers.push({ code: 'wrong-identity', message: error.message, next: error.next ?? '' });
  }
  return { opener, blockers };
}

/** JSON columns hold no token: only they can be restored without a Fernet key. */
function becomesToken(stored: ManifestTable): boolean {
  const { columns } = wholeTable(stored);
  return sealedFields(stored.name, columns, (column) => stored.types[column] ?? '').some(({ json }) => !json);
}

function noTargetKey(sealed: readonly ManifestTable[]): Blocker {
  return {
    code: 'no-target-key',
    message: `The secrets of ${sealed.map((table) => table.name).join(', ')} are sealed, and no Fernet key of the target is known to encrypt them with: Lifeboat does not write them in clear.`,
    next: 'Set LIFEBOAT_FERNET_KEY to the target’s [core] fernet_key (an Airflow without one should get one first).',
  };
}

/** What a backup without secrets does not bring. */
export function omittedWarnings(manifest: Manifest, tables: readonly string[]): readonly PlanWarning[] {
  if (manifest.secrets.mode !== 'omit') return [];
  const rows = manifest.leftOut.filter(
    (one) => one.rows !== undefined && one.columns === undefined && tables.includes(one.table),
  );
  return rows.map(({ table, rows: count = 0, names = [] }) => {
    const shown = names.slice(0, 10).join(', ');
    const more = count > 10 ? `, and ${count - 10} more` : '';
    return {
      code: 'secrets-omitted',
      message: `${count} rows of ${table} are not in this backup, because they hold secrets: ${shown}${more}. Those that the target has stay; set the others there.`,
    };
  });
}
