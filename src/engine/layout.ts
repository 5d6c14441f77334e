import { createHash } from 'node:crypto';

/** Where things lie in a storage. The only place that knows (docs/format.md). */

export const BACKUPS = 'backups/';
/** What restores through the REST API have done; see rest-restore/journal.ts. No backup lies there. */
const RESTORES = 'restores/';
/** What drills found. No backup lies there. */
export const DRILLS = 'drills/';
const ID_PATTERN = /^\d{8}T\d{9}Z-[0-9a-f]{6}$/;

/** `20261121T013012345Z-4f3a9c`: UTC to the millisecond, then six random hex digits. Sorts by time. */
export function makeBackupId(time: Date, random: string): string {
  return `${time.toISOString().replaceAll(/[-:.]/g, '')}-${random}`;
}

export function isBackupId(text: string): boolean {
  return ID_PATTERN.test(text);
}

/** Milliseconds since the epoch that an id was made at. */
export function backupTime(backupId: string): number {
  const [, y, mo, d, h, mi, s, ms] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z/.exec(backupId) ?? [];
  return Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}.${ms}Z`);
}

function backupPrefix(backupId: string): string {
  return `${BACKUPS}${backupId}/`;
}

export function manifestKey(backupId: string): string {
  return `${backupPrefix(backupId)}manifest.json`;
}

export function partKey(backupId: string, table: string, part: number, codec: 'gzip' | 'zstd'): string {
  const suffix = codec === 'gzip' ? 'gz' : 'zst';
  return `${backupPrefix(backupId)}tables/${table}/${String(part).padStart(4, '0')}.csv.${suffix}`;
}

/** Where the sealed secrets of a part lie. */
export function sealedKey(part: string): string {
  return `${part}.age`;
}

/** Whether a key is that of a part of this very table: anything else in a manifest was put there by somebody else. */
export function isPartKey(key: string, backupId: string, table: string): boolean {
  const folder = `${backupPrefix(backupId)}tables/${table}/`;
  return key.startsWith(folder) && /^\d{4,}\.csv\.(gz|zst)$/.test(key.slice(folder.length));
}

/** The id in a key below backups/, or undefined for anything that is not ours. */
export function backupIdOf(key: string): string | undefined {
  const id = key.startsWith(BACKUPS) ? key.slice(BACKUPS.length).split('/')[0] : undefined;
  return id !== undefined && isBackupId(id) ? id : undefined;
}

export function drillKey(drillId: string): string {
  return `${DRILLS}${drillId}.json`;
}

/** The id in a key below drills/, made like that of a backup; undefined for anything that is not ours. */
export function drillIdOf(key: string): string | undefined {
  const [, id] = /^drills\/([^/]+)\.json$/.exec(key) ?? [];
  return id !== undefined && isBackupId(id) ? id : undefined;
}

/** Everything that restores of this backup have noted. */
export function journalsPrefix(backupId: string): string {
  return `${RESTORES}${backupId}/`;
}

/** What restores of this backup into one target have noted; `target` and `step` are names of hexadecimal digits and dashes. */
export function journalPrefix(backupId: string, target: string): string {
  return `${journalsPrefix(backupId)}${target}/`;
}

/** An environment in keys, whatever its name holds. */
export function targetName(environment: string): string {
  return createHash('sha256').update(environment).digest('hex').slice(0, 12);
}

/** Locks of environments of which only the REST API is reached. */
export const LOCKS = 'restores/locks/';

/** Who is at work in one of them; see rest-restore/lock.ts. `target` is a targetName. */
export function locksPrefix(target: string): string {
  return `${LOCKS}${target}/`;
}

export function lockKey(target: string, random: string): string {
  return `${locksPrefix(target)}${random}.json`;
}
