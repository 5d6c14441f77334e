import { hash } from 'node:crypto';
import { sortMembers, stringifyExact, tryParseExact } from '../../rest/exact-json.ts';
import { fernetDecrypt } from '../../secrets/fernet.ts';
import type { IdMap } from './id-map.ts';
import type { ComparedTable, Field } from './plan.ts';
import { fieldText } from './records.ts';
import type { CsvRecord } from './records.ts';

/** Of SHA-256: 96 bits, so that even a billion rows have one chance in 10^11 of two that look alike. */
export const KEY_BYTES = 12;
/** Key · content · secrets · flags · group. */
export const ENTRY_BYTES: number = KEY_BYTES + 12 + 7 + 1 + 4;
const CONTENT_AT = KEY_BYTES;
const SECRETS_AT = CONTENT_AT + 12;
const FLAGS_AT = SECRETS_AT + 7;
const GROUP_AT = FLAGS_AT + 1;
const UNREADABLE = 1;
const LACKS_VALUES = 2;

/** What one row is reduced to: fixed size, comparable as bytes, nothing of its values in it. */
export function partitionKey(entry: Uint8Array): number {
  return ((entry[0] ?? 0) | ((entry[1] ?? 0) << 8) | ((entry[2] ?? 0) << 16)) >>> 0;
}

/** Another part of the key than the partition is taken from. */
export function sortKey(entries: Buffer, index: number): number {
  return entries.readUInt32LE(index * ENTRY_BYTES + 4);
}

export function hasUnreadable(entries: Buffer, index: number): boolean {
  return ((entries[index * ENTRY_BYTES + FLAGS_AT] ?? 0) & UNREADABLE) !== 0;
}

/** Its content is not all there. */
export function lacksValues(entries: Buffer, index: number): boolean {
  return ((entries[index * ENTRY_BYTES + FLAGS_AT] ?? 0) & LACKS_VALUES) !== 0;
}

export function groupOf(entries: Buffer, index: number): number {
  return entries.readUInt32LE(index * ENTRY_BYTES + GROUP_AT);
}

export function keyOf(entries: Uint8Array, index = 0): string {
  const at = index * ENTRY_BYTES;
  return Buffer.from(entries.buffer, entries.byteOffset + at, KEY_BYTES).toString('latin1');
}

/** Negative, 0 or positive: order of two entries by key alone, by key and content, or by all that makes a row. */
export function compareEntries(
  a: Buffer,
  left: number,
  b: Buffer,
  right: number,
  part: 'key' | 'content' | 'row',
): number {
  const length = { key: KEY_BYTES, content: SECRETS_AT, row: GROUP_AT }[part];
  const [from, to] = [left * ENTRY_BYTES, right * ENTRY_BYTES];
  return a.compare(b, to, to + length, from, from + length);
}

export interface HashOptions {
  /** Random, for this run only: temporary files must not help anybody to guess a value. */
  readonly salt: Uint8Array;
  /** Every known Fernet key, of either side. */
  readonly fernetKeys: readonly string[];
  readonly parents: ReadonlyMap<string, IdMap>;
  /** Number of a DAG, the same on both sides; 0 for none. */
  readonly group: (dagId: string) => number;
}

/** Reduces records of one table of one side. The returned entry is valid until the next call. */
export function createRowHasher(
  table: ComparedTable,
  options: HashOptions,
): { entry(record: CsvRecord): Uint8Array; key(record: CsvRecord): Uint8Array } {
  const entry = Buffer.alloc(ENTRY_BYTES);
  const input = createInput(options.salt);
  const digest = (record: CsvRecord, fields: readonly Field[]): Uint8Array => {
    input.reset();
    for (const field of fields) addField(input, record, field, options.parents);
    return input.digest();
  };
  const keyFields = table.key ?? table.content;
  return {
    key: (record) => digest(record, keyFields),
    entry: (record) => {
      entry.fill(0);
      entry.set(digest(record, keyFields).subarray(0, KEY_BYTES), 0);
      if (table.key) entry.set(digest(record, table.content).subarray(0, 12), CONTENT_AT);
      if (table.secrets.length > 0) addSecrets(entry, input, record, table, options);
      if (lacksCompared(record, table)) {
        entry[FLAGS_AT] = (entry[FLAGS_AT] ?? 0) | (table.secrets.length > 0 ? UNREADABLE : LACKS_VALUES);
      }
      if (table.group !== undefined) {
        const dag = fieldText(record, table.group);
        if (dag !== null) entry.writeUInt32LE(options.group(dag), GROUP_AT);
      }
      return entry;
    },
  };
}

