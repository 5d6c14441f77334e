import { LifeboatError } from '../errors.ts';

/** A KMS key that wraps age's file key. */
export interface KmsKey {
  readonly kind: 'awskms';
  /** Key id, `alias/NAME` or ARN. */
  readonly key: string;
  /** Undefined: the ARN's, else the AWS configuration's. */
  readonly region: string | undefined;
}

export type SealRecipient = { readonly kind: 'age'; readonly recipient: string } | KmsKey;

const FORMS =
  'Give an age recipient (age1…, made with age-keygen) or awskms://KEY?region=REGION, where KEY is a key id, alias/NAME or ARN.';
const SCHEME = 'awskms://';
const ARN = /^arn:[a-z0-9-]+:kms:([a-z0-9-]+):\d{12}:(?:key|alias)\/[\w/-]+$/;
const KEY = /^(?:alias\/[\w/-]+|[\w-]+)$/;

/** One --seal-to. The recipient itself is public: messages may name it. */
export function parseRecipient(text: string): SealRecipient {
  const word = text.trim();
  if (word.toLowerCase().startsWith(SCHEME)) return parseKms(word);
  if (/^age1[a-z0-9]+$/.test(word)) return { kind: 'age', recipient: word };
  if (word.toUpperCase().startsWith('AGE-SECRET-KEY-')) {
    // Not repeated: on a command line it is in the shell's history already, and here it would be in a log too.
    throw usage(
      '--seal-to was given an identity, which opens backups, instead of a recipient.',
      'Treat that identity as known to others: make a new one with age-keygen, and give its public key (age1…).',
    );
  }
  if (word.startsWith('ssh-')) {
    throw usage('--seal-to was given an ssh key, and only age recipients and KMS keys are supported.', FORMS);
  }
  throw usage(`--seal-to ${JSON.stringify(word)} is no recipient.`, FORMS);
}

function parseKms(text: string): KmsKey {
  const [key = '', query = ''] = text.slice(SCHEME.length).split('?', 2);
  const parameters = new URLSearchParams(query);
  const unknown = [...parameters.keys()].filter((name) => name !== 'region');
  const region = parameters.get('region') ?? undefined;
  const arnRegion = ARN.exec(key)?.[1];
  if (unknown.length > 0) throw usage(`${text} has the unknown parameter ${unknown.join(', ')}.`, FORMS);
  if (arnRegion === undefined && !KEY.test(key)) throw usage(`${text} names no KMS key.`, FORMS);
  if (region !== undefined && !/^[a-z0-9-]+$/.test(region)) throw usage(`${text} names no region.`, FORMS);
  if (arnRegion !== undefined && region !== undefined && region !== arnRegion) {
    throw usage(
      `${text} names two regions, ${arnRegion} and ${region}.`,
      'Leave ?region= out: the ARN says it.',
    );
  }
  return { kind: 'awskms', key, region: region ?? arnRegion };
}

const AGE_IDENTITY = /^AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]+$/;

/**
 * The identities of a file as age-keygen writes it: one a line, `#` begins a comment. An error names the line and
 * nothing of what stands there.
 */
export function parseIdentities(text: string, file: string): readonly string[] {
  if (/^(?:age-encryption\.org\/|-----BEGIN AGE ENCRYPTED FILE)/.test(text)) {
    throw usage(
      `The identity file ${file} is itself encrypted.`,
      'Decrypt it first (age -d), to a place that is not kept.',
    );
  }
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw usage(
      `The identity file ${file} holds an ssh or TLS key, and only age identities open backups.`,
      'Give the file that age-keygen wrote (AGE-SECRET-KEY-1…).',
    );
  }
  const identities = text
    .split(/\r?\n/)
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => line !== '' && !line.startsWith('#'));
  for (const { line, number } of identities) {
    if (AGE_IDENTITY.test(line)) continue;
    throw usage(
      `Line ${number} of the identity file ${file} is no age identity.`,
      'It must be AGE-SECRET-KEY-1…, as age-keygen writes it; comments begin with #.',
    );
  }
  if (identities.length === 0) {
    throw usage(
      `The identity file ${file} holds no identity.`,
      'Give the file that age-keygen wrote (AGE-SECRET-KEY-1…).',
    );
  }
  return identities.map(({ line }) => line);
}

function usage(message: string, next: string): LifeboatError {
  return new LifeboatError('usage', message, { next });
}
