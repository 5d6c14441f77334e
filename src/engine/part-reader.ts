import { pipeline } from 'node:stream/promises';
import type { Client } from 'pg';
import copyStreams from 'pg-copy-streams';
import { collectAfter } from '../db/collector.ts';
import { LifeboatError, ObjectNotFoundError } from '../errors.ts';
import type { EngineContext } from './api.ts';
import { decompressor } from './codec.ts';
import type { ManifestPart, ManifestTable } from './manifest.ts';
import { provenBytes } from './proven-bytes.ts';
import { readSealedPart } from './sealed/read.ts';
import type { Unsealing } from './sealed/read.ts';
import { isInflateError } from './verify-parts.ts';

/**
 * Streams one stored part into `COPY … FROM STDIN`. The bytes are hashed again on the way: what goes into the database is
 * what the manifest describes, also when the storage changed after the check. A mismatch fails the COPY before its end.
 *
 * @throws LifeboatError 'integrity' when bytes, hash or row count differ.
 */
async function loadPart(
  ctx: EngineContext,
  client: Client,
  copySql: string,
  part: ManifestPart,
  onBytes: (storedBytes: number) => void,
  someRows: boolean,
): Promise<void> {
  const proven = (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> =>
    provenBytes(source, part, onBytes, () => changed(part, 'its bytes are not those that were checked'));
  let loaded: number | null;
  try {
    // The storage first: a COPY that fails while nothing is connected to it yet would end the process.
    const stored = await ctx.storage.read(part.key, { signal: ctx.signal });
    const target = client.query(copyStreams.from(copySql));
    await pipeline(stored, proven, decompressor(part.key), counted, target, { signal: ctx.signal });
    loaded = target.rowCount;
  } catch (error) {
    if (error instanceof ObjectNotFoundError) throw changed(part, 'it is missing');
    if (isInflateError(error)) throw changed(part, 'it does not unpack');
    throw error;
  }
  // A COPY that drops rows on the way does not say how many it read; the hash says that it was all of them.
  if (loaded !== part.rows && !someRows) throw changed(part, `it has ${loaded} rows instead of ${part.rows}`);
}

/** What is unpacked is garbage as soon as it is sent. */
async function* counted(unpacked: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of unpacked) {
    collectAfter(chunk.length);
    yield chunk;
  }
}

function changed(part: Pick<ManifestPart, 'key'>, problem: string): LifeboatError {
  return new LifeboatError('integrity', `The part ${part.key} changed during the restore: ${problem}.`, {
    next: 'The target is as it was. Run `lifeboat verify` on the backup, and use another one.',
  });
}

/** The same for a part with sealed secrets: they arrive as tokens of the target's key. */
async function loadSealedPart(
  ctx: EngineContext,
  client: Client,
  copySql: string,
  { stored, part, unsealing }: { stored: ManifestTable; part: ManifestPart; unsealing: Unsealing },
  onBytes: (storedBytes: number) => void,
): Promise<void> {
  const rows = readSealedPart(ctx, stored, part, unsealing, {
    onBytes,
    damaged: (key, problem) => changed({ key }, problem),
  });
  const target = client.query(copyStreams.from(copySql));
  await pipeline(rows, target, { signal: ctx.signal });
}

/**
 * Loads all parts of a table, in the order of the manifest. With `unsealing` the COPY is of the columns of `wholeTable`;
 * without it a sealed table gives its other columns alone. `someRows`: the COPY has a condition of its own.
 */
export async function loadParts(
  ctx: EngineContext,
  client: Client,
  copySql: string,
  stored: ManifestTable,
  onBytes: (storedBytes: number) => void,
  options: { readonly someRows?: boolean; readonly unsealing?: Unsealing } = {},
): Promise<void> {
  const { someRows = false, unsealing } = options;
  for (const part of stored.parts) {
    ctx.signal.throwIfAborted();
    if (unsealing && part.sealed) {
      await loadSealedPart(ctx, client, copySql, { stored, part, unsealing }, onBytes);
    } else await loadPart(ctx, client, copySql, part, onBytes, someRows);
  }
}
