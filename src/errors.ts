/**
 * Every failure a user can meet is a LifeboatError: one sentence that says what happened and where, and one that
 * says what to do next. The kind decides the exit code (src/cli/exit-codes.ts); nothing else does.
 */
export type ErrorKind =
  'failed' | 'usage' | 'not-found' | 'locked' | 'integrity' | 'unsupported' | 'refused' | 'interrupted';

export interface LifeboatErrorOptions {
  /** What the reader should do next, as a full sentence. */
  readonly next?: string;
  /** Machine-readable facts for --json; never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export class LifeboatError extends Error {
  readonly kind: ErrorKind;
  readonly next: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(kind: ErrorKind, message: string, options: LifeboatErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LifeboatError';
    this.kind = kind;
    this.next = options.next;
    this.details = options.details ?? {};
  }
}

/** A storage key that is not there. Drivers throw it; the engine decides what its absence means. */
export class ObjectNotFoundError extends LifeboatError {
  readonly key: string;

  constructor(key: string, where: string, cause?: unknown) {
    super('not-found', `There is no object ${key} in ${where}.`, { cause, details: { key } });
    this.name = 'ObjectNotFoundError';
    this.key = key;
  }
}

/** A create-only write met an object that exists already. */
export class ObjectExistsError extends LifeboatError {
  readonly key: string;

  constructor(key: string, where: string, cause?: unknown) {
    super('failed', `The object ${key} exists already in ${where}.`, { cause, details: { key } });
    this.name = 'ObjectExistsError';
    this.key = key;
  }
}

/** Anything thrown, as an Error: a rejected promise may carry a string or undefined. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  return new Error(typeof thrown === 'string' ? thrown : `Non-error thrown: ${JSON.stringify(thrown)}`);
}

export function isLifeboatError(thrown: unknown, kind?: ErrorKind): thrown is LifeboatError {
  return thrown instanceof LifeboatError && (kind === undefined || thrown.kind === kind);
}
