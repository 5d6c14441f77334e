import { DatabaseError } from 'pg';
import { LifeboatError } from '../errors.ts';
import { SQLSTATES } from './sqlstate-advice.ts';

/**
 * Classes of SQLSTATE in which Postgres names objects and settings, never row values. The server's sentence is quoted
 * for these only: "invalid input syntax for type json: …" (class 22) would quote a row, RAISE in a trigger anything.
 */
const QUOTABLE_CLASSES: ReadonlySet<string> = new Set([
  '25',
  '28',
  '3D',
  '3F',
  '40',
  '42',
  '53',
  '54',
  '55',
  '57',
  '58',
]);
/** A server, a pooler or a foreign data wrapper may quote a connection string in any of them. */
const MAY_QUOTE_SECRET = /:\/\/|passw|secret|token|key=/i;
/** CONTEXT of a COPY: table, line and column are names; what follows is the row. */
const COPY_CONTEXT = /COPY ([^\s,]+), line (\d+)(?:, column ([^\s:,]+))?/;

/**
 * A Postgres error for people: what it means, on which table, column or constraint, and what to do. DETAIL, CONTEXT and
 * HINT are dropped, since they quote rows ("Key (key)=(…)", "Failing row contains (…)"); so is the error itself as a
 * cause, of which a copy without them is kept. LifeboatErrors and errors that are not Postgres's come back unchanged.
 */
export function describeDatabaseError(error: unknown, where?: string): unknown {
  if (!isDatabaseError(error)) return error;
  const sqlstate = error.code ?? 'XX000';
  const advice = SQLSTATES[sqlstate];
  const facts = factsOf(error);
  const said = quotable(error) ? ` (${error.message})` : '';
  const says = advice?.says ?? `The database refused a statement with SQLSTATE ${sqlstate}`;
  const at = describeFacts(facts);
  return new LifeboatError(
    advice?.kind ?? 'failed',
    `${says}${at}${where === undefined ? '' : ` in ${where}`}${said}.`,
    {
      next:
        advice?.next ?? 'Look the SQLSTATE up in the manual of Postgres; --debug shows where it came from.',
      details: { sqlstate, ...(advice === undefined ? {} : { condition: advice.name }), ...facts },
      cause: withoutData(error, sqlstate),
    },
  );
}

/** pg has several copies of its error class when it is installed twice; its shape tells as well. */
export function isDatabaseError(error: unknown): error is DatabaseError {
  if (error instanceof DatabaseError) return true;
  if (!(error instanceof Error) || !('code' in error) || !('severity' in error)) return false;
  return typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code);
}

export function sqlStateOf(error: unknown): string | undefined {
  return isDatabaseError(error) ? error.code : undefined;
}

interface Facts {
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
  /** Line of the COPY input. */
  readonly line?: number;
}

function factsOf(error: DatabaseError): Facts {
  const copy = COPY_CONTEXT.exec(error.where ?? '');
  // A restore's temporary table stands for the table it fills; its own name would tell nobody anything.
  const table = (error.table ?? copy?.[1])?.replace(/^lifeboat_stage_/, '');
  const column = error.column ?? copy?.[3];
  return {
    ...(table ? { table } : {}),
    ...(column ? { column } : {}),
    ...(error.constraint ? { constraint: error.constraint } : {}),
    ...(copy?.[2] ? { line: Number(copy[2]) } : {}),
  };
}

function describeFacts(facts: Facts): string {
  const parts = [
    facts.table === undefined ? '' : `table ${facts.table}`,
    facts.column === undefined ? '' : `column ${facts.column}`,
    facts.constraint === undefined ? '' : `constraint ${facts.constraint}`,
    facts.line === undefined ? '' : `line ${facts.line} of the rows sent`,
  ].filter((part) => part !== '');
  return parts.length === 0 ? '' : `: ${parts.join(', ')}`;
}

function quotable(error: DatabaseError): boolean {
  return QUOTABLE_CLASSES.has((error.code ?? '').slice(0, 2)) && !MAY_QUOTE_SECRET.test(error.message);
}

/** The stack says which statement it was; its first line is the message, which may quote a row. */
function withoutData(error: DatabaseError, sqlstate: string): Error {
  const copy = new Error(quotable(error) ? error.message : `SQLSTATE ${sqlstate}`);
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  copy.stack = [`DatabaseError: ${copy.message}`, ...frames].join('\n');
  return copy;
}
