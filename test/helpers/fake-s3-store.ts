import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';

/** Bytes on disk, so that a test can look at the memory of the client, which lives in the same process. */
export interface StoredBlob {
  readonly file: string;
  readonly bytes: number;
  readonly etag: string;
  /** As S3 writes it: big-endian, base64. */
  readonly crc32: string;
}

export interface FakeObject {
  readonly blobs: readonly StoredBlob[];
  readonly bytes: number;
  readonly etag: string;
  readonly modified: Date;
  /** Response headers that repeat what the write said: metadata, encryption, storage class. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface FakeUpload {
  readonly id: string;
  readonly key: string;
  readonly initiated: Date;
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: Map<number, StoredBlob>;
}

export interface FakeStore {
  readonly objects: Map<string, FakeObject>;
  readonly uploads: Map<string, FakeUpload>;
  /** Rejects when the client breaks off; then nothing was stored. */
  saveBody(request: IncomingMessage): Promise<StoredBlob>;
  stream(object: FakeObject, start: number, length: number): AsyncGenerator<Buffer, void, undefined>;
  close(): Promise<void>;
}

export async function createFakeStore(): Promise<FakeStore> {
  const directory = await mkdtemp(join(tmpdir(), 'lifeboat-fake-s3-'));
  return {
    objects: new Map(),
    uploads: new Map(),

    async saveBody(request) {
      const file = join(directory, randomUUID());
      const md5 = createHash('md5');
      let sum = 0;
      let bytes = 0;
      await pipeline(
        request,
        async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            md5.update(chunk);
            sum = crc32(chunk, sum);
            bytes += chunk.length;
            yield chunk;
          }
        },
        createWriteStream(file),
      );
      const sumBytes = Buffer.alloc(4);
      sumBytes.writeUInt32BE(sum);
      return { file, bytes, etag: `"${md5.digest('hex')}"`, crc32: sumBytes.toString('base64') };
    },

    async *stream({ blobs }, start, length) {
      let skip = start;
      let left = length;
      for (const { file, bytes } of blobs) {
        const take = Math.min(bytes - skip, left);
        if (take > 0) yield* createReadStream(file, { start: skip, end: skip + take - 1 });
        left -= Math.max(take, 0);
        skip = Math.max(skip - bytes, 0);
      }
    },

    close: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Elements and text; an array repeats its element. */
export type Xml = string | number | boolean | { readonly [element: string]: Xml | readonly Xml[] };

export function toXml(content: Xml): string {
  if (typeof content !== 'object') {
    return String(content).replace(/[&<>"\r\n]/g, (character) => `&#${character.charCodeAt(0)};`);
  }
  return Object.entries(content)
    .flatMap(([element, value]) => (isList(value) ? value : [value]).map((one) => [element, one] as const))
    .map(([element, one]) => `<${element}>${toXml(one)}</${element}>`)
    .join('');
}

/** The texts of all elements of a name, in order; enough for the two documents that clients send here. */
export function textsOf(document: string, element: string): string[] {
  return [...document.matchAll(new RegExp(`<${element}>([^<]*)</${element}>`, 'g'))].map(([, text = '']) =>
    text
      .replace(/&#x([0-9a-f]+);/gi, (_all, code: string) => String.fromCodePoint(Number.parseInt(code, 16)))
      .replace(/&#(\d+);/g, (_all, code: string) => String.fromCodePoint(Number(code)))
      .replace(/&lt;/g, '<')
      .replace(/&gt;/g, '>')
      .replace(/&quot;/g, '"')
      .replace(/&apos;/g, "'")
      .replace(/&amp;/g, '&'),
  );
}

function isList(value: Xml | readonly Xml[]): value is readonly Xml[] {
  return Array.isArray(value);
}
