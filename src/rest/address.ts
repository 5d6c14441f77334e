import { LifeboatError } from '../errors.ts';
import type { RestCredentials } from './auth.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where Airflow's API is, and how to get in. */
export type RestAddress =
  | { readonly kind: 'http'; readonly url: URL; readonly credentials: RestCredentials }
  | {
      readonly kind: 'mwaa';
      readonly environment: string;
      readonly region: string;
      /** invoke: InvokeRestApi. web: the web server itself, with a token of CreateWebLoginToken. */
      readonly via: 'invoke' | 'web';
      /** Instead of https://env.airflow.REGION.amazonaws.com. */
      readonly endpoint?: URL;
    };

const HTTP_FORM = 'Write it like https://airflow.example.com, with the path before /api if there is one.';
const MWAA_FORM = 'Write it like mwaa://NAME?region=eu-west-1, with &via=web for its web login.';

/** True of what parseRestAddress reads; everything else is a database's. */
export function isRestUrl(url: string): boolean {
  return /^\s*(https?|mwaa):/i.test(url);
}

/**
 * `https://…` or `mwaa://NAME?region=R`. Credentials of the first: LIFEBOAT_REST_TOKEN, else LIFEBOAT_REST_USER and
 * LIFEBOAT_REST_PASSWORD, which the URL may hold as well. Of the second: those of the AWS SDK. Throws
 * LifeboatError('usage') that never quotes the URL.
 */
export function parseRestAddress(text: string, env: Environment = {}): RestAddress {
  const url = text.trim();
  if (/^mwaa:/i.test(url)) return parseMwaa(url, env);
  return parseHttp(url, env);
}

function parseHttp(text: string, env: Environment): RestAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw usage('The URL of Airflow’s web server cannot be read.', HTTP_FORM);
  }
  if (url.search !== '' || url.hash !== '') {
    throw usage('The URL of Airflow’s web server has a query or a fragment.', HTTP_FORM);
  }
  const credentials = credentialsOf(url, env);
  url.username = '';
  url.password = '';
  return { kind: 'http', url, credentials };
}

function credentialsOf(url: URL, env: Environment): RestCredentials {
  // Of a variable that is set to nothing, the same is meant as of one that is not set.
  const [user, password] = [
    url.username === '' ? (env.LIFEBOAT_REST_USER ?? '') : decode(url.username),
    url.password === '' ? (env.LIFEBOAT_REST_PASSWORD ?? '') : decode(url.password),
  ];
  const token = env.LIFEBOAT_REST_TOKEN ?? '';
  // A user in the URL was written for this one; a token in a variable may be left from another.
  if (token !== '' && url.username === '') return { kind: 'token', token };
  if (user === '' && password === '') return { kind: 'none' };
  if (user === '') {
    throw usage('LIFEBOAT_REST_PASSWORD is set, and no user is named.', 'Set LIFEBOAT_REST_USER too.');
  }
  if (password === '') {
    throw usage(
      `The user ${user} of Airflow has no password.`,
      'Set LIFEBOAT_REST_PASSWORD, or LIFEBOAT_REST_TOKEN.',
    );
  }
  return { kind: 'password', user, password };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw usage(
      'User or password of the URL is not percent-encoded.',
      'Write % as %25, @ as %40, : as %3A, / as %2F.',
    );
  }
}

/** Of CreateEnvironment. */
const NAME = /^[a-zA-Z][0-9a-zA-Z_-]{0,79}$/;
const REGION = /^[a-z]{2}(-[a-z]+)+-\d$/;
const PARAMETERS: readonly string[] = ['region', 'via'];

function parseMwaa(text: string, env: Environment): RestAddress {
  // Not URL: it would read the name as a host, which has no capitals and no underscores.
  const [, rawName = '', query = ''] = /^mwaa:\/\/([^/?#]*)\/?(?:\?([^#]*))?$/i.exec(text) ?? [];
  const environment = decode(rawName);
  if (!NAME.test(environment)) throw usage('The mwaa:// URL names no environment.', MWAA_FORM);
  const parameters = new URLSearchParams(query);
  const stranger = [...parameters.keys()].find((name) => !PARAMETERS.includes(name));
  if (stranger !== undefined) throw usage(`The mwaa:// URL has an unknown parameter ${stranger}.`, MWAA_FORM);
  const region = parameters.get('region') ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? '';
  if (!REGION.test(region)) {
    throw usage(`No AWS region is named for mwaa://${environment}.`, `${MWAA_FORM} Or set AWS_REGION.`);
  }
  const via = parameters.get('via') ?? 'invoke';
  if (via !== 'invoke' && via !== 'web') throw usage('via of the mwaa:// URL is invoke or web.', MWAA_FORM);
  const endpoint = env.AWS_ENDPOINT_URL_MWAA ?? '';
  return {
    kind: 'mwaa',
    environment,
    region,
    via,
    ...(endpoint === '' ? {} : { endpoint: endpointUrl(endpoint) }),
  };
}

function endpointUrl(text: string): URL {
  if (URL.canParse(text) && /^https?:/.test(text)) return new URL(text);
  throw usage('AWS_ENDPOINT_URL_MWAA is not a URL.', 'Unset it, unless a test or a proxy needs it.');
}

function usage(message: string, next: string): LifeboatError {
  return new LifeboatError('usage', message, { next });
}
