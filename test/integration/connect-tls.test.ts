import { chown, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withClient } from '../../src/db/connect.ts';
import { parseAirflowUrl } from '../../src/db/url.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/demo/embedded-postgres.ts';
import { makeCertificate } from '../helpers/certificates.ts';

/** Each role may come in one way only; the last line is for everybody else. */
const PG_HBA = `
hostssl   all tls_only   all scram-sha-256
host      all tls_only   all reject
hostnossl all plain_only all scram-sha-256
host      all plain_only all reject
hostssl   all by_cert    all cert
host      all all        all scram-sha-256
`;
const SCRAM_FOR_ALL = 'host all all all scram-sha-256\n';

const authority = makeCertificate({ commonName: 'Test authority', authority: true });
const stranger = makeCertificate({ commonName: 'Another authority', authority: true });
const server = makeCertificate({ commonName: 'db.example', names: ['db.example'], issuer: authority });
const user = makeCertificate({ commonName: 'by_cert', issuer: authority });

let postgres: EmbeddedPostgres;
let folder: string;
let url: URL;

beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
  url = new URL(postgres.url);
  folder = await mkdtemp(join(tmpdir(), 'lifeboat-tls-'));
  await writeFile(join(folder, 'authority.pem'), authority.cert);
  await writeFile(join(folder, 'stranger.pem'), stranger.cert);
  await writeFile(join(folder, 'user.crt'), user.cert);
  await writeFile(join(folder, 'user.key'), user.key, { mode: 0o600 });
  await administer([
    ...['tls_only', 'plain_only', 'by_cert', 'anybody'].map(
      (role) => `CREATE ROLE ${role} LOGIN PASSWORD 'pw'`,
    ),
  ]);
});

