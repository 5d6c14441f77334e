import { stringify } from 'csv-stringify';
import { pipeline } from 'node:stream/promises';
import type { StoredRow } from './rows.ts';

/**
 * CSV that PostgreSQL's `COPY … WITH (FORMAT csv, HEADER)` reads back: NULL is an empty field, the empty text is "".
 * Everything else is in quotes too, so that no reader has to guess about a CR, a `\.` or spaces.
 */
export async function* writeCsv(
  columns: readonly string[],
  rows: AsyncIterable<StoredRow>,
): AsyncGenerator<string> {
  yield csvHeader(columns);
  const lines = stringify({ quoted_string: true, record_delimiter: '\n', encoding: 'utf8' });
  lines.setEncoding('utf8');
  const writing = pipeline(rows, lines);
  // Awaited below; a consumer that stops early leaves it rejected with nobody to tell.
  writing.catch(() => undefined);
  for await (const text of lines) yield text as string;
  await writing;
}

/** The names of columns are words (the manifest's schema says so): nothing to quote. */
export function csvHeader(columns: readonly string[]): string {
  return `${columns.join(',')}\n`;
}
