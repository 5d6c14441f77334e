import { answerError, RestError } from './errors.ts';
import { type Authority, createAuthority, type RestCredentials } from './auth.ts';
import { stringifyExact } from './exact-json.ts';
import { createExchange, type ExchangeAnswer } from './exchange.ts';
import {
  isRepeatable,
  parseBody,
  queryText,
  type RestAnswer,
  type RestRequest,
  type SendOptions,
  type Transport,
} from './transport.ts';

export interface HttpOptions {
  /** http(s)://host[:port][/prefix]. */
  readonly url: URL;
  readonly credentials: RestCredentials;
  readonly concurrent?: number;
  readonly silenceMs?: number;
}

/** More would only wait for each other: an API server has a handful of workers. */
const CONCURRENT = 4;

/** Airflow's own web server (2.x) or API server (3.x), over HTTP. */
export async function createHttpTransport(options: HttpOptions): Promise<Transport> {
  const { url, credentials, silenceMs } = options;
  const basePath = url.pathname.replace(/\/+$/, '').replace(/\/api\/v[12]$/, '');
  const name = `${url.host}${basePath}`;
  const exchange = await createExchange({ name, ...(silenceMs === undefined ? {} : { silenceMs }) });
  const authority = createAuthority(credentials, { name, origin: url, basePath, exchange });
  return httpTransport({ name, origin: url, basePath, exchange, authority, concurrent: options.concurrent });
}

export interface HttpParts {
  readonly name: string;
  readonly origin: URL;
  readonly basePath: string;
  readonly exchange: Awaited<ReturnType<typeof createExchange>>;
  readonly authority: Authority;
  readonly concurrent?: number | undefined;
}

/** The transport for whoever brings an authority of their own: MWAA's web login does. */
export function httpTransport(parts: HttpParts): Transport {
  const { name, origin, basePath, exchange, authority, concurrent = CONCURRENT } = parts;

  const sendOnce = async (
    request: RestRequest,
    { api, signal }: SendOptions,
    headers: Readonly<Record<string, string>>,
  ): Promise<RestAnswer> => {
    const answer = await exchange.send({
      origin,
      method: request.method,
      path: `${basePath}/api/${api}${request.path}${queryText(request.query)}`,
      headers: {
        accept: 'application/json',
        ...headers,
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: stringifyExact(request.body) }),
      once: !isRepeatable(request),
      signal,
    });
    return restAnswer(name, answer, request);
  };

  return {
    name,
    limits: { concurrent },
    async send(request, options) {
      if (options.anonymous === true) return checked(await sendOnce(request, options, {}), request);
      const headers = await authority.headers(options.api, options.signal);
      const answer = await sendOnce(request, options, headers);
      if (answer.status !== 401 || !authority.renew(headers)) return checked(answer, request);
      // A refused request was not carried out: whatever it is, it may be sent again.
      const renewed = await authority.headers(options.api, options.signal);
      return checked(await sendOnce(request, options, renewed), request);
    },
    close: () => {
      exchange.close();
    },
  };

  /** Errors are made here, where the secrets are known that their words must not hold. */
  function checked(answer: RestAnswer, request: RestRequest): RestAnswer {
    if (answer.status >= 400) throw answerError(name, request, answer, authority.secrets());
    return answer;
  }
}

function restAnswer(
  name: string,
  { status, headers, text, bytes }: ExchangeAnswer,
  { exactNumbers }: RestRequest,
): RestAnswer {
  if (status >= 300 && status < 400) {
    throw new RestError(`${name} sends its visitors elsewhere (${status}${placeOf(headers.location)}).`, {
      code: 'not-airflow',
      status,
      next: 'Name the URL that it sends to. A login page means that Airflow’s API does not take these credentials: for v1 [api] auth_backends must hold airflow.api.auth.backend.basic_auth.',
    });
  }
  const body = parseBody(text, exactNumbers);
  const html = typeof body === 'string' && /^\s*</.test(body);
  if (html && status < 400) {
    throw new RestError(`${name} answered with a page for people, not with JSON.`, {
      code: 'not-airflow',
      status,
      next: 'Name the root of Airflow’s web server, or of its API server, without /home or /api.',
    });
  }
  const retryAfterMs = retryAfter(headers['retry-after']);
  return { status, body: html ? null : body, bytes, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** Only the host: the query of a login page may hold anything. */
function placeOf(location: string | undefined): string {
  const host = /^https?:\/\/([^/?#]+)/i.exec(location ?? '')?.[1];
  return host === undefined ? '' : ` to ${host}`;
}

const LONGEST_WISH = 60_000;

/** In seconds; a date is not looked at, since nobody knows the server's clock. */
export function retryAfter(header: string | undefined): number | undefined {
  const seconds = /^\d+$/.test(header ?? '') ? Number(header) : undefined;
  return seconds === undefined ? undefined : Math.min(LONGEST_WISH, seconds * 1000);
}
