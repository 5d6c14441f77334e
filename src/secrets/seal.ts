import { randomBytes } from 'node:crypto';
import type { Decrypter, Encrypter } from 'age-encryption';
import { LifeboatError, toError } from '../errors.ts';
import { kmsIdentity, kmsRecipient } from './kms.ts';
import { parseRecipient } from './recipients.ts';

const FILE_KEY_BYTES = 16;

/** Encrypts for recovery keys that this process does not hold: files of age (https://age-encryption.org/v1). */
export interface Seal {
  /** As they were given, for the manifest: all of them public. */
  readonly recipients: readonly string[];
  /**
   * One file. Each has a key of its own, wrapped for every recipient.
   *
   * @throws LifeboatError 'failed' when KMS does not wrap the key
   */
  seal(clear: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>>;
}

/**
 * @param backupId goes into the KMS encryption context
 * @throws LifeboatError 'usage' for what is no recipient, 'failed' when a KMS key does not answer: said here, and not
 * after an hour of copying
 */
export async function createSeal(recipients: readonly string[], backupId: string): Promise<Seal> {
  const age = await import('age-encryption');
  const encrypter: Encrypter = new age.Encrypter();
  for (const text of recipients) {
    const parsed = parseRecipient(text);
    if (parsed.kind === 'awskms') {
      const recipient = kmsRecipient(parsed, backupId);
      await recipient.wrapFileKey(randomBytes(FILE_KEY_BYTES));
      encrypter.addRecipient(recipient);
      continue;
    }
    try {
      encrypter.addRecipient(parsed.recipient);
    } catch (cause) {
      throw new LifeboatError('usage', `--seal-to ${parsed.recipient} is no recipient of age.`, {
        next: 'Copy the public key that age-keygen printed; one wrong letter makes it invalid.',
        cause: toError(cause),
      });
    }
  }
  return {
    recipients,
    seal: async (clear) => chunksOf(await encrypter.encrypt(streamOf(clear))),
  };
}

/** Opens what was sealed. */
export interface Opener {
  /**
   * Resolves when an identity fits; what it yields is authentic chunk by chunk, and whole when it ends.
   *
   * @throws LifeboatError 'refused' when no identity fits or KMS refuses; a SealError while reading when the bytes are
   * not those that were sealed
   */
  open(sealed: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>>;
}

/** The sealed bytes are not what was sealed: cut off, changed, or no file of age. */
export class SealError extends Error {
  constructor(cause: unknown) {
    super('The sealed bytes are damaged.', { cause });
    this.name = 'SealError';
  }
}

/** @param identities lines of identity files; KMS keys need none. */
export async function createOpener(input: {
  readonly identities: readonly string[];
  readonly recipients: readonly string[];
  readonly backupId: string;
}): Promise<Opener> {
  const age = await import('age-encryption');
  const decrypter: Decrypter = new age.Decrypter();
  input.identities.forEach((identity, index) => {
    try {
      decrypter.addIdentity(identity);
    } catch {
      // Without its cause: the library's message may hold the identity.
      throw new LifeboatError('usage', `Identity ${index + 1} of the identity file is not valid.`, {
        next: 'Copy the line AGE-SECRET-KEY-1… as age-keygen wrote it.',
      });
    }
  });
  // The last: it costs a request, and may not be reachable when an identity is at hand.
  decrypter.addIdentity(kmsIdentity(input.backupId));
  return {
    open: async (sealed) => {
      try {
        return damageOf(chunksOf(await decrypter.decrypt(streamOf(sealed))));
      } catch (thrown) {
        if (toError(thrown).message.startsWith('no identity matched')) throw wrongIdentity(input);
        throw asDamage(thrown);
      }
    },
  };
}

function wrongIdentity(input: {
  identities: readonly string[];
  recipients: readonly string[];
}): LifeboatError {
  const given =
    input.identities.length === 0
      ? 'no identity was given'
      : `${input.identities.length === 1 ? 'the identity that was given is' : `the ${input.identities.length} identities that were given are`} of others`;
  return new LifeboatError(
    'refused',
    `The secrets of this backup are sealed for ${input.recipients.join(', ')}, and ${given}.`,
    {
      next: 'Give the identity file of one of these recipients with --identity-file or LIFEBOAT_IDENTITY_FILE.',
      details: { recipients: input.recipients },
    },
  );
}

/** An error of the source (a storage's, a mismatch) stays what it is; one of age means damage. */
function asDamage(thrown: unknown): Error {
  const error = toError(thrown);
  const passes = error instanceof LifeboatError || error.name === 'AbortError' || 'syscall' in error;
  return passes ? error : new SealError(error);
}

async function* damageOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (thrown) {
    throw asDamage(thrown);
  }
}

// --- streams ---

function streamOf(chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const next = await iterator.next();
      if (next.done === true) controller.close();
      else if (next.value.length > 0) controller.enqueue(next.value);
      // A pull that gives nothing is not asked again before something else happens.
      else controller.enqueue(new Uint8Array(0));
    },
    cancel: async () => {
      await iterator.return?.();
    },
  });
}

async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) yield chunk;
}
