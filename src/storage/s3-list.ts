import { ListObjectsV2Command, type _Object as ListedObject } from '@aws-sdk/client-s3';
import { LifeboatError } from '../errors.ts';
import { compareKeys } from './keys.ts';
import type { S3Connection } from './s3-client.ts';
import type { StoredObject } from './storage.ts';

/** Every object below the prefix of the storage and the given one, ordered; or an error, never a part of them. */
export async function* listS3Objects(
  connection: S3Connection,
  root: string,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<StoredObject, void, undefined> {
  let previous: string | undefined;
  for await (const object of listedObjects(connection, `${root}${prefix}`, signal)) {
    const { Key: key, Size: bytes, LastModified: modified } = object;
    if (key === undefined || bytes === undefined || modified === undefined) {
      throw incomplete(connection, 'an entry without its key, size or time');
    }
    // Directory buckets (S3 Express) list in no order; who merges or searches listings would miss objects.
    if (previous !== undefined && compareKeys(previous, key) >= 0) {
      throw incomplete(connection, 'entries that are not ordered by key');
    }
    previous = key;
    // Consoles show "folders" by empty objects whose key ends in '/': no write of this tool can have made them.
    if (!key.endsWith('/')) yield { key: key.slice(root.length), bytes, modified };
  }
}

async function* listedObjects(
  connection: S3Connection,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ListedObject, void, undefined> {
  const seen = new Set<string>();
  let token: string | undefined;
  for (;;) {
    const input = {
      Bucket: connection.place.bucket,
      Prefix: prefix,
      ...(token === undefined ? {} : { ContinuationToken: token }),
    };
    const page = await connection.request(
      (client, abortSignal) => client.send(new ListObjectsV2Command(input), { abortSignal }),
      { doing: 'list objects', signal },
    );
    yield* page.Contents ?? [];
    if (page.IsTruncated !== true) return;
    token = assertNewToken(connection, page.NextContinuationToken, seen);
  }
}

/** A listing that goes on needs a way on, and one not taken before: else it ends too early, or never. */
export function assertNewToken(
  connection: S3Connection,
  token: string | undefined,
  seen: Set<string>,
): string {
  if (token === undefined || token === '') {
    throw incomplete(connection, 'a page that is cut off without a token');
  }
  if (seen.has(token)) throw incomplete(connection, 'the same page twice');
  seen.add(token);
  return token;
}

function incomplete({ place }: S3Connection, what: string): LifeboatError {
  return new LifeboatError('failed', `The listing of ${place.location} cannot be trusted: it has ${what}.`, {
    next: 'Run lifeboat doctor: this server does not keep to the S3 protocol.',
  });
}
