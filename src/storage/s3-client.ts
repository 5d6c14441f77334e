import { S3Client } from '@aws-sdk/client-s3';
import { LifeboatError, toError } from '../errors.ts';
import type { RetryPolicy } from '../retry.ts';
import { retrying } from './retry.ts';
import { s3Error, type S3Place, type S3Request } from './s3-errors.ts';

/** Milliseconds. A dead endpoint must be an error within 30 s, the second attempt of a silent one included. */
const CONNECT_TIMEOUT = 5_000;
/** No byte in either direction: ends uploads and downloads that hang in the middle. */
const IDLE_TIMEOUT = 20_000;
/** Until the headers of an answer to a request that carries little. */
const ANSWER_TIMEOUT = 12_000;
/** S3 joins the parts before it answers; for thousands of them that takes minutes. */
const COMPLETE_TIMEOUT = 600_000;

const RETRY: RetryPolicy = { attempts: 6, baseDelay: 200, maxDelay: 5_000, window: 15_000 };
/** Once the endpoint has answered, it exists, and a backup of an hour should outlast a minute without it. */
const RETRY_CONTACTED: RetryPolicy = { ...RETRY, attempts: 12, window: 60_000 };

export interface S3ClientOptions {
  readonly place: S3Place;
  readonly retry?: RetryPolicy;
  readonly answerTimeout?: number;
  readonly idleTimeout?: number;
}

export interface SendOptions extends S3Request {
  readonly signal?: AbortSignal | undefined;
  /** `slow`: an answer may take minutes. `body`: sending may take long, only idleness counts. */
  readonly pace?: 'quick' | 'body' | 'slow';
  /** Errors that this caller wants as the SDK gave them. */
  readonly raw?: (thrown: unknown) => boolean;
}

/** One request to S3 given what to send it with; both clients share configuration and connections' limits. */
export type Sender<Output> = (client: S3Client, signal: AbortSignal) => Promise<Output>;

export interface S3Connection {
  readonly place: S3Place;
  readonly client: S3Client;
  readonly idleTimeout: number;
  /** Sends a request that can be sent again, until it is answered or the retry policy gives up. */
  request<Output>(send: Sender<Output>, options: SendOptions): Promise<Output>;
  close(): void;
}

export async function connectS3(options: S3ClientOptions): Promise<S3Connection> {
  const { place, idleTimeout = IDLE_TIMEOUT, answerTimeout = ANSWER_TIMEOUT } = options;
  const client = createClient(place, idleTimeout);
  const patient = createClient(place, COMPLETE_TIMEOUT);
  await assertRegion(client, place);
  let contacted = false;

  return {
    place,
    client,
    idleTimeout,
    request(send, { signal, pace = 'quick', raw = () => false, ...request }) {
      const policy = options.retry ?? (contacted ? RETRY_CONTACTED : RETRY);
      const attempt = async (): Promise<Awaited<ReturnType<typeof send>>> => {
        const deadline = deadlineOf(signal, pace === 'quick' ? answerTimeout : undefined);
        try {
          const output = await send(pace === 'slow' ? patient : client, deadline.signal);
          contacted = true;
          return output;
        } catch (thrown) {
          signal?.throwIfAborted();
          if (raw(thrown)) throw toError(thrown);
          throw s3Error(place, request, deadline.passed() ? timeoutError(answerTimeout) : thrown);
        } finally {
          deadline.clear();
        }
      };
      return retrying(attempt, policy, { signal });
    },
    close() {
      client.destroy();
      patient.destroy();
    },
  };
}

function createClient(place: S3Place, idleTimeout: number): S3Client {
  const client = new S3Client({
    ...(place.endpoint === undefined ? {} : { endpoint: place.endpoint, forcePathStyle: true }),
    // Retried by retrying() above, which knows how long a user may be kept waiting; the SDK's own would multiply it.
    maxAttempts: 1,
    // CRC32 of every request's body: S3 refuses what was damaged on its way. What comes back is checked by the
    // SHA-256 in the manifest, which also sees damage at rest; a second sum of the same bytes would only cost time.
    requestChecksumCalculation: 'WHEN_SUPPORTED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // With Expect: 100-continue the SDK opens a new connection for every part.
    expectContinueHeader: false,
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT, socketTimeout: idleTimeout },
  });
  const owner = place.expectedBucketOwner;
  if (owner !== undefined) {
    // As a middleware, so that no request is without it.
    client.middlewareStack.add(
      (next) => (args) => next({ ...args, input: { ...args.input, ExpectedBucketOwner: owner } }),
      {
        step: 'initialize',
        name: 'expectedBucketOwner',
      },
    );
  }
  return client;
}

async function assertRegion(client: S3Client, place: S3Place): Promise<void> {
  try {
    await client.config.region();
  } catch (thrown) {
    throw new LifeboatError('usage', `No AWS region is configured for ${place.location}.`, {
      next: "Set AWS_REGION to the bucket's region (us-east-1 for most servers of your own), or a region in the AWS profile.",
      cause: toError(thrown),
    });
  }
}

/**
 * An abort signal of one attempt: the caller's, and a time limit that clear() lifts when the headers are there. Not
 * AbortSignal.any: it would leave a listener on the caller's signal for every request of a long backup.
 */
function deadlineOf(
  signal: AbortSignal | undefined,
  milliseconds: number | undefined,
): { signal: AbortSignal; passed(): boolean; clear(): void } {
  const controller = new AbortController();
  const onAbort = (): void => {
    controller.abort(toError(signal?.reason));
  };
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  let passed = false;
  const timer =
    milliseconds === undefined
      ? undefined
      : setTimeout(() => {
          passed = true;
          controller.abort();
        }, milliseconds);
  return {
    signal: controller.signal,
    passed: () => passed,
    clear() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}

function timeoutError(milliseconds: number): Error {
  return Object.assign(new Error(`No answer within ${milliseconds} ms.`), { name: 'TimeoutError' });
}
