import { createHash, createHmac } from 'node:crypto';

export interface SignedRequest {
  readonly method: string;
  /** As it went over the wire, with its query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

export interface SignatureRules {
  readonly service: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly now: () => Date;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** AWS takes a signature for this long before and after its date. */
const SKEW_MS = 15 * 60_000;

/**
 * Verifies an AWS Signature Version 4 from the specification, with nothing of the signer's code. Undefined: it is right;
 * else the name of the error that AWS gives. https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
 */
export function signatureProblem(request: SignedRequest, rules: SignatureRules): string | undefined {
  const { service, region, accessKeyId, secretAccessKey, sessionToken, now } = rules;
  const header = (name: string): string => String(request.headers[name] ?? '');
  const [, key, date, ofRegion, ofService, signedHeaders = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      header('authorization'),
    ) ?? [];
  if (signature === undefined) return 'MissingAuthenticationTokenException';
  if (key !== accessKeyId || header('x-amz-security-token') !== (sessionToken ?? '')) {
    return 'UnrecognizedClientException';
  }
  if (ofRegion !== region || ofService !== service) return 'InvalidSignatureException';
  const names = signedHeaders.split(';');
  // What is not signed could be changed on the way.
  const needed = ['host', 'x-amz-date', ...(sessionToken === undefined ? [] : ['x-amz-security-token'])];
  if (!needed.every((name) => names.includes(name))) return 'InvalidSignatureException';
  const stamp = header('x-amz-date');
  const at = Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  if (!stamp.startsWith(date ?? '') || !(Math.abs(at - now().getTime()) <= SKEW_MS)) {
    return 'InvalidSignatureException';
  }
  const [path = '', query = ''] = request.url.split('?');
  const canonical = [
    request.method,
    // Every segment is encoded once more than it came: only S3 does not.
    path.split('/').map(encodeURIComponent).join('/'),
    query.split('&').sort().join('&'),
    ...names.map((name) => `${name}:${header(name).trim().replace(/\s+/g, ' ')}`),
    '',
    signedHeaders,
    sha256(request.body),
  ].join('\n');
  const scope = `${date ?? ''}/${region}/${service}/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n');
  const signingKey = [date ?? '', region, service, 'aws4_request'].reduce<string | Buffer>(
    (secret, part) => hmac(secret, part),
    `AWS4${secretAccessKey}`,
  );
  return hmac(signingKey, toSign).toString('hex') === signature ? undefined : 'InvalidSignatureException';
}
