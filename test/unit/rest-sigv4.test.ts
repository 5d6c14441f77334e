import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createSigner } from '../../src/aws/sigv4.ts';
import { signatureProblem } from '../helpers/sigv4.ts';

/** What botocore signed; see record.py beside it. */
const SIGNED = JSON.parse(
  readFileSync(new URL('../fixtures/sigv4/botocore-mwaa.json', import.meta.url), 'utf8'),
) as readonly {
  readonly url: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}[];

const KEYS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };

test.each(SIGNED)(
  '$url is signed as botocore does it, byte for byte: $body',
  async ({ url, body, headers }) => {
    const origin = new URL(url);
    const date = headers['x-amz-date'] ?? '';
    const now = new Date(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
    const sessionToken = headers['x-amz-security-token'];
    const keys = { ...KEYS, ...(sessionToken === undefined ? {} : { sessionToken }) };
    const sign = await createSigner({
      service: 'airflow',
      region: 'eu-west-1',
      credentials: () => Promise.resolve(keys),
      now: () => now,
    });
    const type = headers['content-type'];
    const own = type === undefined ? {} : { 'content-type': type };
    const signed = await sign({ method: 'POST', origin, path: origin.pathname, headers: own, body });
    expect(signed).toEqual({ ...headers, host: origin.host });

    const request = {
      method: 'POST',
      url: origin.pathname,
      headers: { ...headers, host: origin.host },
      body,
    };
    const rules = { service: 'airflow', region: 'eu-west-1', ...keys, now: () => now };
    expect(signatureProblem(request, rules)).toBeUndefined();
    expect(signatureProblem({ ...request, body: `${body} ` }, rules)).toBe('InvalidSignatureException');
  },
);
