import { parseExact } from './exact-json.ts';

export type RestMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Airflow's stable API: v1 of 2.x, v2 of 3.x. */
export type ApiVersion = 'v1' | 'v2';

export type QueryValue = string | number | boolean | readonly string[];

export interface RestRequest {
  readonly method: RestMethod;
  /** From the root of the API, without /api/vN; its segments are percent-encoded: /dags/a%20b/dagRuns. */
  readonly path: string;
  /** A list becomes a repeated parameter; what is undefined is left out. */
  readonly query?: Readonly<Record<string, QueryValue | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /**
   * Sending it twice does what sending it once does. Absent: every method but POST. What cannot be repeated is sent
   * again only when the first try certainly did not arrive.
   */
  readonly repeatable?: boolean;
  /** Numbers of the answer that JavaScript would write in another way come as ExactNumber. */
  readonly exactNumbers?: boolean;
}

/** What Airflow said to a request that it carried out. */
export interface RestAnswer {
  readonly status: number;
  /** The JSON, or the text of an answer that is none, or null of an empty one. */
  readonly body: unknown;
  /** Of the answer as it was received. */
  readonly bytes: number;
  /** The server's own wish, in milliseconds. */
  readonly retryAfterMs?: number;
}

export interface TransportLimits {
  /** Requests under way at once. */
  readonly concurrent: number;
  /** Requests started in a second; absent: as many as there are. */
  readonly perSecond?: number;
  /** Characters of a path. */
  readonly pathLength?: number;
  /** Bytes of an answer; what is longer never arrives. */
  readonly answerBytes?: number;
}

export interface SendOptions {
  readonly api: ApiVersion;
  /** Without credentials: to find out which API there is before it is known how to sign in to it. */
  readonly anonymous?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A way to Airflow's API. `send` makes one try: it resolves with an answer below 400 and throws a RestError of every
 * other, and when there is none. Who calls it paces, waits and tries again (client.ts).
 */
export interface Transport {
  /** For messages: the host, or mwaa://NAME. */
  readonly name: string;
  readonly limits: TransportLimits;
  send(request: RestRequest, options: SendOptions): Promise<RestAnswer>;
  close(): void;
}

export function isRepeatable({ method, repeatable }: RestRequest): boolean {
  return repeatable ?? method !== 'POST';
}

/** `?a=1&b=x&b=y`, or nothing. */
export function queryText(query: RestRequest['query'] = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    for (const one of typeof value === 'object' ? value : [String(value)]) parameters.append(name, one);
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** The JSON of an answer, or its text. */
export function parseBody(text: string, exactNumbers = false): unknown {
  if (text === '') return null;
  try {
    return exactNumbers ? parseExact(text) : (JSON.parse(text) as unknown);
  } catch {
    return text;
  }
}
