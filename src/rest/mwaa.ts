import type { Signer } from '../aws/sigv4.ts';
import { answerError, RestError } from './errors.ts';
import { stringifyExact } from './exact-json.ts';
import type { Exchange, ExchangeAnswer } from './exchange.ts';
import { retryAfter } from './http.ts';
import { endpointError, fieldsOf, type MwaaPlace } from './mwaa-errors.ts';
import {
  isRepeatable,
  parseBody,
  type QueryValue,
  type RestAnswer,
  type RestRequest,
  type Transport,
  type TransportLimits,
} from './transport.ts';

/**
 * Of InvokeRestApi. The path and the size are documented; the rate is what environments were seen to take.
 * https://docs.aws.amazon.com/mwaa/latest/userguide/access-mwaa-apache-airflow-rest-api.html
 */
export const MWAA_LIMITS: TransportLimits & { readonly pathLength: number; readonly answerBytes: number } =
  Object.freeze({ concurrent: 4, perSecond: 10, pathLength: 64, answerBytes: 6 * 1024 * 1024 });

/** MWAA gives up after 10 s by itself, and says so. */
export const MWAA_SILENCE_TIMEOUT = 20_000;

export interface InvokeOptions {
  readonly place: MwaaPlace;
  /** Of env.airflow.REGION. */
  readonly endpoint: URL;
  readonly exchange: Exchange;
  readonly sign: Signer;
}

/** Airflow's API behind InvokeRestApi: AWS credentials alone, no network path to the web server. */
export function createInvokeTransport({ place, endpoint, exchange, sign }: InvokeOptions): Transport {
  const path = `/restapi/${encodeURIComponent(place.environment)}`;
  return {
    name: place.name,
    limits: MWAA_LIMITS,
    async send(request, { signal }) {
      refuseLongPath(place, request);
      const body = stringifyExact(invocation(request));
      const headers = await sign({
        method: 'POST',
        origin: endpoint,
        path,
        headers: { 'content-type': 'application/json' },
        body,
      });
      const answer = await exchange.send({
        origin: endpoint,
        method: 'POST',
        path,
        headers,
        body,
        once: !isRepeatable(request),
        signal,
      });
      return unwrap(place, request, answer);
    },
    close: () => {
      exchange.close();
    },
  };
}

/** What InvokeRestApi takes. */
function invocation({ method, path, query = {}, body }: RestRequest): object {
  const parameters = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, parameterOf(value)] as const],
  );
  return {
    Path: path,
    Method: method,
    ...(parameters.length === 0 ? {} : { QueryParameters: Object.fromEntries(parameters) }),
    ...(body === undefined ? {} : { Body: body }),
  };
}

/** Numbers are refused. */
function parameterOf(value: QueryValue): string | readonly string[] {
  return typeof value === 'object' ? value : String(value);
}

/** MWAA's own refusal of a longer path says nothing about paths. */
function refuseLongPath({ name }: MwaaPlace, { method, path }: RestRequest): void {
  if (path.length <= MWAA_LIMITS.pathLength) return;
  throw new RestError(
    `${method} ${path} has ${path.length} characters, and InvokeRestApi of ${name} takes ${MWAA_LIMITS.pathLength}.`,
    {
      code: 'path-too-long',
      next: 'Reach the environment by its web login instead: add &via=web to the mwaa:// URL.',
    },
  );
}

/** Airflow's answer lies within MWAA's; an error of Airflow's is an HTTP 400 of MWAA's, whatever it is. */
function unwrap(place: MwaaPlace, request: RestRequest, answer: ExchangeAnswer): RestAnswer {
  const fields = fieldsOf(parseBody(answer.text, request.exactNumbers));
  const status = fields.RestApiStatusCode;
  if (typeof status !== 'number') throw endpointError(place, answer);
  const inner = fields.RestApiResponse;
  const retryAfterMs = retryAfter(answer.headers['retry-after']);
  const result: RestAnswer = {
    status,
    body: typeof inner === 'string' ? parseBody(inner, request.exactNumbers) : (inner ?? null),
    bytes: answer.bytes,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
  if (status >= 400) throw answerError(place.name, request, result);
  return result;
}
