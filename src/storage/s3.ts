import { assertKey, assertPrefix } from './keys.ts';
import type { S3Options } from './options.ts';
import { connectS3, type S3ClientOptions } from './s3-client.ts';
import { listS3Objects } from './s3-list.ts';
import { readS3Object } from './s3-read.ts';
import { removeS3Objects, sweepUploads } from './s3-remove.ts';
import { UPLOAD_TUNING, type UploadTuning, writeS3Object } from './s3-upload.ts';
import type { Storage } from './storage.ts';

export interface S3Location {
  readonly bucket: string;
  /** Without a slash at either end; empty for the whole bucket. */
  readonly prefix: string;
  /** A server other than AWS's own, addressed by path; AWS_ENDPOINT_URL. */
  readonly endpoint?: string | undefined;
}

/** For tests and odd servers; the defaults are in s3-client.ts and s3-upload.ts. */
export interface S3Tuning extends Omit<S3ClientOptions, 'place'> {
  readonly upload?: UploadTuning;
}

/** Objects in an S3 bucket; region and credentials come from the AWS SDK's default chain. */
export async function createS3Storage(
  { bucket, prefix, endpoint }: S3Location,
  options: S3Options = {},
  { upload = UPLOAD_TUNING, ...tuning }: S3Tuning = {},
): Promise<Storage> {
  const root = prefix === '' ? '' : `${prefix}/`;
  const location = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`;
  const { expectedBucketOwner } = options;
  const connection = await connectS3({
    ...tuning,
    place: { location, bucket, endpoint, expectedBucketOwner },
  });
  const targetOf = (key: string): { bucket: string; key: string; objectKey: string } => {
    assertKey(key);
    return { bucket, key, objectKey: `${root}${key}` };
  };

  return {
    location,

    async write(key, body, writeOptions = {}) {
      const target = targetOf(key);
      writeOptions.signal?.throwIfAborted();
      await writeS3Object(connection, target, body, writeOptions, options, upload);
    },

    async read(key, readOptions = {}) {
      const target = targetOf(key);
      readOptions.signal?.throwIfAborted();
      return readS3Object(connection, target, readOptions);
    },

    async *list(listPrefix, signal) {
      assertPrefix(listPrefix);
      yield* listS3Objects(connection, root, listPrefix, signal);
    },

    async remove(keys, signal) {
      const objectKeys = new Set(keys.map((key) => targetOf(key).objectKey));
      await removeS3Objects(connection, [...objectKeys], signal);
    },

    sweep: (before, sweepOptions = {}) => sweepUploads(connection, root, before, sweepOptions),

    close() {
      connection.close();
      return Promise.resolve();
    },
  };
}
