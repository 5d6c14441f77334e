import { LifeboatError, type LifeboatErrorOptions } from '../errors.ts';
import { redact } from '../secrets/redact.ts';
import type { RestAnswer, RestRequest } from './transport.ts';

/** Why a request came to nothing, for programs. */
export type RestErrorCode =
  | 'answer' // Airflow answered with an error; status says which
  | 'unreachable' // nothing was sent
  | 'no-answer' // it was sent, and what became of it is not known
  | 'too-large' // the answer is longer than the way to it lets through
  | 'path-too-long'
  | 'throttled'
  | 'denied' // the way to Airflow is closed to these credentials
  | 'not-airflow' // something else answered
  | 'not-offered' // this version of Airflow has no such thing
  | 'list-changed'; // rows vanished while they were listed

export interface RestErrorOptions extends LifeboatErrorOptions {
  readonly code: RestErrorCode;
  /** HTTP status of Airflow's answer; 0: there was none. */
  readonly status?: number;
  /** Another try may succeed. */
  readonly transient?: boolean;
  readonly retryAfterMs?: number;
  readonly kind?: LifeboatError['kind'];
}

export class RestError extends LifeboatError {
  readonly code: RestErrorCode;
  readonly status: number;
  readonly transient: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: RestErrorOptions) {
    const { code, status = 0, transient = false, retryAfterMs, kind = 'failed', details, ...rest } = options;
    super(kind, message, { ...rest, details: { code: `rest-${code}`, status, ...details } });
    this.name = 'RestError';
    this.code = code;
    this.status = status;
    this.transient = transient;
    this.retryAfterMs = retryAfterMs;
  }
}

export function isRestError(thrown: unknown, status?: number): thrown is RestError {
  return thrown instanceof RestError && (status === undefined || thrown.status === status);
}

/** Statuses of a server, or of what stands before it, that is busy or on its way up. */
const BUSY: readonly number[] = [408, 425, 429, 500, 502, 503, 504];

const NEXT: Readonly<Record<number, string>> = {
  400: 'Airflow does not take the request as it is: its words above say why.',
  401: 'Check LIFEBOAT_REST_USER and LIFEBOAT_REST_PASSWORD, or LIFEBOAT_REST_TOKEN; a token may have expired.',
  403: 'The user needs a role that may do this: Admin, or Op for all but event logs.',
  404: 'Check the path and the ids in it.',
  409: 'It exists already.',
  422: 'Airflow does not take the body as it is: its words above say why.',
};

/** What an answer of 400 and above means. Throw it, or look at its status first. */
export function answerError(
  name: string,
  request: RestRequest,
  answer: RestAnswer,
  secrets: readonly string[] = [],
): RestError {
  const { status, retryAfterMs } = answer;
  const words = detailOf(answer.body, secrets);
  const next = NEXT[status] ?? (status >= 500 ? 'Look into the log of the API server.' : undefined);
  return new RestError(
    `${name} answered ${status} to ${request.method} ${request.path}${words === '' ? '' : `: ${words}`}`.replace(
      /([^.!?])$/,
      '$1.',
    ),
    {
      code: status === 413 ? 'too-large' : status === 429 ? 'throttled' : 'answer',
      status,
      transient: BUSY.includes(status),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(next === undefined ? {} : { next }),
    },
  );
}

const LONGEST_DETAIL = 400;

/**
 * Airflow's own words. v1: a problem document (RFC 7807); v2: FastAPI's `detail`, whose entries of a refused body hold
 * the refused value as `input`, and of a broken constraint the SQL with its values: neither is repeated, since a body
 * may be a password.
 */
function detailOf(body: unknown, secrets: readonly string[]): string {
  if (typeof body !== 'object' || body === null) return '';
  const { detail, title, message } = body as Readonly<Record<string, unknown>>;
  const words = Array.isArray(detail)
    ? detail.map(entryOf).filter((entry) => entry !== '')
    : [textOf(detail)];
  const text = words.join('; ') || textOf(message) || textOf(title);
  const line = redact(text, secrets).replace(/\s+/g, ' ').trim();
  return line.length > LONGEST_DETAIL ? `${line.slice(0, LONGEST_DETAIL)}…` : line;
}

function entryOf(entry: unknown): string {
  if (typeof entry !== 'object' || entry === null) return '';
  const { loc, msg } = entry as { loc?: unknown; msg?: unknown };
  const where = Array.isArray(loc) ? loc.map(String).join('.') : '';
  return [where, textOf(msg)].filter((part) => part !== '').join(': ');
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  const reason: unknown =
    typeof value === 'object' && value !== null ? Reflect.get(value, 'reason') : undefined;
  return typeof reason === 'string' ? reason : '';
}

/** Of a signal that ended the work. */
export function interruption(signal: AbortSignal): LifeboatError {
  const reason: unknown = signal.reason;
  if (reason instanceof LifeboatError) return reason;
  return new LifeboatError('interrupted', 'Interrupted: the request to Airflow was given up.', {
    next: 'Run the same command again.',
    cause: reason,
  });
}
