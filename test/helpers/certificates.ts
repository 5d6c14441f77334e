import { createSign, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly commonName: string;
  /** DNS names of the subject; none: the common name counts. */
  readonly names?: readonly string[];
  /** Default: 100 years from 2020. */
  readonly notAfter?: Date;
  /** Absent: signed by itself. */
  readonly issuer?: Certificate & { readonly commonName: string };
  readonly authority?: boolean;
}

/**
 * An X.509 certificate (RFC 5280) with a P-256 key, made on the spot: no openssl is needed to run the tests, no key
 * lies in the repository, and nothing there expires.
 */
export function makeCertificate(options: CertificateOptions): Certificate & { readonly commonName: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuerName = options.issuer?.commonName ?? options.commonName;
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    name(issuerName),
    sequence(
      time(new Date('2020-01-01T00:00:00Z')),
      time(options.notAfter ?? new Date('2120-01-01T00:00:00Z')),
    ),
    name(options.commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions(options))),
  );
  const signer: KeyObject | string = options.issuer?.key ?? privateKey;
  const signature = createSign('sha256').update(body).sign(signer);
  const certificate = sequence(
    body,
    ECDSA_WITH_SHA256,
    tagged(0x03, Buffer.concat([Buffer.from([0]), signature])),
  );
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.trimEnd()}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    commonName: options.commonName,
  };
}

function extensions({ authority = false, names = [] }: CertificateOptions): Buffer[] {
  const TRUE = Buffer.from([0x01, 0x01, 0xff]);
  const basic = sequence(oid('551d13'), TRUE, octets(authority ? sequence(TRUE) : sequence()));
  if (names.length === 0) return [basic];
  const dns = names.map((dnsName) => tagged(0x82, Buffer.from(dnsName, 'ascii')));
  return [basic, sequence(oid('551d11'), octets(sequence(...dns)))];
}

// --- DER ---

function tagged(tag: number, content: Buffer): Buffer {
  const size = content.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes);
}

function octets(content: Buffer): Buffer {
  return tagged(0x04, content);
}

function oid(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, 'hex'));
}

function name(commonName: string): Buffer {
  return sequence(tagged(0x31, sequence(oid('550403'), tagged(0x0c, Buffer.from(commonName)))));
}

/** GeneralizedTime for years from 2050 on, UTCTime before. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, '');
  return date.getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(digits.slice(2)))
    : tagged(0x18, Buffer.from(digits));
}

const ECDSA_WITH_SHA256: Buffer = sequence(oid('2a8648ce3d040302'));
