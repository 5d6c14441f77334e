import type { Client } from 'pg';
import { withClient } from '../db/connect.ts';
import { pinnedSettings, readServer } from '../db/settings.ts';
import type { DatabaseTarget } from '../db/target.ts';
import { readBackend, watchStall } from '../db/watchdog.ts';
import type { EngineContext } from './api.ts';

export interface SessionOptions<B> {
  /** Shown to whoever looks at the server or meets our lock. */
  readonly purpose: string;
  /** Opens the transaction; `settings` are the SET LOCAL statements it must start with. */
  readonly begin: (client: Client, settings: readonly string[]) => Promise<B>;
  readonly signal?: AbortSignal;
}

/** One connection with one transaction in it, pinned settings, and an eye on whether the other end is still there. */
export async function withSession<B, T>(
  ctx: Pick<EngineContext, 'signal' | 'origin' | 'stallMs'>,
  target: DatabaseTarget,
  options: SessionOptions<B>,
  work: (client: Client, begun: B) => Promise<T>,
): Promise<T> {
  const connection = {
    signal: options.signal ?? ctx.signal,
    applicationName: applicationName(ctx, options.purpose),
  };
  return withClient(target, connection, async (client) => {
    const settings = pinnedSettings(await readServer(client));
    const begun = await options.begin(client, settings);
    const watch = watchStall(client, target, {
      backend: await readBackend(client),
      ...(ctx.stallMs === undefined ? {} : { stallMs: ctx.stallMs }),
    });
    try {
      return await work(client, begun);
    } finally {
      watch.stop();
    }
  });
}

/** A read-write transaction. */
export async function beginWork(client: Client, settings: readonly string[]): Promise<void> {
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE');
  await client.query(settings.join('; '));
}

/** A read-only transaction that sees one moment. */
export async function beginReading(client: Client, settings: readonly string[]): Promise<void> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await client.query(settings.join('; '));
}

export function applicationName(ctx: Pick<EngineContext, 'origin'>, purpose: string): string {
  return `lifeboat ${purpose}${ctx.origin === undefined ? '' : ` (${ctx.origin})`}`;
}
