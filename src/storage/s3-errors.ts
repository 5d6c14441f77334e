import { LifeboatError, ObjectNotFoundError, toError } from '../errors.ts';
import { TransientStorageError } from './retry.ts';
import { rangeBeyondEnd } from './range.ts';

/** What a request was about, for the message of its error. */
export interface S3Request {
  /** With the verb first: 'write backups/x/manifest.json'. */
  readonly doing: string;
  readonly key?: string;
  readonly rangeStart?: number;
}

export interface S3Place {
  /** s3://bucket/prefix */
  readonly location: string;
  readonly bucket: string;
  readonly endpoint: string | undefined;
  readonly expectedBucketOwner: string | undefined;
}

/** The parts of an SDK error that are read here. */
interface S3Failure {
  readonly name: string;
  readonly message: string;
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly region: string | undefined;
  readonly requestId: string | undefined;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; the rest are names the SDK or Node give. */
const TRANSIENT = new Set([
  ...['InternalError', 'ServiceUnavailable', 'SlowDown', 'OperationAborted', 'RequestTimeout', 'BadDigest'],
  ...['Throttling', 'ThrottlingException', 'TooManyRequests', 'RequestLimitExceeded', 'TimeoutError'],
  // The SDK corrects its clock from the answer, so the next attempt is signed with the server's time.
  ...['RequestTimeTooSkewed', 'RequestExpired'],
]);
const NETWORK = new Set([
  ...['ECONNRESET', 'ECONNREFUSED', 'ETIMEDOUT', 'EPIPE', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH'],
  ...['ERR_STREAM_PREMATURE_CLOSE', 'ECONNABORTED', 'ENOTFOUND'],
]);
const CREDENTIALS = new Set(['CredentialsProviderError', 'TokenProviderError', 'ProviderError']);
const EXPIRED = new Set(['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'InvalidToken']);
const WRONG_KEY = new Set(['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'AuthorizationHeaderMalformed']);
const WRONG_REGION = new Set([
  'PermanentRedirect',
  'IllegalLocationConstraintException',
  'TemporaryRedirect',
]);
const PERMISSIONS =
  's3:ListBucket, s3:ListBucketMultipartUploads on the bucket; s3:GetObject, s3:PutObject, s3:DeleteObject, ' +
  's3:AbortMultipartUpload on its objects; with a KMS key kms:GenerateDataKey and kms:Decrypt';

/** Any error of the SDK as one sentence and its next step; LifeboatErrors pass unchanged. */
export function s3Error(place: S3Place, request: S3Request, thrown: unknown): LifeboatError {
  if (thrown instanceof LifeboatError) return thrown;
  const failure = readFailure(thrown);
  return known(place, request, failure) ?? unknown(place, request, failure);
}

export function isConflict(thrown: unknown): boolean {
  const { name, status } = readFailure(thrown);
  return name === 'PreconditionFailed' || status === 412;
}

export function hasName(thrown: unknown, name: string): boolean {
  return readFailure(thrown).name === name;
}

function known(place: S3Place, request: S3Request, failure: S3Failure): LifeboatError | undefined {
  const { name, status, code } = failure;
  const fail = (kind: 'failed' | 'usage', why: string, next: string): LifeboatError =>
    new LifeboatError(kind, `Cannot ${request.doing} in ${place.location}: ${why}.`, options(failure, next));

  if (name === 'NoSuchBucket' || (name === 'NotFound' && request.key === undefined)) {
    return fail(
      'usage',
      `the bucket ${place.bucket} does not exist`,
      'Create the bucket, or correct --storage.',
    );
  }
  if (request.key !== undefined && (name === 'NoSuchKey' || (name === 'NotFound' && status === 404))) {
    return new ObjectNotFoundError(request.key, place.location, slim(failure));
  }
  if (request.key !== undefined && (name === 'InvalidRange' || status === 416)) {
    return rangeBeyondEnd(request.key, request.rangeStart ?? 0, slim(failure));
  }
  if (request.rangeStart !== undefined && status === 412) {
    return fail('failed', 'the object was replaced while it was read', 'Run it again.');
  }
  if (EXPIRED.has(name)) {
    return fail(
      'failed',
      'the AWS credentials have expired or are invalid',
      'Renew the credentials, then run it again.',
    );
  }
  if (CREDENTIALS.has(name)) {
    return fail(
      'usage',
      'no AWS credentials were found',
      'Give credentials the way the AWS SDK finds them: environment, profile, or the role of the machine.',
    );
  }
  if (WRONG_REGION.has(name) || status === 301) {
    const region = failure.region ?? "the bucket's region";
    return fail('usage', 'the bucket is in another region', `Set AWS_REGION to ${region}.`);
  }
  if (WRONG_KEY.has(name)) {
    return fail(
      'failed',
      `the server refused the AWS credentials (${name})`,
      'Check the access key, its secret, the region and the clock of this machine.',
    );
  }
  if (name === 'AccessDenied' || status === 403) {
    return fail('failed', denied(place, failure), deniedNext(place));
  }
  if (
    TRANSIENT.has(name) ||
    NETWORK.has(code ?? name) ||
    (status !== undefined && (status >= 500 || status === 429))
  ) {
    return transient(place, request, failure);
  }
  return undefined;
}

function denied(place: S3Place, failure: S3Failure): string {
  const owner = place.expectedBucketOwner;
  const whose =
    owner === undefined ? '' : `, or the bucket is not owned by account ${owner} (--s3-expected-owner)`;
  return `access denied${failure.message === '' || failure.name === 'Unknown' ? '' : ` (${sentence(failure.message)})`}${whose}`;
}

function deniedNext(place: S3Place): string {
  const owner =
    place.expectedBucketOwner === undefined ? '' : ' Check the account id of --s3-expected-owner, too.';
  return `Allow these actions to the credentials in use: ${PERMISSIONS}.${owner}`;
}

function transient(place: S3Place, request: S3Request, failure: S3Failure): LifeboatError {
  const where = place.endpoint ?? 'S3';
  const reached =
    failure.status === undefined ? `${where} cannot be reached` : `${where} answered ${failure.status}`;
  return new TransientStorageError(
    `Cannot ${request.doing} in ${place.location}: ${reached} (${failure.code ?? failure.name}).`,
    options(
      failure,
      failure.status === undefined
        ? 'Check the network, the endpoint (AWS_ENDPOINT_URL), the region and, in a private subnet, the S3 endpoint of the VPC.'
        : 'Wait a little, then run it again.',
    ),
  );
}

function unknown(place: S3Place, request: S3Request, failure: S3Failure): LifeboatError {
  const said = failure.message === '' ? failure.name : `${failure.name}: ${sentence(failure.message)}`;
  return new LifeboatError(
    'failed',
    `Cannot ${request.doing} in ${place.location}: ${said}.`,
    options(failure),
  );
}

function options(failure: S3Failure, next?: string): ConstructorParameters<typeof LifeboatError>[2] {
  const { name, status, requestId } = failure;
  return {
    ...(next === undefined ? {} : { next }),
    details: { name, status, requestId },
    cause: slim(failure),
  };
}

/** SDK errors carry the whole answer: the string that was signed, the session token, headers. None of it may travel. */
function slim({ name, message, code }: S3Failure): Error {
  return Object.assign(new Error(message), { name, ...(code === undefined ? {} : { code }) });
}

function sentence(message: string): string {
  return message.trim().replace(/\.$/, '');
}

function readFailure(thrown: unknown): S3Failure {
  const error = toError(thrown) as Error & { code?: unknown; $metadata?: unknown; $response?: unknown };
  const metadata = record(error.$metadata);
  const headers = record(record(error.$response).headers);
  return {
    name: error.name,
    message: error.message,
    code: text(error.code) ?? innerCode(error),
    status: typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined,
    requestId: text(metadata.requestId),
    region: text(headers['x-amz-bucket-region']),
  };
}

/** A host with several addresses fails with an AggregateError, whose parts know why. */
function innerCode(error: Error): string | undefined {
  return error instanceof AggregateError ? text(record(error.errors[0]).code) : undefined;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
