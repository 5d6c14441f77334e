import { randomBytes } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { isLifeboatError, ObjectNotFoundError } from '../../errors.ts';
import { fernetEncrypt } from '../../secrets/fernet.ts';
import { SealError } from '../../secrets/seal.ts';
import type { Opener } from '../../secrets/seal.ts';
import type { EngineContext } from '../api.ts';
import { decompressor } from '../codec.ts';
import type { ManifestPart, ManifestTable } from '../manifest.ts';
import { provenBytes } from '../proven-bytes.ts';
import { isInflateError } from '../verify-parts.ts';
import { createRecordReader, fieldValue, joinFields, rawField } from './csv.ts';
import type { RawRecord } from './csv.ts';
import { sealedFields, wholeTable } from './fields.ts';
import type { SealedField } from './fields.ts';

const IV_BYTES = 16;
const AGE_ENDING = /\.age$/;

/** How opened secrets leave this module: as Fernet tokens, so that no clear text goes further. */
export interface Unsealing {
  readonly opener: Opener;
  /** Key that the tokens are for: the target's first, or one made for this run alone. */
  readonly key: string;
  /** all: every secret becomes a token · as-stored: those that were in clear in the source stay so. */
  readonly encrypt: 'all' | 'as-stored';
  /** Time that the tokens carry. */
  readonly now: Date;
  /** Called for each secret that became a token. */
  readonly onToken?: () => void;
}

interface ReadPart {
  readonly onBytes: (storedBytes: number) => void;
  readonly damaged: (key: string, problem: string) => Error;
}

/**
 * The CSV of one part with its secrets: the columns of `wholeTable`, in that order. Both objects are proven on the way.
 *
 * @throws LifeboatError 'refused' when no identity fits; what `damaged` makes when an object is not what was written
 */
export async function* readSealedPart(
  ctx: Pick<EngineContext, 'storage' | 'signal'>,
  stored: ManifestTable,
  part: ManifestPart,
  unsealing: Unsealing,
  read: ReadPart,
): AsyncGenerator<Uint8Array> {
  const { sealed } = part;
  if (!sealed) throw read.damaged(part.key, 'its sealed part is not in the manifest');
  const cut = (key: string) => (): Error => read.damaged(key, 'it ends inside a row');
  const rows = batchesOf(partText(ctx, part, read), cut(part.key));
  const secrets = eachOf(batchesOf(partText(ctx, sealed, read, unsealing.opener), cut(sealed.key)));
  const merge = createMerge(stored, unsealing);
  let count = 0;
  try {
    for await (const batch of rows) {
      const out: Buffer[] = [];
      for (const record of batch) {
        count += 1;
        const secret = await secrets.next();
        if (secret.done === true) throw read.damaged(sealed.key, 'it has fewer rows than its part');
        out.push(merge(record, secret.value, () => read.damaged(part.key, `row ${count} has other fields`)));
      }
      yield Buffer.concat(out);
    }
    // Only their end proves the bytes, and that there is no row more.
    if ((await secrets.next()).done !== true) {
      throw read.damaged(sealed.key, 'it has more rows than its part');
    }
  } finally {
    await secrets.return(undefined);
  }
  if (count !== part.rows) throw read.damaged(part.key, `it has ${count} rows instead of ${part.rows}`);
}

/** The CSV inside a stored object. */
async function* partText(
  ctx: Pick<EngineContext, 'storage' | 'signal'>,
  object: { readonly key: string; readonly bytes: number; readonly sha256: string },
  { onBytes, damaged }: ReadPart,
  opener?: Opener,
): AsyncGenerator<Uint8Array> {
  try {
    const bytes = (await ctx.storage.read(object.key, { signal: ctx.signal })) as AsyncIterable<Uint8Array>;
    const proven = provenBytes(bytes, object, onBytes, () =>
      damaged(object.key, 'its bytes are not those that were written'),
    );
    const packed = opener ? await opener.open(proven) : proven;
    const inflated = decompressor(object.key.replace(AGE_ENDING, ''));
    const reading = pipeline(packed, inflated, { signal: ctx.signal });
    reading.catch(() => undefined);
    yield* inflated as AsyncIterable<Uint8Array>;
    await reading;
  } catch (error) {
    if (error instanceof ObjectNotFoundError) throw damaged(object.key, 'it is missing');
    if (error instanceof SealError) throw damaged(object.key, 'age does not accept it');
    if (!isLifeboatError(error) && isInflateError(error)) throw damaged(object.key, 'it does not unpack');
    throw error;
  }
}

async function* batchesOf(
  text: AsyncIterable<Uint8Array>,
  incomplete: () => Error,
): AsyncGenerator<readonly RawRecord[]> {
  const reader = createRecordReader();
  for await (const chunk of text) {
    reader.add(chunk);
    const records = reader.take();
    if (records.length > 0) yield records;
  }
  if (!reader.complete()) throw incomplete();
}

async function* eachOf(batches: AsyncIterable<readonly RawRecord[]>): AsyncGenerator<RawRecord> {
  for await (const batch of batches) yield* batch;
}

type Merge = (record: RawRecord, secret: RawRecord, differs: () => Error) => Buffer;

/** One record of the rows and one of their secrets, as one record of the whole table. */
function createMerge(stored: ManifestTable, unsealing: Unsealing): Merge {
  const whole = wholeTable(stored);
  const fields = sealedFields(stored.name, whole.columns, (column) => stored.types[column] ?? '');
  return (record, secret, differs) => {
    if (record.length !== stored.columns.length || secret.length !== 2 * fields.length) throw differs();
    const merged = [...record, ...fields.map(() => Buffer.alloc(0))];
    fields.forEach((field, index) => {
      const value = fieldValue(secret[2 * index] ?? Buffer.alloc(0));
      if (value === undefined) return;
      const form = secret[2 * index + 1]?.toString('latin1');
      const becomesToken = tokenIsDue(field, form, value, unsealing);
      merged[field.at] = rawField(becomesToken ? tokenOf(value, unsealing) : value);
      if (becomesToken && field.flagAt !== undefined) merged[field.flagAt] = Buffer.from('t');
    });
    return joinFields(merged);
  };
}

/** An empty value is no secret, as in Airflow; JSON columns hold no token. */
function tokenIsDue(
  { json }: SealedField,
  form: string | undefined,
  value: Buffer,
  { encrypt }: Unsealing,
): boolean {
  if (json || form === 't') return false;
  return form === 'e' || (encrypt === 'all' && value.length > 0);
}

function tokenOf(clear: Buffer, { key, now, onToken }: Unsealing): Buffer {
  onToken?.();
  return Buffer.from(fernetEncrypt(key, clear, { now, iv: randomBytes(IV_BYTES) }));
}
