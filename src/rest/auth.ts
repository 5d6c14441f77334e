import type { Exchange } from './exchange.ts';
import { answerError, RestError } from './errors.ts';
import { type ApiVersion, parseBody } from './transport.ts';

/** How somebody proves who they are. */
export type RestCredentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'password'; readonly user: string; readonly password: string };

export interface Authority {
  /** Headers for a request to this API. */
  headers(api: ApiVersion, signal?: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** Airflow refused these headers: true when others can be had, and the request is worth a second try. */
  renew(refused: Readonly<Record<string, string>>): boolean;
  /** What no message may hold. */
  secrets(): readonly string[];
}

export interface AuthorityOptions {
  readonly name: string;
  readonly origin: URL;
  /** Before /auth/token: '' or '/prefix'. */
  readonly basePath: string;
  readonly exchange: Exchange;
}

/**
 * v1 takes a user's password with every request (its basic_auth backend). v2 takes tokens alone: a password buys one
 * at /auth/token, which lasts a day by default, and one that has expired is replaced in the middle of the work.
 */
export function createAuthority(credentials: RestCredentials, options: AuthorityOptions): Authority {
  switch (credentials.kind) {
    case 'none':
      return { headers: () => Promise.resolve({}), renew: () => false, secrets: () => [] };
    case 'token': {
      const headers = bearer(credentials.token);
      return {
        headers: () => Promise.resolve(headers),
        renew: () => false,
        secrets: () => [credentials.token],
      };
    }
    case 'password':
      return passwordAuthority(credentials.user, credentials.password, options);
  }
}

function passwordAuthority(user: string, password: string, options: AuthorityOptions): Authority {
  const basic = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const seen = new Set([password, basic.slice('Basic '.length)]);
  let signedIn: Promise<string> | undefined;
  let current: string | undefined;
  return {
    async headers(api, signal) {
      if (api === 'v1') return { authorization: basic };
      // Shared by all requests that wait for it; one that failed is asked for anew.
      signedIn ??= signIn(user, password, options, signal).catch((error: unknown) => {
        signedIn = undefined;
        throw error;
      });
      const token = await signedIn;
      seen.add(token);
      current = token;
      return bearer(token);
    },
    renew({ authorization }) {
      if (authorization?.startsWith('Bearer ') !== true) return false;
      // Only the first of several requests that were refused together: the others take what it gets.
      if (authorization.slice('Bearer '.length) === current) {
        current = undefined;
        signedIn = undefined;
      }
      return true;
    },
    secrets: () => [...seen],
  };
}

function bearer(token: string): Readonly<Record<string, string>> {
  return { authorization: `Bearer ${token}` };
}

async function signIn(
  username: string,
  password: string,
  { name, origin, basePath, exchange }: AuthorityOptions,
  signal: AbortSignal | undefined,
): Promise<string> {
  const path = `${basePath}/auth/token`;
  const { status, text, bytes } = await exchange.send({
    origin,
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ username, password }),
    signal,
  });
  const body = parseBody(text);
  const token: unknown =
    typeof body === 'object' && body !== null ? Reflect.get(body, 'access_token') : undefined;
  if (status < 300 && typeof token === 'string' && token !== '') return token;
  if (status === 401 || status === 403) {
    throw new RestError(`${name} does not let ${username} in.`, {
      code: 'denied',
      status,
      next: 'Check LIFEBOAT_REST_USER and LIFEBOAT_REST_PASSWORD: /auth/token knows users of the auth manager’s own database or LDAP alone; others need a token in LIFEBOAT_REST_TOKEN.',
    });
  }
  if (status >= 400) throw answerError(name, { method: 'POST', path }, { status, body, bytes }, [password]);
  throw new RestError(`${name} gave no token at ${path}.`, {
    code: 'not-airflow',
    status,
    next: 'Check that the URL is Airflow’s API server, and what stands before it.',
  });
}
