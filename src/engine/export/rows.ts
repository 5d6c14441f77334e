import { pipeline } from 'node:stream/promises';
import { CsvError, parse } from 'csv-parse';
import { LifeboatError, ObjectNotFoundError } from '../../errors.ts';
import type { EngineContext } from '../api.ts';
import { decompressor } from '../codec.ts';
import { createRowCounter } from '../csv-rows.ts';
import type { ManifestPart, ManifestTable } from '../manifest.ts';
import { provenBytes } from '../proven-bytes.ts';
import { readSealedPart } from '../sealed/read.ts';
import type { Unsealing } from '../sealed/read.ts';
import { isInflateError } from '../verify-parts.ts';

/** One row as stored: text, and null for SQL's NULL. In the order of the manifest's columns. */
export type StoredRow = readonly (string | null)[];

type OnBytes = (storedBytes: number) => void;

/**
 * The CSV of a table as PostgreSQL wrote it (with `unsealing` that of the whole table, its secrets as tokens), all parts one after the other, hashed and counted on the way. A chunk may
 * have been used before the mismatch behind it is found: nothing made of them may be kept when this throws.
 *
 * @throws LifeboatError 'integrity' when a part is not what the manifest says.
 */
export async function* readCsv(
  ctx: EngineContext,
  stored: ManifestTable,
  onBytes: OnBytes,
  unsealing?: Unsealing,
): AsyncGenerator<Uint8Array> {
  for (const part of stored.parts) {
    ctx.signal.throwIfAborted();
    if (unsealing && part.sealed) {
      const onDamage = (key: string, problem: string): LifeboatError => damaged({ key }, problem);
      yield* readSealedPart(ctx, stored, part, unsealing, { onBytes, damaged: onDamage });
    } else yield* readPart(ctx, part, onBytes);
  }
}

/** The rows of a table. An empty field without quotes is NULL, one with quotes the empty text, as in PostgreSQL. */
export async function* readRows(
  ctx: EngineContext,
  stored: ManifestTable,
  onBytes: OnBytes,
  unsealing?: Unsealing,
): AsyncGenerator<StoredRow> {
  const rows = parse({
    record_delimiter: '\n',
    cast: (value, { quoting }) => (value === '' && !quoting ? null : value),
  });
  const reading = pipeline(readCsv(ctx, stored, onBytes, unsealing), rows, { signal: ctx.signal });
  // Awaited below; a consumer that stops early leaves it rejected with nobody to tell.
  reading.catch(() => undefined);
  try {
    for await (const row of rows) yield row as StoredRow;
    await reading;
  } catch (error) {
    // Bytes that are not PostgreSQL's: the parser may meet them before the hash behind them is compared.
    if (error instanceof CsvError) throw notCsv(stored, error);
    throw error;
  }
}

async function* readPart(
  ctx: EngineContext,
  part: ManifestPart,
  onBytes: OnBytes,
): AsyncGenerator<Uint8Array> {
  const counter = createRowCounter();
  try {
    const stored = await ctx.storage.read(part.key, { signal: ctx.signal });
    const proven = (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> =>
      provenBytes(source, part, onBytes, () => damaged(part, 'its bytes are not those that were written'));
    const inflated = decompressor(part.key);
    const reading = pipeline(stored, proven, inflated, { signal: ctx.signal });
    reading.catch(() => undefined);
    for await (const chunk of inflated as AsyncIterable<Uint8Array>) {
      counter.add(chunk);
      yield chunk;
    }
    // The text may end before the stored bytes do; only their end proves them.
    await reading;
  } catch (error) {
    if (error instanceof ObjectNotFoundError) throw damaged(part, 'it is missing');
    if (isInflateError(error)) throw damaged(part, 'it does not unpack');
    throw error;
  }
  if (!counter.complete() || counter.rows() !== part.rows) {
    throw damaged(part, `it has ${counter.rows()} rows instead of ${part.rows}`);
  }
}

const NEXT = 'No file was written. Run `lifeboat verify` on the backup, and use another one.';

function notCsv(stored: ManifestTable, error: CsvError): LifeboatError {
  return new LifeboatError('integrity', `The parts of table ${stored.name} are damaged: they are no CSV.`, {
    next: NEXT,
    details: { code: error.code },
  });
}

function damaged(part: Pick<ManifestPart, 'key'>, problem: string): LifeboatError {
  return new LifeboatError('integrity', `The part ${part.key} is damaged: ${problem}.`, {
    next: NEXT,
  });
}
