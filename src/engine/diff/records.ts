const QUOTE = 0x22;
const COMMA = 0x2c;
const NEWLINE = 0x0a;
/** A record longer than this does not leave its buffer behind for the rest of the table. */
const KEPT_BYTES = 1024 * 1024;

/** One record of CSV where it lies in memory: valid until the callback returns. */
export interface CsvRecord {
  readonly bytes: Uint8Array;
  readonly fields: number;
  /** Offsets into `bytes`; the quotes belong to the field, so NULL (nothing) and '' (two quotes) differ. */
  start(field: number): number;
  end(field: number): number;
}

/**
 * Cuts PostgreSQL's CSV into records and fields without a string or an object per row. Chunks may be cut anywhere; only
 * a record that reaches over their border is copied.
 */
export function createRecordSplitter(onRecord: (record: CsvRecord) => void): {
  add(chunk: Uint8Array): void;
  /** False when the text ends inside a record. */
  complete(): boolean;
} {
  let carry = Buffer.alloc(0);
  let carried = 0;
  let quoted = false;
  let base = 0;
  const ends: number[] = [];
  const record = {
    bytes: new Uint8Array(0) as Uint8Array,
    fields: 0,
    start: (field: number) => (field === 0 ? base : base + (ends[field - 1] ?? 0) + 1),
    end: (field: number) => base + (ends[field] ?? 0),
  };

  const keep = (chunk: Uint8Array, from: number, to: number): void => {
    const needed = carried + to - from;
    if (needed > carry.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, carry.length * 2, 4096));
      carry.copy(larger, 0, 0, carried);
      carry = larger;
    }
    carry.set(chunk.subarray(from, to), carried);
    carried = needed;
  };
  const finish = (chunk: Uint8Array, from: number, to: number): void => {
    if (carried > 0) {
      keep(chunk, from, to);
      record.bytes = carry;
      base = 0;
    } else {
      record.bytes = chunk;
      base = from;
    }
    record.fields = ends.length;
    onRecord(record);
    ends.length = 0;
    carried = 0;
    if (carry.length > KEPT_BYTES) carry = Buffer.alloc(0);
  };
  return {
    add: (chunk) => {
      let from = 0;
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at];
        if (byte === QUOTE) quoted = !quoted;
        else if (quoted || (byte !== COMMA && byte !== NEWLINE)) continue;
        else {
          ends.push(carried + at - from);
          if (byte === COMMA) continue;
          finish(chunk, from, at);
          from = at + 1;
        }
      }
      keep(chunk, from, chunk.length);
    },
    complete: () => !quoted && carried === 0 && ends.length === 0,
  };
}

/** The value of one field, null for NULL. Only for names and secrets: everything else is compared as bytes. */
export function fieldText(record: CsvRecord, field: number): string | null {
  const raw = Buffer.from(record.bytes.buffer, record.bytes.byteOffset, record.bytes.byteLength).toString(
    'utf8',
    record.start(field),
    record.end(field),
  );
  if (raw === '') return null;
  return raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw;
}
