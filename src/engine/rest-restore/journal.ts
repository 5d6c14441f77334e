import { createHash } from 'node:crypto';
import { LifeboatError } from '../../errors.ts';
import type { EngineContext } from '../api.ts';
import { journalPrefix, targetName } from '../layout.ts';
import { readSmall } from '../read-small.ts';

/** What a restore has done and will do; none of it is a secret. */
export interface JournalEntry {
  /** begun: before the first request of it · done: after the last. */
  readonly state: 'begun' | 'done';
  /** What it is about, for people. */
  readonly item: string;
  readonly at: string;
  readonly [field: string]: unknown;
}

/**
 * What cannot be seen in the target itself: that a run there was made by an earlier try of this restore, and is whole or
 * not, and how DAGs stood before they were paused for it. Lies in the storage, beside the backups, so that another machine
 * can go on.
 */
export interface Journal {
  get(step: string): JournalEntry | undefined;
  /** All about DAGs, runs or events. */
  list(kind: 'dag' | 'run' | 'event'): readonly JournalEntry[];
  write(step: string, entry: Omit<JournalEntry, 'at'>): Promise<void>;
  /** Its entries are not needed any more. */
  forget(steps: readonly string[]): Promise<void>;
}

/** Name of a step about something whose own name may hold anything. */
export function stepName(kind: 'dag' | 'run' | 'event', ...names: readonly string[]): string {
  return `${kind}-${digest(JSON.stringify(names), 24)}`;
}

const MAX_ENTRY_BYTES = 1024 * 1024;

/** The journal of one backup and one target, with what is in it already. */
export async function openJournal(ctx: EngineContext, backupId: string, target: string): Promise<Journal> {
  const prefix = journalPrefix(backupId, targetName(target));
  const keyOf = (step: string): string => `${prefix}${step}.json`;
  const entries = new Map<string, JournalEntry>();
  for await (const { key } of ctx.storage.list(prefix, ctx.signal)) {
    const [, step] = /\/((?:dag|run|event)-[0-9a-f]+)\.json$/.exec(key) ?? [];
    if (step !== undefined) entries.set(step, await readEntry(ctx, key));
  }
  return {
    get: (step) => entries.get(step),
    list: (kind) => [...entries].filter(([step]) => step.startsWith(`${kind}-`)).map(([, entry]) => entry),
    async write(step, given) {
      const entry = { ...given, at: ctx.now().toISOString() } as JournalEntry;
      await ctx.storage.write(keyOf(step), Buffer.from(`${JSON.stringify(entry)}\n`), { signal: ctx.signal });
      entries.set(step, entry);
    },
    async forget(steps) {
      const known = steps.filter((step) => entries.has(step));
      if (known.length === 0) return;
      await ctx.storage.remove(known.map(keyOf), ctx.signal);
      for (const step of known) entries.delete(step);
    },
  };
}

async function readEntry(ctx: EngineContext, key: string): Promise<JournalEntry> {
  const bytes = await readSmall(ctx.storage, key, ctx.signal, {
    maxBytes: MAX_ENTRY_BYTES,
    tooLarge: () => damaged(key),
  });
  try {
    const entry = JSON.parse(bytes.toString('utf8')) as Partial<JournalEntry>;
    if (entry.state === 'begun' || entry.state === 'done') return entry as JournalEntry;
  } catch {
    // Told below.
  }
  throw damaged(key);
}

function damaged(key: string): LifeboatError {
  return new LifeboatError('integrity', `${key} in the storage is no note of a restore.`, {
    next: 'Look at what the target has of this backup, then remove that object and run it again.',
  });
}

function digest(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}
