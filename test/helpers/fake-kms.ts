import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a request asked for, without what it sent. */
export interface KmsCall {
  readonly action: string;
  readonly region: string;
  readonly context: unknown;
}

export interface FakeKms {
  /** Variables for a process or test that shall use it. */
  readonly env: Readonly<Record<string, string>>;
  readonly calls: readonly KmsCall[];
  /** Every body that went in either direction, for tests that look for what must not be there. */
  readonly traffic: readonly string[];
  /** Regions that answer with an error of the service (503). */
  readonly down: Set<string>;
  /** Actions that this role may not use. */
  readonly denied: Set<string>;
  close(): Promise<void>;
}

interface Body {
  readonly KeyId?: string;
  readonly Plaintext?: string;
  readonly CiphertextBlob?: string;
  readonly EncryptionContext?: Readonly<Record<string, string>>;
}

const ACCOUNT = '111122223333';

/**
 * KMS as far as sealing needs it, over HTTP: the JSON 1.1 protocol, keys by id, alias and ARN, the encryption context as
 * additional authenticated data, multi-Region keys. https://docs.aws.amazon.com/kms/latest/APIReference/
 *
 * @param keys key id → its alias without `alias/`; ids that begin with mrk- exist in every region, others in eu-west-1
 */
export async function startFakeKms(keys: Readonly<Record<string, string>>): Promise<FakeKms> {
  const material = new Map(Object.keys(keys).map((id) => [id, randomBytes(32)]));
  const calls: KmsCall[] = [];
  const traffic: string[] = [];
  const down = new Set<string>();
  const denied = new Set<string>();

  const find = (name: string, region: string): string => {
    const [, , , arnRegion = region] = name.startsWith('arn:') ? name.split(':') : [];
    const last = name.slice(name.lastIndexOf(':') + 1).replace(/^key\//, '');
    const id = last.startsWith('alias/')
      ? Object.keys(keys).find((one) => keys[one] === last.slice('alias/'.length))
      : last;
    const there = id !== undefined && material.has(id) && (id.startsWith('mrk-') || region === 'eu-west-1');
    if (!there || arnRegion !== region) throw new KmsError('NotFoundException');
    return id;
  };
  const answer = (action: string, body: Body, region: string): object => {
    if (denied.has(action)) throw new KmsError('AccessDeniedException');
    const id = find(body.KeyId ?? '', region);
    const key = material.get(id) ?? Buffer.alloc(32);
    const aad = Buffer.from(JSON.stringify(Object.entries(body.EncryptionContext ?? {}).sort()));
    const KeyId = `arn:aws:kms:${region}:${ACCOUNT}:key/${id}`;
    if (action === 'Encrypt') {
      const iv = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(aad);
      const text = Buffer.concat([
        cipher.update(Buffer.from(body.Plaintext ?? '', 'base64')),
        cipher.final(),
      ]);
      return { KeyId, CiphertextBlob: Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64') };
    }
    if (action !== 'Decrypt') throw new KmsError('UnknownOperationException');
    const blob = Buffer.from(body.CiphertextBlob ?? '', 'base64');
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, blob.subarray(0, 12)).setAAD(aad);
      decipher.setAuthTag(blob.subarray(12, 28));
      const text = Buffer.concat([decipher.update(blob.subarray(28)), decipher.final()]);
      return { KeyId, Plaintext: text.toString('base64') };
    } catch {
      throw new KmsError('InvalidCiphertextException');
    }
  };

  const server = createServer((request, response) => {
    void (async () => {
      const text = await bodyOf(request);
      const action = String(request.headers['x-amz-target']).replace('TrentService.', '');
      const region = /\/(\w+-\w+-\d)\/kms\//.exec(request.headers.authorization ?? '')?.[1] ?? '';
      const body = JSON.parse(text) as Body;
      calls.push({ action, region, context: body.EncryptionContext });
      let status = 200;
      let result: object;
      try {
        if (down.has(region)) throw new KmsError('DependencyTimeoutException', 503);
        result = answer(action, body, region);
      } catch (error) {
        if (!(error instanceof KmsError)) throw error;
        status = error.status;
        result = { __type: error.name, message: `sent: ${text}` };
      }
      traffic.push(text, JSON.stringify(result));
      response
        .writeHead(status, { 'content-type': 'application/x-amz-json-1.1' })
        .end(JSON.stringify(result));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    env: {
      AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${port}`,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test-secret-access-key',
    },
    calls,
    traffic,
    down,
    denied,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };
}

class KmsError extends Error {
  readonly status: number;
  constructor(name: string, status = 400) {
    super(name);
    this.name = name;
    this.status = status;
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