/** The row says that it lacks a value that is compared. */
function lacksCompared(record: CsvRecord, { unreadable }: ComparedTable): boolean {
  if (unreadable === undefined) return false;
  const names = fieldText(record, unreadable.index);
  return names?.split(',').some((name) => unreadable.columns.includes(name)) ?? false;
}

/** Clear text is hashed where it is stored or can be read; what no key reads is hashed as it is, and marked. */
function addSecrets(
  entry: Buffer,
  input: Input,
  record: CsvRecord,
  table: ComparedTable,
  { fernetKeys }: HashOptions,
): void {
  input.reset();
  for (const { index, flag, json } of table.secrets) {
    const text = fieldText(record, index);
    const isToken =
      text !== null &&
      text !== '' &&
      (flag === undefined ? !text.startsWith('{') : fieldText(record, flag) === 't');
    const clear = isToken ? fernetDecrypt(fernetKeys, text) : undefined;
    if (isToken && !clear) entry[FLAGS_AT] = UNREADABLE;
    const stored = clear ?? (text === null ? undefined : Buffer.from(text));
    // A variable is text, and Airflow writes it anew when it is an object or a list.
    const isJson = json === true && /^\s*[[{]/.test(stored?.toString() ?? '');
    const value = isJson && stored ? Buffer.from(jsonAnew(stored.toString())) : stored;
    input.add(Buffer.from(value === undefined ? 'n' : 'v'));
    if (value) input.add(value);
  }
  entry.set(input.digest().subarray(0, 7), SECRETS_AT);
}

const DANGLING = Buffer.from('x');

function addField(
  input: Input,
  record: CsvRecord,
  { index, parent, json }: Field,
  parents: ReadonlyMap<string, IdMap>,
): void {
  const [start, end] = [record.start(index), record.end(index)];
  if (json === true && start !== end) {
    input.add(Buffer.from(jsonMeaning(fieldText(record, index) ?? '')));
    return;
  }
  if (parent === undefined || start === end) {
    input.add(record.bytes, start, end);
    return;
  }
  input.add(parents.get(parent)?.get(Number(fieldText(record, index))) ?? DANGLING);
}

/** Airflow's API writes JSON anew; what is none stays as it is. */
function jsonAnew(text: string): string {
  const parsed = tryParseExact(text);
  return parsed ? stringifyExact(parsed.value) : text;
}

/** The API of 2.11 gives the members of a JSON column by their names, and not as they are stored. */
function jsonMeaning(text: string): string {
  const parsed = tryParseExact(text);
  return parsed ? stringifyExact(sortMembers(parsed.value)) : text;
}

interface Input {
  reset(): void;
  add(bytes: Uint8Array, start?: number, end?: number): void;
  digest(): Uint8Array;
}

/** Collects what is hashed in one piece: a hash object a row costs more than the copy. Each piece has its length before it. */
function createInput(salt: Uint8Array): Input {
  let buffer = Buffer.alloc(4096);
  let filled = 0;
  return {
    reset: () => {
      buffer.set(salt, 0);
      filled = salt.length;
    },
    add: (bytes, start = 0, end = bytes.length) => {
      const needed = filled + 4 + end - start;
      if (needed > buffer.length) {
        const larger = Buffer.alloc(Math.max(needed, buffer.length * 2));
        buffer.copy(larger, 0, 0, filled);
        buffer = larger;
      }
      buffer.writeUInt32LE(end - start, filled);
      buffer.set(bytes.subarray(start, end), filled + 4);
      filled = needed;
    },
    digest: () => hash('sha256', buffer.subarray(0, filled), 'buffer'),
  };
}
