const QUOTE = 0x22;
const NEWLINE = 0x0a;

/**
 * Counts the records of PostgreSQL's CSV without building one: a line feed outside quotes ends a record. Doubled quotes
 * inside a field toggle twice and so cancel out. Chunks may be cut anywhere.
 */
export function createRowCounter(): { add(chunk: Uint8Array): void; rows(): number; complete(): boolean } {
  let rows = 0;
  let quoted = false;
  let last = NEWLINE;
  return {
    add: (chunk) => {
      // eslint-disable-next-line @typescript-eslint/prefer-for-of -- an iterator over bytes is eight times slower
      for (let i = 0; i < chunk.length; i++) {
        const byte = chunk[i];
        if (byte === QUOTE) quoted = !quoted;
        else if (byte === NEWLINE && !quoted) rows++;
      }
      last = chunk.length > 0 ? (chunk[chunk.length - 1] ?? last) : last;
    },
    rows: () => rows,
    /** False when the text ends inside a record. */
    complete: () => !quoted && last === NEWLINE,
  };
}
