import { createRecordSplitter } from '../diff/records.ts';

const QUOTE = '"';
const COMMA = Buffer.from(',');
const NEWLINE = Buffer.from('\n');

/** One record of PostgreSQL's CSV: its fields as they lie in the text, with their quotes. Empty is NULL. */
export type RawRecord = readonly Buffer[];

/** Cuts CSV into records that are copies: they stay valid. */
export function createRecordReader(): {
  add(chunk: Uint8Array): void;
  /** The records that are complete; each is given once. */
  take(): readonly RawRecord[];
  /** False when the text ends inside a record. */
  complete(): boolean;
} {
  let records: RawRecord[] = [];
  const splitter = createRecordSplitter((record) => {
    records.push(
      Array.from({ length: record.fields }, (_, field) =>
        Buffer.from(record.bytes.subarray(record.start(field), record.end(field))),
      ),
    );
  });
  return {
    add: (chunk) => {
      splitter.add(chunk);
    },
    take: () => {
      const taken = records;
      records = [];
      return taken;
    },
    complete: () => splitter.complete(),
  };
}

/** The bytes of a field, undefined for NULL. Bytes and not text: a decrypted secret need not be UTF-8. */
export function fieldValue(raw: Buffer): Buffer | undefined {
  if (raw.length === 0) return undefined;
  if (raw[0] !== 0x22) return raw;
  return Buffer.from(raw.subarray(1, -1).toString('latin1').replaceAll('""', QUOTE), 'latin1');
}

/** A value as a field; always in quotes, so that the empty value is not NULL. */
export function rawField(value: Uint8Array | undefined): Buffer {
  if (value === undefined) return Buffer.alloc(0);
  const text = Buffer.from(value).toString('latin1').replaceAll(QUOTE, '""');
  return Buffer.from(`"${text}"`, 'latin1');
}

/** One record with its line end. */
export function joinFields(fields: readonly Buffer[]): Buffer {
  return Buffer.concat([...fields.flatMap((field, at) => (at === 0 ? [field] : [COMMA, field])), NEWLINE]);
}
