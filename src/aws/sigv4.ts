import type { AwsCredentialIdentityProvider } from '@smithy/types';
import { LifeboatError, toError } from '../errors.ts';

export interface UnsignedRequest {
  readonly method: string;
  /** Where it goes: its host is signed. */
  readonly origin: URL;
  /** Percent-encoded. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface SignerOptions {
  /** The service's signing name, which need not be part of its host. */
  readonly service: string;
  readonly region: string;
  readonly credentials: AwsCredentialIdentityProvider;
  /** Absent: the signer's own clock. */
  readonly now?: (() => Date) | undefined;
}

/** The headers to send, signature and host included. */
export type Signer = (request: UnsignedRequest) => Promise<Readonly<Record<string, string>>>;

/**
 * AWS Signature Version 4 for services that no client at hand speaks to.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
 */
export async function createSigner(options: SignerOptions): Promise<Signer> {
  // Loaded here: most commands sign nothing by hand.
  const { SignatureV4 } = await import('@smithy/signature-v4');
  const { Sha256 } = await import('@smithy/core/checksum');
  const { service, region, credentials, now } = options;
  // applyChecksum would sign an x-amz-content-sha256 header as well, which botocore does only for S3.
  const signer = new SignatureV4({ service, region, credentials, sha256: Sha256, applyChecksum: false });
  return async ({ method, origin, path, headers, body }) => {
    const { protocol, hostname, host } = origin;
    const request = { method, protocol, hostname, path, query: {}, headers: { ...headers, host }, body };
    try {
      const signed = await signer.sign(request, now === undefined ? {} : { signingDate: now() });
      return signed.headers;
    } catch (thrown) {
      throw unsigned(service, thrown);
    }
  };
}

/** Never the provider's own message: it may quote what it read. */
function unsigned(service: string, thrown: unknown): LifeboatError {
  const { name } = toError(thrown);
  const reason = name === 'CredentialsProviderError' ? 'no AWS credentials were found' : name;
  return new LifeboatError('failed', `The request to ${service} cannot be signed: ${reason}.`, {
    next: 'Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role.',
    details: { code: name },
  });
}

/** Environment, shared files, web identity, container and instance: what every AWS SDK looks at, in that order. */
export async function defaultCredentials(): Promise<AwsCredentialIdentityProvider> {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
  return defaultProvider();
}
