import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LifeboatError } from '../errors.ts';
import { assertKey } from './keys.ts';
import { createLocalStorage } from './local.ts';
import { createMemoryStorage } from './memory.ts';
import type { S3Options } from './options.ts';
import type { Storage } from './storage.ts';

export interface OpenStorageOptions {
  /** What relative directories are relative to; the working directory when absent. */
  readonly cwd?: string;
  readonly s3?: S3Options;
  /** Read here: AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL. The AWS SDK reads its own variables from the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const FORMS = 'Use a directory (./dir, /dir or file:///dir) or s3://bucket/prefix.';
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]*):/;

/** Opens the storage that a URL names. Nothing is created or contacted yet: the first operation does that. */
export async function openStorage(url: string, options: OpenStorageOptions = {}): Promise<Storage> {
  const scheme = SCHEME.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      return createLocalStorage(directoryOf(url, options.cwd));
    case 'file':
      return createLocalStorage(fileUrlPath(url));
    case 's3':
      return openS3(url, options);
    case 'memory':
      return createMemoryStorage();
    default:
      throw usage(`The storage scheme ${scheme}: is not known.`);
  }
}

function directoryOf(path: string, cwd: string | undefined): string {
  if (path.trim() === '') throw usage('The storage is empty.');
  if (path.includes('\0')) throw usage('The storage has a NUL character.');
  // A shell would have put the home directory in its place; from a variable or a file it comes as it is written.
  if (path === '~' || path.startsWith('~/')) {
    throw usage("The storage begins with '~', which only a shell resolves.");
  }
  return cwd === undefined ? resolve(path) : resolve(cwd, path);
}

function fileUrlPath(url: string): string {
  try {
    const parsed = new URL(url);
    // file:dir and file://dir/x look relative; what URL makes of them is not what was meant.
    if (!url.slice('file:'.length).startsWith('///')) throw new Error('not absolute');
    return resolve(fileURLToPath(parsed));
  } catch (cause) {
    throw usage('The file: URL of the storage is not an absolute path on this machine.', cause);
  }
}

async function openS3(url: string, { s3, env = {} }: OpenStorageOptions): Promise<Storage> {
  const match = /^s3:\/\/([^/]*)(?:\/(.*))?$/i.exec(url);
  const bucket = match?.[1] ?? '';
  if (bucket === '') throw usage('The s3: URL of the storage names no bucket.');
  // The text is not repeated: what stands before an '@' may be a password.
  if (bucket.includes('@')) throw usage('The s3: URL of the storage holds credentials, which it must not.');
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}$/.test(bucket)) {
    throw usage(`The bucket name ${bucket} is not valid.`);
  }
  const prefix = (match?.[2] ?? '').replace(/^\/+|\/+$/g, '');
  if (prefix !== '') assertS3Prefix(prefix);
  const endpoint = nonEmpty(env.AWS_ENDPOINT_URL_S3) ?? nonEmpty(env.AWS_ENDPOINT_URL);
  if (endpoint !== undefined && !URL.canParse(endpoint)) throw usage('AWS_ENDPOINT_URL is not a URL.');
  // The AWS SDK takes a quarter of a second to load, which a command on a directory should not pay.
  const { createS3Storage } = await import('./s3.ts');
  return createS3Storage({ bucket, prefix, endpoint }, s3);
}

/** The SDK takes an empty variable for one that is not set. */
function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

function assertS3Prefix(prefix: string): void {
  try {
    assertKey(prefix);
  } catch (cause) {
    throw usage(`The prefix ${JSON.stringify(prefix)} of the s3: URL is not valid.`, cause);
  }
}

function usage(message: string, cause?: unknown): LifeboatError {
  return new LifeboatError('usage', message, { next: FORMS, cause });
}
