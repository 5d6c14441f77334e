import { createHash } from 'node:crypto';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isLifeboatError, LifeboatError, ObjectNotFoundError } from '../errors.ts';
import type { EngineContext } from './api.ts';
import { decompressor } from './codec.ts';
import { createRowCounter } from './csv-rows.ts';
import type { Opener } from '../secrets/seal.ts';
import { SealError } from '../secrets/seal.ts';
import type { Manifest, SealedPart } from './manifest.ts';
import { createProgress } from './progress.ts';
import { objectsOf } from './sealed/fields.ts';

/** Parts read at the same time: hashing and inflating one leaves the network idle. */
const PARALLEL_PARTS = 2;

export interface CheckedParts {
  readonly parts: number;
  readonly rows: number;
  readonly bytes: number;
}

/**
 * Re-reads every part, hashes the stored bytes and, when asked, inflates them and counts the rows.
 *
 * @throws LifeboatError 'integrity' that names every part that is missing or differs.
 */
export async function checkParts(
  ctx: EngineContext,
  manifest: Manifest,
  options: {
    readonly countRows: boolean;
    /** Only the parts of this table. */
    readonly only?: string;
    /** Opens sealed parts, so that their rows can be counted too. */
    readonly opener?: Opener;
  },
): Promise<CheckedParts> {
  const chosen = manifest.tables.filter((table) => (options.only ?? table.name) === table.name);
  const queue = chosen.flatMap((table) =>
    table.parts.flatMap((part) =>
      objectsOf(part).map((object): Check => {
        const sealed = object !== part;
        const countRows = options.countRows && (!sealed || options.opener !== undefined);
        const opener = sealed ? options.opener : undefined;
        return { table: table.name, object, rows: part.rows, sealed, countRows, opener };
      }),
    ),
  );
  const problems: string[] = [...inconsistencies(manifest)];
  const progress = createProgress(ctx, 'verify', {
    totalRows: manifest.totals.rows,
    totalBytes: manifest.totals.bytes,
  });
  const next = queue.values();
  const worker = async (): Promise<void> => {
    for (const check of next) {
      ctx.signal.throwIfAborted();
      const problem = await checkObject(ctx, check, (bytes) => {
        progress.add(check.table, 0, bytes);
      });
      if (!check.sealed) progress.add(check.table, check.rows, 0);
      if (problem !== undefined) problems.push(problem);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_PARTS }, worker));
  progress.end();
  if (problems.length > 0) throw damaged(manifest.backupId, problems);
  return { parts: manifest.totals.parts, rows: manifest.totals.rows, bytes: manifest.totals.bytes };
}

function damaged(backupId: string, problems: readonly string[]): LifeboatError {
  const shown =
    problems.slice(0, 3).join('; ') + (problems.length > 3 ? `; and ${problems.length - 3} more` : '');
  return new LifeboatError('integrity', `Backup ${backupId} is damaged: ${shown}.`, {
    next: 'Use another backup (`lifeboat restore latest-verified` finds the newest whole one).',
    details: { problems },
  });
}

/**
 * What a manifest tells about itself, without a look at any part.
 *
 * @throws LifeboatError 'integrity'
 */
export function refuseInconsistent(manifest: Manifest): void {
  const problems = inconsistencies(manifest);
  if (problems.length > 0) throw damaged(manifest.backupId, problems);
}

/** Sums that the checksum cannot prove when somebody re-computed it. */
function inconsistencies(manifest: Manifest): readonly string[] {
  const problems: string[] = [];
  const keys = new Set<string>();
  const names = new Set<string>();
  for (const table of manifest.tables) {
    if (names.has(table.name)) problems.push(`table ${table.name} is listed twice`);
    names.add(table.name);
    const rows = table.parts.reduce((sum, part) => sum + part.rows, 0);
    if (rows !== table.rows) {
      problems.push(`table ${table.name} has ${rows} rows in its parts and ${table.rows} in the manifest`);
    }
    for (const part of table.parts) {
      if (keys.has(part.key)) problems.push(`part ${part.key} is listed twice`);
      keys.add(part.key);
    }
  }
  const parts = manifest.tables.flatMap((table) => table.parts);
  const objects = parts.flatMap(objectsOf);
  const sums = {
    tables: manifest.tables.length,
    rows: parts.reduce((sum, part) => sum + part.rows, 0),
    parts: objects.length,
    bytes: objects.reduce((sum, object) => sum + object.bytes, 0),
  };
  for (const [what, sum] of Object.entries(sums) as [keyof typeof sums, number][]) {
    const total = manifest.totals[what];
    if (total !== sum) problems.push(`its total of ${what} is ${total}, and they add up to ${sum}`);
  }
  return problems;
}

interface Check {
  readonly table: string;
  readonly object: SealedPart;
  readonly rows: number;
  /** The sealed secrets of a part. */
  readonly sealed: boolean;
  readonly countRows: boolean;
  readonly opener: Opener | undefined;
}

async function checkObject(
  ctx: EngineContext,
  { object, rows, sealed, countRows, opener }: Check,
  onBytes: (bytes: number) => void,
): Promise<string | undefined> {
  const { key } = object;
  const hash = createHash('sha256');
  let bytes = 0;
  const counter = createRowCounter();
  const sink = new Writable({
    write: (chunk: Uint8Array, _encoding, done) => {
      if (countRows) counter.add(chunk);
      done();
    },
  });
  try {
    const stored = (await ctx.storage.read(key, { signal: ctx.signal })) as AsyncIterable<Uint8Array>;
    async function* hashed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of source) {
        hash.update(chunk);
        bytes += chunk.length;
        onBytes(chunk.length);
        yield chunk;
      }
    }
    if (countRows) {
      const packed = opener ? await opener.open(hashed(stored)) : hashed(stored);
      await pipeline(packed, decompressor(key.replace(/\.age$/, '')), sink, { signal: ctx.signal });
    } else await pipeline(hashed(stored), sink, { signal: ctx.signal });
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    if (error instanceof ObjectNotFoundError) return `part ${key} is missing`;
    if (error instanceof SealError) return `part ${key} is not what was sealed`;
    if (isInflateError(error)) return `part ${key} does not unpack`;
    throw error;
  }
  if (bytes !== object.bytes) return `part ${key} has ${bytes} bytes instead of ${object.bytes}`;
  if (hash.digest('hex') !== object.sha256) return `part ${key} has another SHA-256`;
  if (countRows && (!counter.complete() || counter.rows() !== rows)) {
    return `part ${key} has ${counter.rows()} rows instead of ${rows}${sealed ? ', as its part has' : ''}`;
  }
  return undefined;
}

/** zlib's own errors have codes such as Z_DATA_ERROR, Z_BUF_ERROR or ZSTD_error_…. */
export function isInflateError(error: unknown): boolean {
  if (isLifeboatError(error)) return false;
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^(Z_|ZSTD_|ERR_ZSTD|ERR_ZLIB)/.test(code);
}
