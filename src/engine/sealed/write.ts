import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Client } from 'pg';
import { fernetDecrypt } from '../../secrets/fernet.ts';
import type { Seal } from '../../secrets/seal.ts';
import type { Storage } from '../../storage/storage.ts';
import { sealedKey } from '../layout.ts';
import type { ManifestPart } from '../manifest.ts';
import { copyPart, storeBlocks } from '../part-writer.ts';
import type { PartJob } from '../part-writer.ts';
import { raceAll } from '../race.ts';
import { createRecordReader, fieldValue, joinFields, rawField } from './csv.ts';
import type { RawRecord } from './csv.ts';
import type { SealedField, SealedForm } from './fields.ts';

export interface Sealing {
  readonly seal: Seal;
  /** Keys of the source. */
  readonly keys: readonly string[];
  /** Secrets by table. */
  readonly fields: ReadonlyMap<string, readonly SealedField[]>;
}

/** One COPY as two stored objects: the rows without their secrets, and the secrets of the same rows, sealed. */
export async function writeSealedPart(
  client: Client,
  storage: Storage,
  job: PartJob,
  sealing: Pick<Sealing, 'seal' | 'keys'> & { readonly fields: readonly SealedField[] },
  onBytes: (rawBytes: number) => void,
  signal: AbortSignal,
): Promise<ManifestPart & { readonly rawBytes: number }> {
  const source = copyPart(client, job, signal);
  const stored = await storeSealed(storage, job, source.blocks, sealing, onBytes, signal);
  return { ...stored, rows: source.rows() };
}

type Stored = Omit<ManifestPart, 'rows'> & { readonly rawBytes: number };

/**
 * Splits blocks of CSV in a stream. Secrets are decrypted here, packed and sealed in memory; what reaches the storage is
 * for the recipients alone.
 */
export async function storeSealed(
  storage: Storage,
  job: Pick<PartJob, 'key' | 'compression'>,
  blocks: AsyncIterable<Uint8Array>,
  { seal, keys, fields }: Pick<Sealing, 'seal' | 'keys'> & { readonly fields: readonly SealedField[] },
  onBytes: (rawBytes: number) => void,
  signal: AbortSignal,
): Promise<Stored> {
  const [open, secret] = [createPipe(), createPipe()];
  const key = sealedKey(job.key);
  let rows: Awaited<ReturnType<typeof storeBlocks>> | undefined;
  let sealed: Awaited<ReturnType<typeof storeBlocks>> | undefined;
  const feed = async (stop: AbortSignal): Promise<void> => {
    const reader = createRecordReader();
    const hidden = new Set(fields.map(({ at }) => at));
    for await (const block of blocks) {
      reader.add(block);
      const records = reader.take();
      await open.write(
        records.map((record) => joinFields(record.filter((_, at) => !hidden.has(at)))),
        stop,
      );
      await secret.write(
        records.map((record) => joinFields(secretFields(record, fields, keys))),
        stop,
      );
    }
    open.end();
    secret.end();
  };
  try {
    await raceAll(signal, [
      feed,
      async (stop) => {
        rows = await storeBlocks(storage, job, open.chunks, onBytes, stop);
      },
      async (stop) => {
        sealed = await storeBlocks(storage, { ...job, key, seal }, secret.chunks, onBytes, stop);
      },
    ]);
  } finally {
    open.destroy();
    secret.destroy();
  }
  if (!rows || !sealed) throw new Error('A part ended without having been stored.');
  return {
    key: job.key,
    bytes: rows.bytes,
    sha256: rows.sha256,
    sealed: { key, bytes: sealed.bytes, sha256: sealed.sha256 },
    rawBytes: rows.rawBytes + sealed.rawBytes,
  };
}

/** Value and form of each secret of one record. */
function secretFields(
  record: RawRecord,
  fields: readonly SealedField[],
  keys: readonly string[],
): readonly Buffer[] {
  return fields.flatMap((field) => {
    const value = fieldValue(record[field.at] ?? Buffer.alloc(0));
    if (value === undefined) return [rawField(undefined), rawField(undefined)];
    const clear = isToken(record, field, value) ? fernetDecrypt(keys, value) : undefined;
    const form: SealedForm = clear ? 'e' : isToken(record, field, value) ? 't' : 'c';
    return [rawField(clear ?? value), Buffer.from(form)];
  });
}

/** As Airflow decides: by the flag of the row, where NULL means no; a trigger's kwargs by their first character. */
function isToken(record: RawRecord, { flagAt, json }: SealedField, value: Buffer): boolean {
  if (json || value.length === 0) return false;
  return flagAt === undefined ? value[0] !== 0x7b : record[flagAt]?.toString('latin1') === 't';
}

interface Pipe {
  readonly chunks: AsyncIterable<Uint8Array>;
  write(chunks: readonly Buffer[], signal: AbortSignal): Promise<void>;
  end(): void;
  destroy(): void;
}

/** Hands blocks from one task to another, which sets the pace. */
function createPipe(): Pipe {
  const pass = new PassThrough();
  // Whoever reads it tells its failure; here it would only be told to nobody.
  pass.on('error', () => undefined);
  return {
    chunks: pass,
    write: async (chunks, signal) => {
      if (chunks.length === 0) return;
      signal.throwIfAborted();
      if (!pass.write(Buffer.concat(chunks))) await once(pass, 'drain', { signal });
    },
    end: () => {
      pass.end();
    },
    destroy: () => {
      pass.destroy();
    },
  };
}
