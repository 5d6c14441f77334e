import { randomBytes } from 'node:crypto';
import { LifeboatError, ObjectNotFoundError } from '../../errors.ts';
import type { EngineContext } from '../api.ts';
import { lockKey, locksPrefix, targetName } from '../layout.ts';
import { readSmall } from '../read-small.ts';

/** A holder writes its lock anew this often, and says so by a count: no two machines' clocks are compared. */
const BEAT_MS = 5000;
/** One whose count stands still for so many looks, four beats long, has no holder any more. */
const LOOKS = 20;
const LOOK_MS = 1000;
const MAX_LOCK_BYTES = 64 * 1024;

/**
 * One restore, cleanup or activate at a time in an Airflow of which only the API is reached: there is no database to lock,
 * so a lock is an object in the storage. Each puts its own there before it looks for others, so that of two at once at least
 * one sees the other, and gives way while that one's count goes on. What a killed process left is removed after it was watched.
 *
 * Work gets a context whose signal also ends when its own lock was taken for a left one, as after the machine slept.
 *
 * @throws LifeboatError 'locked'
 */
export async function whileLocked<T>(
  ctx: EngineContext,
  target: string,
  work: (ctx: EngineContext) => Promise<T>,
): Promise<T> {
  const lost = new AbortController();
  const own = await startBeating(ctx, target, lost);
  try {
    await refuseOthers(ctx, target, own.key);
    const signal = AbortSignal.any([ctx.signal, lost.signal]);
    return await work({ ...ctx, signal });
  } catch (thrown) {
    // Whatever fails after that fails for this reason.
    if (lost.signal.aborted && !ctx.signal.aborted) throw lost.signal.reason;
    throw thrown;
  } finally {
    await own.end();
  }
}

interface OwnLock {
  readonly key: string;
  /** The lock is gone, also when the work was interrupted. */
  end(): Promise<void>;
}

async function startBeating(ctx: EngineContext, target: string, lost: AbortController): Promise<OwnLock> {
  const key = lockKey(targetName(target), randomBytes(8).toString('hex'));
  const { storage } = ctx;
  const since = ctx.now().toISOString();
  const write = (beat: number, signal: AbortSignal): Promise<void> => {
    const content = { target, holder: ctx.origin ?? 'an unnamed process', since, beat };
    return storage.write(key, Buffer.from(`${JSON.stringify(content)}\n`), { signal });
  };
  const ended = new AbortController();
  await write(0, ctx.signal);
  const beat = async (): Promise<void> => {
    for (let count = 1; ; count++) {
      await rest(BEAT_MS, ended.signal);
      // A storage that fails for a while is asked again; should somebody take this lock for a left one, the next look says so.
      const isGone = (await contentOf(ctx, key, ended.signal).catch(() => 'unknown')) === undefined;
      if (isGone) {
        lost.abort(takenAway(target));
        return;
      }
      await write(count, ended.signal).catch(() => undefined);
    }
  };
  const beating = beat().catch(() => undefined);
  return {
    key,
    async end() {
      ended.abort();
      // A beat under way would put it there again.
      await beating;
      await storage.remove([key]).catch(() => {
        ctx.report({
          event: 'warning',
          code: 'lock-left',
          message: `The lock ${key} in the storage could not be removed.`,
          next: `The next command watches it for ${(LOOKS * LOOK_MS) / 1000} s, and removes it then.`,
        });
      });
    },
  };
}

/** Returns when there is no other, or only ones that nobody holds. */
async function refuseOthers(ctx: EngineContext, target: string, own: string): Promise<void> {
  const others = await otherLocks(ctx, target, own);
  if (others.size === 0) return;
  ctx.report({
    event: 'phase',
    phase: 'check',
    message: `Looking whether the holder of another lock of ${target} is alive, for up to ${(LOOKS * LOOK_MS) / 1000} s`,
  });
  for (let look = 0; look < LOOKS; look++) {
    await rest(LOOK_MS, ctx.signal);
    const now = await otherLocks(ctx, target, own);
    // One that has come since found ours, and is the one that gives way.
    for (const [key, before] of others) {
      const content = now.get(key);
      if (content === undefined) others.delete(key);
      else if (content !== before) throw locked(target, content);
    }
    if (others.size === 0) return;
  }
  await ctx.storage.remove([...others.keys()], ctx.signal);
  ctx.report({
    event: 'warning',
    code: 'lock-removed',
    message: `Removed ${others.size === 1 ? 'a lock' : `${others.size} locks`} that nobody holds any more: ${[...others.values()].map(holderOf).join(', ')}.`,
  });
}

/** By key, what they say. */
async function otherLocks(ctx: EngineContext, target: string, own: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { key } of ctx.storage.list(locksPrefix(targetName(target)), ctx.signal)) {
    if (key === own) continue;
    const content = await contentOf(ctx, key, ctx.signal);
    if (content !== undefined) found.set(key, content);
  }
  return found;
}

/** Undefined: it is gone. */
async function contentOf(ctx: EngineContext, key: string, signal: AbortSignal): Promise<string | undefined> {
  const tooLarge = (): LifeboatError =>
    new LifeboatError('integrity', `${key} in the storage is no lock.`, { next: 'Remove it.' });
  try {
    const bytes = await readSmall(ctx.storage, key, signal, { maxBytes: MAX_LOCK_BYTES, tooLarge });
    return bytes.toString('utf8');
  } catch (thrown) {
    if (thrown instanceof ObjectNotFoundError) return undefined;
    throw thrown;
  }
}

function holderOf(content: string): string {
  try {
    const { holder, since } = JSON.parse(content) as { readonly holder?: unknown; readonly since?: unknown };
    if (typeof holder === 'string' && typeof since === 'string') return `${holder}, since ${since}`;
  } catch {
    // Told as unknown.
  }
  return 'an unknown process';
}

function locked(target: string, content: string): LifeboatError {
  return new LifeboatError('locked', `Another command is at work in ${target}: ${holderOf(content)}.`, {
    next: 'Wait for it, then run this again. Of two that begin at the same moment both may give way.',
    details: { holder: holderOf(content) },
  });
}

function takenAway(target: string): LifeboatError {
  return new LifeboatError(
    'locked',
    `The lock of ${target} was taken for one that nobody holds, since this process stood still; another command may be at work there.`,
    { next: 'Wait for that one, then run this again: it goes on where it was.' },
  );
}

/** @throws the signal's reason, at once */
async function rest(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
  signal.throwIfAborted();
}
