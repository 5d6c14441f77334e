import { beforeEach } from 'vitest';
import { parseAirflowUrl } from '../../src/db/url.ts';
import type { DatabaseTarget } from '../../src/db/target.ts';
import type {
  BackupRequest,
  BackupResult,
  CleanupRequest,
  CleanupResult,
  EngineContext,
  RestoreRequest,
  RestoreResult,
} from '../../src/engine/api.ts';
import { backup } from '../../src/engine/backup.ts';
import { cleanup } from '../../src/engine/cleanup.ts';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import type { Manifest } from '../../src/engine/manifest.ts';
import type { RestoreWay } from '../../src/engine/plans.ts';
import { restore } from '../../src/engine/restore.ts';
import { LifeboatError } from '../../src/errors.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import type { TestDatabase } from '../helpers/databases.ts';
import { FIXTURE_FERNET_KEY } from '../helpers/fixtures.ts';

/** The engine as the command line calls it, with everything it reported. */
export interface Engine extends EngineContext {
  readonly storage: Storage;
  readonly events: LifeboatEvent[];
}

export function engine(options: { storage?: Storage; now?: () => Date } = {}): Engine {
  const events: LifeboatEvent[] = [];
  return {
    storage: options.storage ?? createMemoryStorage(),
    events,
    report: (event) => void events.push(event),
    signal: new AbortController().signal,
    now: options.now ?? (() => new Date()),
    origin: 'test',
  };
}

export function targetOf(database: Pick<TestDatabase, 'url'>, schema = 'public'): DatabaseTarget {
  return parseAirflowUrl(database.url, {}, schema);
}

export const WAYS: readonly RestoreWay[] = ['in-place', 'shadow'];
/** As the command line has it: undefined is the engine's own choice. */
let way: RestoreWay | undefined;

/** All restores of a test, or of a group of them, go this way. */
export function useWay(via: RestoreWay): void {
  beforeEach(() => {
    way = via;
    return () => {
      way = undefined;
    };
  });
}

type Where = Pick<TestDatabase, 'url'> & { readonly schema?: string };

export async function backUp(
  ctx: EngineContext,
  from: Where,
  request: Partial<BackupRequest> = {},
): Promise<BackupResult & { readonly manifest: Manifest }> {
  const result = await backup(ctx, {
    environment: targetOf(from, from.schema),
    jobs: 2,
    compression: { codec: 'gzip', level: 1 },
    fernetKeys: [FIXTURE_FERNET_KEY],
    dryRun: false,
    ...request,
  });
  // Only a dry run has none, and whoever asks for one calls the engine itself.
  return { ...result, manifest: result.manifest! };
}

export type Loaded = NonNullable<RestoreResult['loaded']>;

export async function restoreInto(
  ctx: EngineContext,
  into: Where,
  request: Partial<RestoreRequest> = {},
): Promise<RestoreResult & { readonly loaded: Loaded }> {
  const result = await restore(ctx, {
    environment: targetOf(into, into.schema),
    backup: 'latest',
    clean: false,
    variables: 'append',
    connections: 'append',
    pauseState: 'backup',
    fernetKeys: [FIXTURE_FERNET_KEY],
    // The fixtures hold tasks that were killed while they ran.
    ignoreRunning: true,
    dryRun: false,
    ...(way ? { via: way } : {}),
    confirm: () => Promise.resolve(true),
    ...request,
  });
  return { ...result, loaded: result.loaded! };
}

export function cleanUp(
  ctx: EngineContext,
  at: Where,
  request: Partial<CleanupRequest> = {},
): Promise<CleanupResult> {
  return cleanup(ctx, {
    environment: targetOf(at, at.schema),
    ignoreRunning: true,
    dryRun: false,
    confirm: () => Promise.resolve(true),
    ...request,
  });
}

/** The error of a call that must fail; its own failure when it does not. */
export async function failureOf(work: Promise<unknown>): Promise<LifeboatError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof LifeboatError) return error;
    throw error;
  }
  throw new Error('This should have been refused, and was not.');
}

/** Key → bytes as text: equal maps, equal storages. */
export async function storageContent(storage: Storage): Promise<ReadonlyMap<string, string>> {
  const content = new Map<string, string>();
  for await (const { key } of storage.list('')) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await storage.read(key)) as AsyncIterable<Uint8Array>) chunks.push(chunk);
    content.set(key, Buffer.concat(chunks).toString('base64'));
  }
  return content;
}
