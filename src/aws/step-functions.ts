import type * as Sfn from '@aws-sdk/client-sfn';
import { LifeboatError, toError } from '../errors.ts';

/** Of SendTaskSuccess and SendTaskFailure: https://docs.aws.amazon.com/step-functions/latest/apireference/ */
const LIMITS = { outputBytes: 262_144, errorLength: 256, causeLength: 32_768 } as const;

/** Step Functions closed the token, or never knew it: nothing that is sent for it will arrive any more. */
const CLOSED: readonly string[] = ['TaskTimedOut', 'TaskDoesNotExist', 'InvalidToken'];

/** Milliseconds; a dead endpoint is an error within 30 s. */
const CONNECT_TIMEOUT = 4_000;
const ANSWER_TIMEOUT = 8_000;
/** Throttling, 5xx and broken connections are tried again by the SDK; nothing else is. */
const ATTEMPTS = 3;

/** `told`: it arrived. Else the name of the error that says that nobody waits. */
export type Told = 'told' | { readonly closed: string };

/** One task of a state machine that waits for its token. */
export interface WaitingTask {
  heartbeat(signal?: AbortSignal): Promise<Told>;
  success(output: string): Promise<Told>;
  failure(error: string, cause: string): Promise<Told>;
  close(): void;
}

/** Nothing of what this throws quotes the token. The SDK reads region, credentials and AWS_ENDPOINT_URL_SFN itself. */
export async function openWaitingTask(taskToken: string): Promise<WaitingTask> {
  // Loaded here: most commands have no token, and the SDK takes long.
  const sfn = await import('@aws-sdk/client-sfn');
  const client = new sfn.SFNClient({
    maxAttempts: ATTEMPTS,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT,
      requestTimeout: ANSWER_TIMEOUT,
      throwOnRequestTimeout: true,
    },
  });
  const tell = async (what: string, send: () => Promise<unknown>): Promise<Told> => {
    try {
      await send();
      return 'told';
    } catch (thrown) {
      return outcomeOf(what, thrown);
    }
  };
  return {
    heartbeat: (abortSignal) =>
      tell('SendTaskHeartbeat', () =>
        client.send(new sfn.SendTaskHeartbeatCommand({ taskToken }), abortSignal && { abortSignal }),
      ),
    success: (output) =>
      tell('SendTaskSuccess', () => client.send(new sfn.SendTaskSuccessCommand({ taskToken, output }))),
    failure: (error, cause) =>
      tell('SendTaskFailure', () =>
        client.send(
          new sfn.SendTaskFailureCommand({
            taskToken,
            error: error.slice(0, LIMITS.errorLength),
            cause: cause.slice(0, LIMITS.causeLength),
          }),
        ),
      ),
    close: () => {
      client.destroy();
    },
  };
}

type Failure = Error & Partial<Pick<Sfn.SFNServiceException, '$metadata'>> & { readonly code?: unknown };

function outcomeOf(what: string, thrown: unknown): Told {
  const error: Failure = toError(thrown);
  if (CLOSED.includes(error.name)) {
    // The first try may have arrived and its answer got lost: then the token is closed because it was told.
    const retried = what !== 'SendTaskHeartbeat' && (error.$metadata?.attempts ?? 1) > 1;
    return retried && error.name === 'TaskTimedOut' ? 'told' : { closed: error.name };
  }
  throw new LifeboatError('failed', `Step Functions did not take ${what}: ${reasonOf(error)}.`, {
    next: 'Check AWS_REGION, the credentials, the rights states:SendTaskHeartbeat, states:SendTaskSuccess and states:SendTaskFailure, and in a private network the endpoint com.amazonaws.REGION.states.',
    details: { code: codeOf(error) },
  });
}

const REASONS: Readonly<Record<string, string>> = {
  AccessDeniedException: 'access is denied',
  CredentialsProviderError: 'no AWS credentials were found',
  ExpiredTokenException: 'the AWS credentials have expired',
  UnrecognizedClientException: 'the AWS credentials are not valid',
  ThrottlingException: 'too many requests',
  TimeoutError: 'no answer',
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'its host is not known',
};

function codeOf(error: Failure): string {
  return typeof error.code === 'string' ? error.code : error.name;
}

/** Never the SDK's own message, and never the error as a cause: both may quote what was sent. */
function reasonOf(error: Failure): string {
  if (error.message === 'Region is missing') return 'no AWS region is configured';
  const code = codeOf(error);
  return REASONS[code] ?? code;
}

/**
 * The summary as text that Step Functions takes: of fields that make it too long the longest are left out first, and
 * named in `cut`.
 */
export function fitting(
  fields: Readonly<Record<string, unknown>>,
  into: (summary: Readonly<Record<string, unknown>>) => string,
  limitBytes: number = LIMITS.outputBytes,
): string {
  const left = new Map(Object.entries(fields));
  const cut: string[] = [];
  for (;;) {
    const text = into({ ...Object.fromEntries(left), ...(cut.length === 0 ? {} : { cut }) });
    if (Buffer.byteLength(text) <= limitBytes || left.size === 0) return text;
    const [longest] = [...left].reduce((one, other) => (sizeOf(other[1]) > sizeOf(one[1]) ? other : one));
    left.delete(longest);
    cut.push(longest);
  }
}

/** The cause of a failure is counted in characters; bytes are never fewer. */
export const CAUSE_LIMIT: number = LIMITS.causeLength;

function sizeOf(value: unknown): number {
  return (JSON.stringify(value) as string | undefined)?.length ?? 0;
}
