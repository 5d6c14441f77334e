import type { DatabaseTarget } from '../db/target.ts';
import { parseRunName, resolveCarryingTask } from '../carrying-task.ts';
import type { CarryingTask, EngineContext, RunName } from '../engine/api.ts';
import { isLifeboatError, LifeboatError } from '../errors.ts';
import type { S3Options } from '../storage/options.ts';
import type { Storage } from '../storage/storage.ts';
import type { Args } from './args.ts';
import type { CommandInput } from './command.ts';

/** An environment and its Fernet keys, as flags and variables name them. */
export interface NamedEnvironment {
  readonly environment: DatabaseTarget;
  readonly fernetKeys: readonly string[];
  /** The keys are the environment's own setting, which ends with it. */
  readonly fernetKeysLent: boolean;
}

/** The environment that the command works on; without one, an error of kind usage. */
export async function openEnvironment({ args, host }: CommandInput): Promise<NamedEnvironment> {
  const { fernetKeysAreLent, resolveEnvironment, resolveFernetKeys } = await import('../config.ts');
  const flags = { ...given('airflow', args.text('airflow')), ...given('schema', args.text('schema')) };
  return {
    environment: resolveEnvironment(flags, host.env),
    fernetKeys: resolveFernetKeys(host.env),
    fernetKeysLent: fernetKeysAreLent(host.env),
  };
}

/** Opens the storage, gives the engine its context, and closes the storage whatever happens. */
export async function withEngine<T>(
  input: CommandInput,
  work: (ctx: EngineContext) => Promise<T>,
): Promise<T> {
  return withStorage(input, (storage) => work(contextOf(input, storage)));
}

export async function withStorage<T>(
  input: CommandInput,
  work: (storage: Storage) => Promise<T>,
): Promise<T> {
  const storage = await openNamedStorage(input);
  try {
    return await work(storage);
  } finally {
    await storage.close?.();
  }
}

/** The caller closes it. */
export async function openNamedStorage({ args, host }: CommandInput): Promise<Storage> {
  const { resolveStorageUrl } = await import('../config.ts');
  const url = resolveStorageUrl(given('storage', args.text('storage')), host.env);
  const { openStorage } = await import('../storage/open.ts');
  return openStorage(url, { s3: s3Options(args), env: host.env });
}

/** What was opened, or undefined when nothing was named at all; what was named wrongly stays an error. */
export async function ifNamed<T>(opening: Promise<T>): Promise<T | undefined> {
  try {
    return await opening;
  } catch (error) {
    if (isLifeboatError(error, 'usage') && error.details.code === 'not-named') return undefined;
    throw error;
  }
}

/** As withEngine; the storage is an extra, and may be unnamed. */
export async function withEngineIfStored<T>(
  input: CommandInput,
  work: (ctx: EngineContext, hasStorage: boolean) => Promise<T>,
): Promise<T> {
  const storage = await ifNamed(openNamedStorage(input));
  if (storage === undefined) return work(withoutStorage(input), false);
  try {
    return await work(contextOf(input, storage), true);
  } finally {
    await storage.close?.();
  }
}

/** The context of a command that stores nothing; whatever asks for the storage all the same is a bug. */
export function withoutStorage(input: CommandInput): EngineContext {
  const none = (): never => {
    throw new Error('this command has no storage');
  };
  return contextOf(input, { location: 'none', write: none, read: none, list: none, remove: none });
}

function contextOf({ report, signal, host }: CommandInput, storage: Storage): EngineContext {
  return { storage, report, signal, now: host.now, origin: host.origin };
}

function s3Options(args: Args): S3Options {
  return {
    // readText let nothing through but the flag's choices.
    ...given('sse', args.text('s3-sse') as S3Options['sse']),
    ...given('kmsKeyId', args.text('s3-kms-key')),
    ...given('storageClass', args.text('s3-storage-class')),
    ...given('expectedBucketOwner', args.text('s3-expected-owner')),
  };
}

/** The Airflow task that the command runs in, if it does. */
export function carryingTask({ host }: CommandInput): { readonly carriedBy?: CarryingTask } {
  return given('carriedBy', resolveCarryingTask(host.env));
}

/** What restore and cleanup are told of the life in their target. */
export function liveRequest(input: CommandInput): {
  readonly keepRuns: readonly RunName[];
  readonly carriedBy?: CarryingTask;
  readonly ignoreRunning: boolean;
} {
  return {
    keepRuns: (input.args.list('keep-run') ?? []).map((text) => parseRunName(text, '--keep-run')),
    ...carryingTask(input),
    ignoreRunning: input.args.switch('ignore-running'),
  };
}

/** Set by Airflow in the process of a running task. */
const TASK_VARIABLES = ['AIRFLOW_CTX_DAG_ID', 'AIRFLOW_CTX_TASK_ID'] as const;

/**
 * A shell on an Airflow machine has the configuration of that Airflow in its variables. Deleting there because of
 * what happens to be set would be a surprise, so a person says which environment; a task of that Airflow need not.
 */
export function requireNamedEnvironment({ args, host }: CommandInput): void {
  const named = args.text('airflow') ?? host.env.LIFEBOAT_AIRFLOW;
  if (named !== undefined && named !== '') return;
  if (TASK_VARIABLES.every((name) => (host.env[name] ?? '') !== '')) return;
  throw new LifeboatError('refused', 'This command deletes, and nobody said in which environment.', {
    next: 'Name the database with --airflow or LIFEBOAT_AIRFLOW; only inside an Airflow task its own configuration is enough.',
    details: { code: 'environment-not-named' },
  });
}

/** `{ [name]: value }`, or nothing: an optional property may be absent but not undefined. */
function given<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): Partial<Record<Name, Value>> {
  return value === undefined ? {} : ({ [name]: value } as Record<Name, Value>);
}
