import type { Readable } from 'node:stream';
import { parse } from 'csv-parse';
import { isLifeboatError, LifeboatError, ObjectNotFoundError } from '../../errors.ts';
import { isInflateError } from '../verify-parts.ts';
import type { Row } from './foreign.ts';

export interface CsvFile {
  /** For error messages. */
  readonly name: string;
  readonly delimiter: ',' | '|';
  open(signal: AbortSignal): Promise<Readable>;
}

/**
 * Records of a file that Python's csv module wrote (QUOTE_MINIMAL, rows end with CRLF or LF). CR and LF inside quotes stay
 * what they are. One record is in memory at a time.
 *
 * @throws LifeboatError 'integrity' with the record's number and nothing of its content, which may be a secret.
 */
export async function* readRecords(file: CsvFile, signal: AbortSignal): AsyncGenerator<readonly string[]> {
  const body = await file.open(signal);
  const parser = parse({
    delimiter: file.delimiter,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: false,
  });
  body.on('error', (error) => parser.destroy(error));
  body.pipe(parser);
  let record = 0;
  try {
    for await (const fields of parser as AsyncIterable<string[]>) {
      record += 1;
      yield fields;
    }
  } catch (error) {
    throw asIntegrity(error, file.name, record + 1);
  } finally {
    body.destroy();
    parser.destroy();
  }
}

/** Also for what the values of a record turn out to be. */
export function asIntegrity(error: unknown, file: string, record: number): unknown {
  if (error instanceof ObjectNotFoundError) return error;
  if (isLifeboatError(error) && error.kind !== 'integrity') return error;
  const code = (error as { code?: unknown } | null)?.code;
  const isCsv = typeof code === 'string' && code.startsWith('CSV_');
  if (!isCsv && !isLifeboatError(error) && !isInflateError(error)) return error;
  const problem = isLifeboatError(error)
    ? error.message
    : isCsv
      ? `It is not the CSV that the other tool writes (${code}).`
      : 'It does not unpack.';
  return new LifeboatError('integrity', `${file}, record ${record}: ${problem}`, {
    next: 'The file is damaged or was edited: use another backup, or mend it.',
    details: { file, record },
    cause: isLifeboatError(error) ? error.cause : undefined,
  });
}

const NEEDS_QUOTES = /[",\r\n]/;

/** One record as PostgreSQL's COPY … CSV writes it: NULL empty, '' in quotes. */
export function copyRecord(columns: readonly string[], row: Row): string {
  const fields = columns.map((column) => {
    const value = row[column] ?? null;
    if (value === null) return '';
    // COPY quotes `\.` where it is the whole line: it would be the end of the data.
    const isEnd = value === '\\.' && columns.length === 1;
    if (value === '' || isEnd || NEEDS_QUOTES.test(value)) {
      return `"${value.replaceAll('"', '""')}"`;
    }
    return value;
  });
  return `${fields.join(',')}\n`;
}
