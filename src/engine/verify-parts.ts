import { createHash } from 'node:crypto';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isLifeboatError, LifeboatError, ObjectNotFoundError } from '../errors.ts';
import type { EngineContext } from './api.ts';
import { decompressor } from './codec.ts';
import { createRowCounter } from './csv-rows.ts';
import type { Manifest, ManifestPart } from './manifest.ts';
import { createProgress } from './progress.ts';

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
  options: { readonly countRows: boolean; /** Only the parts of this table. */ readonly only?: string },
): Promise<CheckedParts> {
  const chosen = manifest.tables.filter((table) => (options.only ?? table.name) === table.name);
  const queue = chosen.flatMap((table) => table.parts.map((part) => ({ table: table.name, part })));
  const problems: string[] = [...inconsistencies(manifest)];
  const progress = createProgress(ctx, 'verify', {
    totalRows: manifest.totals.rows,
    totalBytes: manifest.totals.bytes,
  });
  const next = queue.values();
  const worker = async (): Promise<void> => {
    for (const { table, part } of next) {
      ctx.signal.throwIfAborted();
      const problem = await checkPart(ctx, part, options.countRows, (bytes) => {
        progress.add(table, 0, bytes);
      });
      progress.add(table, part.rows, 0);
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
  const sums = {
    tables: manifest.tables.length,
    rows: parts.reduce((sum, part) => sum + part.rows, 0),
    parts: parts.length,
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
  };
  for (const [what, sum] of Object.entries(sums) as [keyof typeof sums, number][]) {
    const total = manifest.totals[what];
    if (total !== sum) problems.push(`its total of ${what} is ${total}, and they add up to ${sum}`);
  }
  return problems;
}

async function checkPart(
  ctx: EngineContext,
  part: ManifestPart,
  countRows: boolean,
  onBytes: (bytes: number) => void,
): Promise<string | undefined> {
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
    const stored = await ctx.storage.read(part.key, { signal: ctx.signal });
    async function* hashed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of source) {
        hash.update(chunk);
        bytes += chunk.length;
        onBytes(chunk.length);
        yield chunk;
      }
    }
    if (countRows) await pipeline(stored, hashed, decompressor(part.key), sink, { signal: ctx.signal });
    else await pipeline(stored, hashed, sink, { signal: ctx.signal });
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    if (error instanceof ObjectNotFoundError) return `part ${part.key} is missing`;
    if (isInflateError(error)) return `part ${part.key} does not unpack`;
    throw error;
  }
  if (bytes !== part.bytes) return `part ${part.key} has ${bytes} bytes instead of ${part.bytes}`;
  if (hash.digest('hex') !== part.sha256) return `part ${part.key} has another SHA-256`;
  if (countRows && (!counter.complete() || counter.rows() !== part.rows)) {
    return `part ${part.key} has ${counter.rows()} rows instead of ${part.rows}`;
  }
  return undefined;
}

/** zlib's own errors have codes such as Z_DATA_ERROR, Z_BUF_ERROR or ZSTD_error_…. */
export function isInflateError(error: unknown): boolean {
  if (isLifeboatError(error)) return false;
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^(Z_|ZSTD_|ERR_ZSTD|ERR_ZLIB)/.test(code);
}
