/** Options of the S3 driver that a user sets by flags; all others come from the AWS SDK's default chain. */
export interface S3Options {
  /** Server-side encryption: AES256 or aws:kms. */
  readonly sse?: 'AES256' | 'aws:kms';
  readonly kmsKeyId?: string;
  readonly storageClass?: string;
  /** 12-digit account id that must own the bucket; a request to any other owner's bucket is refused by S3. */
  readonly expectedBucketOwner?: string;
}
