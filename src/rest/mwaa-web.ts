import type { Signer } from '../aws/sigv4.ts';
import type { Authority } from './auth.ts';
import { RestError } from './errors.ts';
import type { Exchange, ExchangeAnswer } from './exchange.ts';
import { endpointError, fieldsOf, type MwaaPlace } from './mwaa-errors.ts';
import { type ApiVersion, parseBody } from './transport.ts';

export interface WebLoginOptions {
  readonly place: MwaaPlace;
  /** Of env.airflow.REGION. */
  readonly endpoint: URL;
  readonly exchange: Exchange;
  readonly sign: Signer;
}

interface WebToken {
  readonly token: string;
  readonly origin: URL;
}

export interface WebLogin {
  /** Of the environment's web server. */
  readonly origin: URL;
  readonly authority: Authority;
}

/** Where each major takes the token, and the cookie that it gives for it. */
const LOGINS = {
  v1: { path: '/aws_mwaa/login', cookie: 'session' },
  v2: { path: '/pluginsv2/aws_mwaa/login', cookie: '_token' },
} as const;

/**
 * The environment's web server, signed in to as its page does it: a token of CreateWebLoginToken, good for a minute, is
 * exchanged for a session of some hours. No limit of InvokeRestApi holds here, but the server must be reached.
 * https://docs.aws.amazon.com/mwaa/latest/userguide/access-mwaa-apache-airflow-rest-api.html
 */
export async function openWebLogin(options: WebLoginOptions): Promise<WebLogin> {
  const first = await createWebToken(options);
  let unused: WebToken | undefined = first;
  const sessions = new Map<ApiVersion, Promise<string>>();
  const current = new Map<ApiVersion, string>();
  const seen = new Set<string>();

  const signIn = async (api: ApiVersion, signal: AbortSignal | undefined): Promise<string> => {
    const { token, origin } = unused ?? (await createWebToken(options, signal));
    unused = undefined;
    seen.add(token);
    const session = await exchangeToken(options, api, origin, token, signal);
    seen.add(session);
    current.set(api, session);
    return session;
  };
  const headersOf = (api: ApiVersion, session: string): Readonly<Record<string, string>> =>
    api === 'v2' ? { authorization: `Bearer ${session}` } : { cookie: `${LOGINS.v1.cookie}=${session}` };

  return {
    origin: first.origin,
    authority: {
      async headers(api, signal) {
        let session = sessions.get(api);
        if (session === undefined) {
          session = signIn(api, signal).catch((error: unknown) => {
            sessions.delete(api);
            throw error;
          });
          sessions.set(api, session);
        }
        return headersOf(api, await session);
      },
      renew(refused) {
        for (const [api, session] of current) {
          const own = headersOf(api, session);
          if (own.authorization !== refused.authorization || own.cookie !== refused.cookie) continue;
          current.delete(api);
          sessions.delete(api);
        }
        return true;
      },
      secrets: () => [...seen],
    },
  };
}

async function createWebToken(
  { place, endpoint, exchange, sign }: WebLoginOptions,
  signal?: AbortSignal,
): Promise<WebToken> {
  const path = `/webtoken/${encodeURIComponent(place.environment)}`;
  // As botocore has it: no body, and so no content-type.
  const request = { method: 'POST', origin: endpoint, path, headers: {}, body: '' };
  const answer = await exchange.send({ ...request, headers: await sign(request), signal });
  const { WebToken: token, WebServerHostname: host } = fieldsOf(parseBody(answer.text));
  if (answer.status >= 300 || typeof token !== 'string' || typeof host !== 'string') {
    throw endpointError(place, answer);
  }
  // Only a stand-in in tests speaks plain HTTP.
  return { token, origin: new URL(`${endpoint.protocol}//${host}`) };
}

async function exchangeToken(
  { place, exchange }: WebLoginOptions,
  api: ApiVersion,
  origin: URL,
  token: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { path, cookie } = LOGINS[api];
  const answer = await exchange.send({
    origin,
    method: 'POST',
    path,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ token }).toString(),
    signal,
  });
  const session = cookieOf(answer, cookie);
  if (session !== undefined) return session;
  throw new RestError(`The web server of ${place.name} gave no session at ${path} (${answer.status}).`, {
    code: answer.status >= 500 ? 'no-answer' : 'denied',
    status: answer.status,
    transient: answer.status >= 500,
    next: 'The role needs airflow:CreateWebLoginToken on arn:aws:airflow:REGION:ACCOUNT:role/ENVIRONMENT/Admin.',
  });
}

function cookieOf({ headers }: ExchangeAnswer, name: string): string | undefined {
  const found = (headers['set-cookie'] ?? []).find((cookie) => cookie.startsWith(`${name}=`));
  const value = found?.slice(name.length + 1).split(';')[0] ?? '';
  return value === '' ? undefined : value;
}
