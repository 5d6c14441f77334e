import { inject, vi } from 'vitest';
import type { S3Options } from '../../src/storage/options.ts';
import { createS3Storage, type S3Tuning } from '../../src/storage/s3.ts';
import type { Storage } from '../../src/storage/storage.ts';
import './global-setup.ts';

/** What the SDK's default chain and openStorage() read, also for child processes. */
export function serverEnvironment(): Record<string, string> {
  const { url, accessKey, secretKey } = inject('s3');
  return {
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    AWS_ENDPOINT_URL: url,
  };
}

export function useServerCredentials(): void {
  for (const [name, value] of Object.entries(serverEnvironment())) vi.stubEnv(name, value);
}

export function serverStorage(
  prefix: string,
  options: S3Options = {},
  tuning: S3Tuning = {},
): Promise<Storage> {
  const { url, bucket } = inject('s3');
  return createS3Storage({ bucket, prefix, endpoint: url }, options, tuning);
}
