import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ClientBase } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { LifeboatError, toError } from '../errors.ts';
import { scanSql, type SqlState } from './sql-scan.ts';

const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;
/** Statements are sent together up to this size, COPY rows too: fewer round trips, and memory stays flat. */
const BATCH_BYTES = 64 * 1024;
const END_OF_COPY = Buffer.from('\\.');
const COPY_STATEMENT = /^COPY [^;]+ FROM stdin;$/;

/**
 * Runs a plain `pg_dump` (text, UTF-8, already decompressed) without psql. Statements run as they are, several in one
 * message, each such message being one transaction; COPY blocks are streamed; psql's own commands (lines that start
 * with a backslash, such as \restrict) are skipped. Use a connection of its own: a dump changes session settings.
 */
export async function loadSqlDump(client: ClientBase, source: Readable): Promise<void> {
  const lines = splitLines(source);
  try {
    await runLines(client, lines);
  } finally {
    // Closes the source too when a statement failed half way.
    await lines.return(undefined);
  }
}

async function runLines(client: ClientBase, lines: AsyncGenerator<Buffer>): Promise<void> {
  let statements = '';
  let state: SqlState = '';
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    if (state === '' && next.value[0] === BACKSLASH) continue;
    const text = next.value.toString('utf8');
    if (state === '' && COPY_STATEMENT.test(text)) {
      await runSql(client, statements);
      statements = '';
      await copyBlock(client, text, lines);
      continue;
    }
    state = scanSql(text, state);
    statements += `${text}\n`;
    if (state !== '' || !text.endsWith(';') || statements.length < BATCH_BYTES) continue;
    await runSql(client, statements);
    statements = '';
  }
  if (state !== '') throw new LifeboatError('failed', 'The SQL dump ends in the middle of a statement.');
  await runSql(client, statements);
}

async function runSql(client: ClientBase, sql: string): Promise<void> {
  if (sql.trim() === '') return;
  await client.query(sql).catch((error: unknown) => {
    throw new LifeboatError('failed', `A statement of the SQL dump failed: ${toError(error).message}`, {
      cause: error,
    });
  });
}

async function copyBlock(
  client: ClientBase,
  statement: string,
  lines: AsyncGenerator<Buffer>,
): Promise<void> {
  const rows = Readable.from(copyRows(statement, lines), { objectMode: false });
  await pipeline(rows, client.query(copyFrom(statement)));
}

/** The rows up to the `\.` line, in batches; a block without it was cut off, and must not be committed as if whole. */
async function* copyRows(statement: string, lines: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const line = next.value;
    if (line.equals(END_OF_COPY)) {
      if (batch.length > 0) yield Buffer.concat(batch);
      return;
    }
    batch.push(line, NEWLINE_BUFFER);
    bytes += line.length + 1;
    if (bytes < BATCH_BYTES) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
  }
  throw new LifeboatError('failed', `The SQL dump ends inside ${statement}`);
}

const NEWLINE_BUFFER = Buffer.from([NEWLINE]);

/** Lines without their newline, as bytes: a character may be cut in two by the end of a chunk. */
async function* splitLines(source: Readable): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const data of source) {
    const chunk: Buffer = typeof data === 'string' ? Buffer.from(data, 'utf8') : (data as Buffer);
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, end);
      yield rest.length === 0 ? piece : Buffer.concat([...rest, piece]);
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}
