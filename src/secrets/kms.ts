import type * as Kms from '@aws-sdk/client-kms';
import type { Identity, Recipient, Stanza } from 'age-encryption';
import { LifeboatError, toError } from '../errors.ts';
import type { KmsKey } from './recipients.ts';

/** First word of the stanza: age's file key, wrapped by KMS. Its arguments are the key's ARN and region. */
const STANZA = 'airflow-lifeboat/awskms';
/** Key of the encryption context: a wrapped file key opens only for the backup it was made for (docs/secrets.md). */
const CONTEXT = 'airflow-lifeboat:backup';
const FILE_KEY_BYTES = 16;
/** Milliseconds; with two attempts a dead endpoint is an error within 30 s. */
const CONNECT_TIMEOUT = 4_000;
const ANSWER_TIMEOUT = 10_000;
const ATTEMPTS = 2;

/** Loaded when a KMS key is met: the SDK takes long, and most backups need none. */
async function withClient<T>(
  region: string | undefined,
  work: (kms: typeof Kms, client: Kms.KMSClient, region: string) => Promise<T>,
): Promise<T> {
  const kms = await import('@aws-sdk/client-kms');
  // The SDK reads AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL and credentials from the environment itself.
  const client = new kms.KMSClient({
    ...(region === undefined ? {} : { region }),
    maxAttempts: ATTEMPTS,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT,
      requestTimeout: ANSWER_TIMEOUT,
      throwOnRequestTimeout: true,
    },
  });
  try {
    return await work(kms, client, region ?? (await client.config.region()));
  } finally {
    client.destroy();
  }
}

/** age's file key wrapped by KMS Encrypt: https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html */
export function kmsRecipient({ key, region }: KmsKey, backupId: string): Recipient {
  return {
    wrapFileKey: async (fileKey) => {
      try {
        return await withClient(region, async ({ EncryptCommand }, client, used) => {
          const answer = await client.send(
            new EncryptCommand({
              KeyId: key,
              Plaintext: fileKey,
              EncryptionContext: { [CONTEXT]: backupId },
            }),
          );
          if (!answer.CiphertextBlob) throw new Error('KMS gave no ciphertext.');
          const { Stanza } = await import('age-encryption');
          return [new Stanza([STANZA, answer.KeyId ?? key, used], answer.CiphertextBlob)];
        });
      } catch (thrown) {
        throw new LifeboatError(
          'failed',
          `The KMS key ${key} cannot seal this backup: ${reasonOf(thrown)}.`,
          {
            next: 'Check the key, its region and AWS credentials; the role needs kms:Encrypt on the key.',
            details: { key, code: nameOf(thrown) },
            cause: toError(thrown),
          },
        );
      }
    },
  };
}

/** Opens what any KMS key wrapped for this backup, as long as KMS lets this role. */
export function kmsIdentity(backupId: string): Identity {
  return {
    unwrapFileKey: async (stanzas) => {
      const own = stanzas.filter(({ args }) => args[0] === STANZA);
      const failures: Failure[] = [];
      for (const stanza of own) {
        for (const place of placesOf(stanza)) {
          try {
            return await unwrap(stanza, place, backupId);
          } catch (thrown) {
            failures.push({ key: place.key, reason: reasonOf(thrown), code: nameOf(thrown), thrown });
          }
        }
      }
      if (failures.length === 0) return null;
      throw notOpened(failures);
    },
  };
}

interface Place {
  readonly key: string;
  readonly region: string | undefined;
}

/** A multi-Region key has the same material elsewhere: when its region is gone, the one that we are in may have it. */
function placesOf({ args }: Stanza): readonly Place[] {
  const [, key = '', region] = args;
  const recorded: Place = { key, region };
  return /[:/]mrk-[0-9a-f]+$/.test(key) ? [recorded, { key, region: undefined }] : [recorded];
}

async function unwrap(stanza: Stanza, { key, region }: Place, backupId: string): Promise<Uint8Array> {
  return withClient(region, async ({ DecryptCommand }, client, used) => {
    const answer = await client.send(
      new DecryptCommand({
        // Named, so that KMS uses no other key that this role may happen to decrypt with.
        KeyId: key.replace(/^(arn:[^:]+:kms:)[^:]+/, `$1${used}`),
        CiphertextBlob: stanza.body,
        EncryptionContext: { [CONTEXT]: backupId },
      }),
    );
    if (answer.Plaintext?.length !== FILE_KEY_BYTES) throw new Error('KMS gave no key of age.');
    return answer.Plaintext;
  });
}

interface Failure {
  readonly key: string;
  readonly reason: string;
  readonly code: string;
  readonly thrown: unknown;
}

function notOpened(failures: readonly Failure[]): LifeboatError {
  const refused = failures.some(({ thrown }) => isAnswer(thrown));
  return new LifeboatError(
    refused ? 'refused' : 'failed',
    `KMS does not open the sealed secrets: ${failures.map(({ key, reason }) => `${key}: ${reason}`).join('; ')}.`,
    {
      next: 'Check AWS credentials and the region; the role needs kms:Decrypt on one of these keys. Or give another recipient’s identity with --identity-file.',
      details: { keys: failures.map(({ key, code }) => ({ key, code })) },
      cause: toError(failures[0]?.thrown),
    },
  );
}

/** KMS answered and said no; everything else is a matter of reaching it. */
function isAnswer(thrown: unknown): boolean {
  return (thrown as { $fault?: unknown } | null)?.$fault === 'client';
}

function nameOf(thrown: unknown): string {
  const { code, name } = toError(thrown) as Error & { code?: unknown };
  return typeof code === 'string' ? code : name;
}

const REASONS: Readonly<Record<string, string>> = {
  AccessDeniedException: 'access is denied',
  NotFoundException: 'there is no such key in this region',
  DisabledException: 'the key is disabled',
  KMSInvalidStateException: 'the key is about to be deleted, or not usable',
  InvalidKeyUsageException: 'the key is not one for encryption',
  InvalidCiphertextException: 'it was not wrapped for this backup, or is damaged',
  IncorrectKeyException: 'it was wrapped by another key',
  CredentialsProviderError: 'no AWS credentials were found',
  ExpiredTokenException: 'the AWS credentials have expired',
  UnrecognizedClientException: 'the AWS credentials are not valid',
  TimeoutError: 'no answer',
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'its host is not known',
};

/** Never the SDK's own message: it may quote what was sent. */
function reasonOf(thrown: unknown): string {
  const name = nameOf(thrown);
  if (toError(thrown).message === 'Region is missing') return 'no AWS region is configured';
  return REASONS[name] ?? name;
}
