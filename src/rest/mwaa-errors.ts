import { redact } from '../secrets/redact.ts';
import { RestError, type RestErrorOptions } from './errors.ts';
import type { ExchangeAnswer } from './exchange.ts';
import { parseBody } from './transport.ts';

export interface MwaaPlace {
  /** The environment's own name. */
  readonly environment: string;
  readonly region: string;
  /** For messages: mwaa://NAME (REGION). */
  readonly name: string;
}

interface Meaning extends Pick<RestErrorOptions, 'code' | 'transient' | 'next'> {
  readonly says: string;
}

const RIGHTS = 'airflow:InvokeRestApi on arn:aws:airflow:REGION:ACCOUNT:role/ENVIRONMENT/Admin';

/** Errors of the service itself, by the names of its model. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  AccessDeniedException: {
    code: 'denied',
    says: 'denies access',
    next: `The role needs ${RIGHTS} (the ARN of the Airflow role, not of the environment). A private web server is reached from within its VPC alone.`,
  },
  ResourceNotFoundException: {
    code: 'denied',
    says: 'has no such environment in this region',
    next: 'Check the name and the region of the mwaa:// URL, and the account of the credentials.',
  },
  ValidationException: {
    code: 'answer',
    says: 'does not take the request',
    next: 'If it asks for an update of the environment: InvokeRestApi came with an update of MWAA, which UpdateEnvironment brings.',
  },
  ThrottlingException: { code: 'throttled', says: 'asks to slow down', transient: true },
  TooManyRequestsException: { code: 'throttled', says: 'asks to slow down', transient: true },
  InternalServerException: { code: 'no-answer', says: 'has an error of its own', transient: true },
  // Without Airflow's status: Airflow gave no answer in 10 s, or a longer one than 6 MB.
  RestApiServerException: { code: 'no-answer', says: 'got no answer of Airflow', transient: true },
  RestApiClientException: { code: 'answer', says: 'does not take the request' },
  UnrecognizedClientException: { code: 'denied', says: 'does not know the credentials' },
  InvalidClientTokenId: { code: 'denied', says: 'does not know the credentials' },
  InvalidSignatureException: {
    code: 'denied',
    says: 'does not take the signature',
    next: 'Check AWS_SECRET_ACCESS_KEY and the clock of this machine.',
  },
  ExpiredTokenException: { code: 'denied', says: 'says that the credentials have expired' },
};

/** How MWAA, or a gateway of AWS before it, speaks of an answer that is longer than it lets through. */
const TOO_LARGE = /too large|payload size|response size|exceed\w* .*(size|limit|MB|bytes)/i;

/** What MWAA itself says, when Airflow says nothing. */
export function endpointError({ name }: MwaaPlace, answer: ExchangeAnswer): RestError {
  const type = errorType(answer);
  const fields = fieldsOf(parseBody(answer.text));
  const words = redact(wordsOf(fields.message ?? fields.Message))
    .replace(/\s+/g, ' ')
    .trim();
  const meaning = MEANINGS[type] ?? byStatus(answer.status);
  const large = TOO_LARGE.test(words);
  const { says, ...options } = meaning;
  const told = words === '' ? type : words;
  return new RestError(
    `${name} ${says}${told === '' ? '' : `: ${told.slice(0, 300)}`}.`.replace(/\.\.$/, '.'),
    {
      ...options,
      ...(large ? { code: 'too-large' as const, transient: false } : {}),
      details: { type, http: answer.status },
    },
  );
}

/** `x-amzn-errortype: Name:http://…`, or `__type` of the body: `prefix#Name`. */
function errorType({ headers, text }: ExchangeAnswer): string {
  const header = headers['x-amzn-errortype'];
  const named = typeof header === 'string' ? header : wordsOf(fieldsOf(parseBody(text)).__type);
  return named.replace(/:.*$/s, '').replace(/^.*#/s, '');
}

function byStatus(status: number): Meaning {
  if (status === 429) return { code: 'throttled', says: 'asks to slow down', transient: true };
  if (status === 413) return { code: 'too-large', says: 'got too long an answer' };
  if (status >= 500) return { code: 'no-answer', says: `answered ${status}`, transient: true };
  if (status === 401 || status === 403) return { code: 'denied', says: `answered ${status}` };
  return { code: 'not-airflow', says: `answered ${status} and nothing of Airflow’s` };
}

export function fieldsOf(body: unknown): Readonly<Record<string, unknown>> {
  return typeof body === 'object' && body !== null ? (body as Readonly<Record<string, unknown>>) : {};
}

function wordsOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