afterAll(async () => {
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('a server without TLS', () => {
  it.each([
    ['disable', 'plain'],
    ['allow', 'plain'],
    ['prefer', 'plain'],
    ['require', /does not offer TLS/],
    ['verify-ca&sslrootcert=AUTHORITY', /does not offer TLS/],
    ['verify-full&sslrootcert=AUTHORITY', /does not offer TLS/],
  ])('sslmode=%s', async (query, expected) => {
    await expectConnection('anybody', `sslmode=${query}`, expected);
  });
});

describe('a server with a certificate of an authority of its own', () => {
  beforeAll(async () => {
    await putFile('server.crt', server.cert);
    await putFile('server.key', server.key);
    await putFile('authority.crt', authority.cert);
    await putFile('pg_hba.conf', PG_HBA);
    await administer([
      "ALTER SYSTEM SET ssl_ca_file = 'authority.crt'",
      'ALTER SYSTEM SET ssl = on',
      'SELECT pg_reload_conf()',
    ]);
  });

  it.each([
    // Nothing is verified without a root certificate, as with libpq: RDS works with a bare require.
    ['anybody', 'disable', 'plain'],
    ['anybody', 'allow', 'plain'],
    ['anybody', 'prefer', 'tls'],
    ['anybody', 'require', 'tls'],
    // A root certificate means that the chain is verified, whatever the mode.
    ['anybody', 'require&sslrootcert=AUTHORITY', 'tls'],
    ['anybody', 'require&sslrootcert=STRANGER', /unknown authority/],
    ['anybody', 'prefer&sslrootcert=STRANGER', 'plain'],
    ['anybody', 'verify-ca&sslrootcert=AUTHORITY', 'tls'],
    ['anybody', 'verify-ca&sslrootcert=STRANGER', /unknown authority/],
    // The certificate is for db.example.
    ['anybody', 'verify-full&sslrootcert=AUTHORITY', /for another host name/],
    ['anybody', 'verify-full&sslrootcert=AUTHORITY&host=db.example&hostaddr=127.0.0.1', 'tls'],
    ['anybody', 'verify-full&sslrootcert=AUTHORITY&host=db.example&hostaddr=127.0.0.1&sslsni=0', 'tls'],
    [
      'anybody',
      'verify-full&sslrootcert=AUTHORITY&host=other.example&hostaddr=127.0.0.1',
      /for another host name/,
    ],
    ['anybody', 'verify-full&sslrootcert=system&host=db.example&hostaddr=127.0.0.1', /unknown authority/],
    // pg_hba decides by how we come; prefer and allow come again the other way.
    ['tls_only', 'disable', /does not let this user in/],
    ['tls_only', 'allow', 'tls'],
    ['tls_only', 'prefer', 'tls'],
    ['tls_only', 'require', 'tls'],
    ['plain_only', 'disable', 'plain'],
    ['plain_only', 'allow', 'plain'],
    ['plain_only', 'prefer', 'plain'],
    ['plain_only', 'require', /does not let this user in/],
    ['by_cert', 'require', /does not let this user in/],
    ['by_cert', 'require&sslcert=USER.crt&sslkey=USER.key', 'tls'],
    ['by_cert', 'verify-ca&sslrootcert=AUTHORITY&sslcert=USER.crt&sslkey=USER.key', 'tls'],
    ['anybody', 'require&ssl_max_protocol_version=TLSv1.2', 'tls'],
    ['anybody', 'require&sslcert=AUTHORITY&sslkey=USER.key', /TLS could not be agreed on/],
  ])('%s with sslmode=%s', async (role, query, expected) => {
    await expectConnection(role, `sslmode=${query}`, expected);
  });

  it('is asked once only when the password is wrong and there is no other way', async () => {
    await expect(connection('anybody', 'sslmode=require&password=wrong')).rejects.toMatchObject({
      message: expect.stringContaining('does not accept the password') as string,
    });
  });
});

describe('a server whose certificate is expired or its own', () => {
  it.each([
    [
      'expired',
      makeCertificate({ commonName: 'x', issuer: authority, notAfter: new Date('2021-01-01') }),
      /expired/,
    ],
    ['its own', makeCertificate({ commonName: 'x' }), /self-signed/],
  ])('%s: good enough for require, not for verify-ca', async (_what, certificate, message) => {
    await putFile('server.crt', certificate.cert);
    await putFile('server.key', certificate.key);
    await putFile('pg_hba.conf', SCRAM_FOR_ALL);
    await administer(['ALTER SYSTEM SET ssl = on', 'SELECT pg_reload_conf()']);
    await expectConnection('anybody', 'sslmode=require', 'tls');
    await expectConnection('anybody', 'sslmode=verify-ca&sslrootcert=AUTHORITY', message);
  });
});

async function expectConnection(role: string, query: string, expected: string | RegExp): Promise<void> {
  if (typeof expected === 'string') {
    expect(await connection(role, query)).toBe(expected);
  } else {
    const failure = expect.objectContaining({
      name: 'LifeboatError',
      message: expect.stringMatching(expected) as string,
      next: expect.stringMatching(/\S/) as string,
    }) as object;
    await expect(connection(role, query)).rejects.toEqual(failure);
  }
}

/** How the server says that we came in. */
async function connection(role: string, query: string): Promise<string> {
  const files = query
    .replaceAll('AUTHORITY', join(folder, 'authority.pem'))
    .replaceAll('STRANGER', join(folder, 'stranger.pem'))
    .replaceAll('USER', join(folder, 'user'));
  const password = query.includes('password=') ? '' : ':pw';
  const target = parseAirflowUrl(
    `postgresql://${role}${password}@127.0.0.1:${url.port}/postgres?${files}`,
    {},
  );
  return withClient(target, { applicationName: 'test' }, async (client) => {
    const { rows } = await client.query<{ ssl: boolean }>(
      'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    );
    return rows[0]?.ssl === true ? 'tls' : 'plain';
  });
}

/** Into the data directory, as the server's own user: Postgres reads a key that is its own only. */
async function putFile(name: string, content: string): Promise<void> {
  const file = join(postgres.dataDir, name);
  await writeFile(file, content, { mode: 0o600 });
  const { uid, gid } = await stat(postgres.dataDir);
  await chown(file, uid, gid);
}

/** A reload is done when the postmaster gets to it; a new connection sees it a moment later. */
async function administer(statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
  await new Promise((resolve) => setTimeout(resolve, 300));
}
