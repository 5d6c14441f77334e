import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalStorage } from '../../storage/local.ts';
import { restTables } from '../../versions/rest-tables.ts';
import type { EngineContext } from '../api.ts';
import type { Manifest } from '../manifest.ts';
import { backupThroughRest } from '../rest/backup.ts';
import type { ApiTarget } from '../rest/api.ts';
import { backupSide, type Side } from './sides.ts';

const KEY_BYTES = 32;

/**
 * An Airflow as its API shows it now. The API is read once, as for a backup, into a folder of this machine that is
 * removed whatever happens; secrets lie there as tokens of a key that is made for it and never leaves the memory.
 *
 * @param work gets the side, and that key
 */
export async function withApiSide<T>(
  ctx: EngineContext,
  { client, via }: ApiTarget,
  { manifest, tables }: { readonly manifest: Manifest; readonly tables?: readonly string[] | undefined },
  work: (side: Side, key: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'lifeboat-diff-'));
  const key = `${randomBytes(KEY_BYTES).toString('base64url')}=`;
  const own: EngineContext = {
    ...ctx,
    storage: createLocalStorage(folder),
    report: (event) => {
      // Of a backup that nobody asked for.
      if (event.event !== 'plan') ctx.report(event);
    },
  };
  try {
    const read = await backupThroughRest(own, {
      client,
      via,
      tables: comparable(client.airflow, manifest, tables),
      compression: { codec: 'gzip', level: 1 },
      fernetKeys: [key],
      dryRun: false,
    });
    if (read.manifest === undefined) throw new Error('a backup that is no dry run has a manifest');
    const side = backupSide(own, { backupId: read.backupId, manifest: read.manifest });
    return await work({ ...side, label: client.name }, key);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Of tables that the other side does not have, or that nobody asked for, no row need be read. */
function comparable(
  release: string,
  manifest: Manifest,
  chosen: readonly string[] | undefined,
): readonly string[] {
  const stored = manifest.tables.map(({ name }) => name);
  return restTables(release).flatMap(({ name, references }) => {
    const wanted = stored.includes(name) && (chosen?.includes(name) ?? true);
    // Ids of a parent are compared as the row that they name.
    return wanted ? [name, ...Object.values(references).filter((parent) => stored.includes(parent))] : [];
  });
}
