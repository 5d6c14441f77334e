import type { RestDialect } from '../versions/rest.ts';
import { offers as offersFeature, restDialect, type RestFeature } from '../versions/rest.ts';
import { isRestError, RestError } from './errors.ts';
import { createPace } from './pace.ts';
import type { RetryPolicy } from '../retry.ts';
import { RETRY, RETRY_FIRST, retrying } from './retry.ts';
import {
  type ApiVersion,
  isRepeatable,
  type RestAnswer,
  type RestRequest,
  type Transport,
  type TransportLimits,
} from './transport.ts';

export interface ClientOptions {
  readonly transport: Transport;
  readonly signal?: AbortSignal | undefined;
  readonly retry?: RetryPolicy;
  /** Between 0 and 1; tests pass a constant. */
  readonly random?: () => number;
  /** Told before each pause: a server that is restarted must not look like a program that hangs. */
  readonly onRetry?: (error: RestError, pauseMs: number) => void;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Fewer tries than usual, for whoever knows a better way than the same request once more. */
  readonly attempts?: number;
  /** The same, for some errors alone. */
  readonly final?: (error: RestError) => boolean;
}

/** A conversation with one Airflow whose version is known. */
export interface RestClient {
  /** For messages. */
  readonly name: string;
  /** Such as 3.0.6. */
  readonly airflow: string;
  readonly dialect: RestDialect;
  readonly limits: TransportLimits;
  /** Requests that left, tries and sign-ins included. */
  requests(): number;
  /** Bytes of the answers that came, as they were received. */
  receivedBytes(): number;
  offers(feature: RestFeature): boolean;
  /** Paced, retried, and an answer below 400; everything else is thrown as a RestError. */
  send(request: RestRequest, options?: RequestOptions): Promise<RestAnswer>;
  close(): void;
}

/** Finds out what answers, and refuses a version that it does not know. */
export async function openClient(options: ClientOptions): Promise<RestClient> {
  const { transport, random, onRetry } = options;
  const pace = createPace(transport.limits);
  let contacted = false;
  let requests = 0;
  let receivedBytes = 0;

  const sendTo = async (
    api: ApiVersion,
    request: RestRequest,
    {
      signal = options.signal,
      attempts,
      final,
      anonymous,
    }: RequestOptions & { readonly anonymous?: boolean } = {},
  ): Promise<RestAnswer> => {
    const policy = options.retry ?? (contacted ? RETRY : RETRY_FIRST);
    const answer = await retrying(
      () =>
        pace.run(() => {
          requests += 1;
          return transport.send(request, { api, ...(anonymous === true ? { anonymous } : {}), signal });
        }, signal),
      {
        policy:
          attempts === undefined ? policy : { ...policy, attempts: Math.min(attempts, policy.attempts) },
        repeatable: isRepeatable(request),
        ...(final === undefined ? {} : { final }),
        signal,
        ...(random === undefined ? {} : { random }),
        // Whoever wants fewer tries goes on by another way: nobody need hear of it.
        ...(onRetry === undefined || attempts !== undefined ? {} : { onRetry }),
      },
    );
    contacted = true;
    receivedBytes += answer.bytes;
    return answer;
  };

  const airflow = await findVersion(transport.name, (api, anonymous) =>
    sendTo(api, { method: 'GET', path: '/version' }, anonymous ? { anonymous } : {}),
  );
  const dialect = restDialect(airflow);
  if (dialect === undefined) {
    throw new RestError(`${transport.name} is Airflow ${airflow}, whose REST API is not known.`, {
      code: 'not-offered',
      kind: 'unsupported',
      next: 'Lifeboat speaks v1 of Airflow 2.5 to 2.11 and v2 of Airflow 3.',
      details: { airflow },
    });
  }
  return {
    name: transport.name,
    airflow,
    dialect,
    limits: transport.limits,
    requests: () => requests,
    receivedBytes: () => receivedBytes,
    offers: (feature) => offersFeature(dialect, airflow, feature),
    send: (request, requestOptions) => sendTo(dialect.api, request, requestOptions),
    close: () => {
      transport.close();
    },
  };
}

/** Of 404 and 405: this API is not there. Of 401 and 403: it is, and wants to know who asks. */
const ELSEWHERE: readonly number[] = [404, 405];
const CLOSED: readonly number[] = [401, 403];

/**
 * GET /version is open to everybody in most installations, which is as well: before it is known whether this is v1 or
 * v2, it is not known how to sign in.
 */
async function findVersion(
  name: string,
  ask: (api: ApiVersion, anonymous: boolean) => Promise<RestAnswer>,
): Promise<string> {
  let refusal: unknown;
  let closed: RestError | undefined;
  for (const api of ['v2', 'v1'] as const) {
    try {
      const answer = await ask(api, true).catch((thrown: unknown) => {
        if (isRestError(thrown) && CLOSED.includes(thrown.status)) return ask(api, false);
        throw thrown;
      });
      return versionOf(name, answer);
    } catch (thrown) {
      if (!isRestError(thrown)) throw thrown;
      // A proxy may close what is not there as well: of 2.x it closes v2.
      if (CLOSED.includes(thrown.status)) closed ??= thrown;
      else if (!leadsOn(thrown)) throw thrown;
      refusal = thrown;
    }
  }
  if (closed !== undefined) throw closed;
  throw new RestError(`There is no REST API of Airflow at ${name}.`, {
    code: 'not-airflow',
    next: 'Name the root of Airflow’s web server (2.x) or API server (3.x), with the path before /api if there is one.',
    cause: refusal,
  });
}

function leadsOn({ code, status }: RestError): boolean {
  return ELSEWHERE.includes(status) || code === 'not-airflow';
}

function versionOf(name: string, { body }: RestAnswer): string {
  const version: unknown =
    typeof body === 'object' && body !== null ? Reflect.get(body, 'version') : undefined;
  if (typeof version === 'string' && /^\d+\.\d+/.test(version)) return version;
  throw new RestError(`${name} does not say which Airflow it is.`, { code: 'not-airflow' });
}
