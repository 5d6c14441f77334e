import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LifeboatError } from '../../errors.ts';
import type { DiffRequest, DiffResult, DiffTable, EngineContext } from '../api.ts';
import { resolveBackup } from '../catalog.ts';
import type { ResolvedBackup } from '../catalog.ts';
import { createProgress } from '../progress.ts';
import { hasSealed } from '../sealed/fields.ts';
import { unsealForReading } from '../sealed/open-backup.ts';
import type { Unsealing } from '../sealed/read.ts';
import { withApiSide } from './api-side.ts';
import { planDiff } from './plan.ts';
import { backupSide, withDatabaseSide } from './sides.ts';
import type { Side } from './sides.ts';
import { createTableComparer } from './tables.ts';

/**
 * Compares a backup with another one, with a database, or with what the REST API gives: per table the rows that the other side lacks, has besides, or
 * has with other content. Rows are matched by natural keys; ids, which a restore may move, do not count, and references
 * are compared as the rows that they name.
 *
 * Each side is streamed once, and a table that differs a second time for the names. Memory does not grow with the
 * tables: rows are reduced to 36 bytes, which go to temporary files when they are many.
 *
 * @throws LifeboatError 'not-found', 'integrity', 'unsupported', or 'usage' when there is nothing to compare
 */
export async function diff(ctx: EngineContext, request: DiffRequest): Promise<DiffResult> {
  const left = await resolveBackup(ctx, request.backup);
  const opened = await openSides(ctx, request, [left]);
  const own = backupSide(ctx, left, opened[0]);
  if ('environment' in request.other) {
    return withDatabaseSide(ctx, request.other.environment, (side) =>
      compareSides(ctx, withKeys(request, opened), left.backupId, own, side),
    );
  }
  if ('client' in request.other) {
    const { manifest } = left;
    return withApiSide(ctx, request.other, { manifest, tables: request.tables }, (side, key) => {
      const known = withKeys(request, opened);
      return compareSides(
        ctx,
        { ...known, fernetKeys: [...known.fernetKeys, key] },
        left.backupId,
        own,
        side,
      );
    });
  }
  const right = await resolveBackup(ctx, request.other.backup);
  const [other] = await openSides(ctx, request, [right]);
  const keys = withKeys(request, [...opened, other]);
  const result = await compareSides(ctx, keys, left.backupId, own, backupSide(ctx, right, other));
  return { ...result, otherBackupId: right.backupId };
}

/** Opens what is sealed, where an identity was given; without one it says what is not compared. */
async function openSides(
  ctx: EngineContext,
  { identities, tables }: DiffRequest,
  backups: readonly ResolvedBackup[],
): Promise<readonly (Unsealing | undefined)[]> {
  const found: (Unsealing | undefined)[] = [];
  for (const { backupId, manifest } of backups) {
    const read = manifest.tables.filter(({ name }) => tables?.includes(name) ?? true);
    if (!read.some(hasSealed)) {
      found.push(undefined);
      continue;
    }
    if (identities !== undefined) {
      found.push(await unsealForReading(ctx, manifest, read, identities));
      continue;
    }
    found.push(undefined);
    ctx.report({
      event: 'warning',
      code: 'sealed-secrets',
      message: `The secrets of backup ${backupId} are sealed, and are not compared.`,
      next: 'Give --identity-file to compare them too.',
    });
  }
  return found;
}

/** The keys of what was opened belong to those that are known. */
function withKeys(request: DiffRequest, opened: readonly (Unsealing | undefined)[]): DiffRequest {
  const keys = opened.flatMap((unsealing) => (unsealing ? [unsealing.key] : []));
  return { ...request, fernetKeys: [...request.fernetKeys, ...keys] };
}

async function compareSides(
  ctx: EngineContext,
  request: DiffRequest,
  backupId: string,
  left: Side,
  right: Side,
): Promise<DiffResult> {
  const started = ctx.now().getTime();
  const plan = planDiff(left, right, request.tables);
  const chosen = plan.tables.filter((table) => table.role === 'compare');
  ctx.report({
    event: 'phase',
    phase: 'compare',
    message: `Comparing ${chosen.length} tables of ${left.label} with ${right.label}`,
  });
  if (!isSame(left.airflow, right.airflow)) {
    ctx.report({
      event: 'warning',
      code: 'other-version',
      message: `${left.label} is Airflow ${left.airflow}, ${right.label} is ${right.airflow}: only tables and columns of both are compared.`,
    });
  }
  const tables = await inTemporaryFolder(async (folder) => {
    const progress = createProgress(ctx, 'compare');
    const comparer = createTableComparer({
      folder,
      left,
      right,
      salt: randomBytes(16),
      fernetKeys: request.fernetKeys,
      onRead: (table, rows, bytes) => {
        progress.add(table, rows, bytes);
      },
    });
    try {
      const done: DiffTable[] = [];
      for (const table of plan.tables) {
        ctx.signal.throwIfAborted();
        const begun = ctx.now().getTime();
        const { compared, rows, bytes } = await comparer.compare(table);
        if (!compared) continue;
        done.push(compared);
        const seconds = (ctx.now().getTime() - begun) / 1000;
        ctx.report({ event: 'table', phase: 'compare', table: table.name, rows, bytes, seconds });
      }
      progress.end();
      return done;
    } finally {
      comparer.close();
    }
  });
  return {
    backupId,
    other: right.label,
    different: tables.some((one) => one.missing + one.added + one.changed + one.notComparable > 0),
    tables,
    notCompared: plan.notCompared,
    seconds: (ctx.now().getTime() - started) / 1000,
  };
}

/** An API says which release it is, a database only the minor. */
function isSame(one: string, other: string): boolean {
  return one === other || one.startsWith(`${other}.`) || other.startsWith(`${one}.`);
}

/** Removed whatever happens; what a killed process leaves are salted hashes, readable by its user alone. */
async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'lifeboat-diff-'));
  try {
    return await work(folder);
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== 'ENOSPC') throw error;
    throw new LifeboatError('failed', `There is no space left in ${tmpdir()} for the comparison.`, {
      next: 'It needs up to 36 bytes a row for each side of the largest table; point TMPDIR to a larger disk, or compare fewer --tables.',
      cause: error,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
