import type { EngineContext } from '../../src/engine/api.ts';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import { backupThroughRest } from '../../src/engine/rest/backup.ts';
import type { RestRestoreRequest, RestRestoreResult } from '../../src/engine/rest-restore/api.ts';
import { restoreThroughRest } from '../../src/engine/rest-restore/restore.ts';
import { openClient, type RestClient } from '../../src/rest/client.ts';
import { createHttpTransport } from '../../src/rest/http.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from './fake-airflow-api.ts';
import type { FakeRows } from './fake-airflow-rows.ts';
import { sampleRows } from './fake-airflow-sample.ts';

/** Of the source. */
const WORLD_KEY = `${Buffer.alloc(32, 7).toString('base64url')}=`;
const NOW = new Date('2026-11-21T12:00:00Z');

interface Started {
  readonly fake: FakeAirflowApi;
  readonly client: RestClient;
}

export interface RestWorld {
  readonly events: LifeboatEvent[];
  start(version: string, rows: Partial<FakeRows>): Promise<Started>;
  /** A backup of the sample, in a storage of its own. */
  backedUp(version: string, change?: (rows: FakeRows) => void): Promise<EngineContext>;
  restore(
    ctx: EngineContext,
    client: RestClient,
    more?: Partial<RestRestoreRequest>,
  ): Promise<RestRestoreResult>;
  close(): Promise<void>;
}

/** Fake Airflows, backups of them, and restores into others. */
export function restWorld(): RestWorld {
  const started: Started[] = [];
  const events: LifeboatEvent[] = [];

  async function start(version: string, rows: Partial<FakeRows>): Promise<Started> {
    const fake = await startFakeAirflowApi({ version, rows });
    const client = await openClient({
      transport: await createHttpTransport({
        url: new URL(fake.url),
        credentials: { kind: 'password', ...FAKE_USER },
      }),
      retry: { attempts: 3, baseDelay: 1, maxDelay: 2, window: 10_000 },
    });
    started.push({ fake, client });
    return { fake, client };
  }

  return {
    events,
    start,
    async backedUp(version, change) {
      events.length = 0;
      const ctx: EngineContext = {
        storage: createMemoryStorage(),
        report: (event) => events.push(event),
        signal: new AbortController().signal,
        now: () => NOW,
      };
      const rows = sampleRows(version.startsWith('2') ? '2' : '3');
      change?.(rows);
      const { client } = await start(version, rows);
      const compression = { codec: 'gzip', level: 1 } as const;
      await backupThroughRest(ctx, {
        client,
        via: 'http',
        compression,
        fernetKeys: [WORLD_KEY],
        dryRun: false,
      });
      return ctx;
    },
    restore: (ctx, client, more = {}) =>
      restoreThroughRest(ctx, {
        client,
        via: 'http',
        backup: 'latest',
        variables: 'append',
        connections: 'append',
        pauseState: 'backup',
        catchup: 'hold',
        fernetKeys: [WORLD_KEY],
        dryRun: false,
        confirm: () => Promise.resolve(true),
        ...more,
      }),
    async close() {
      for (const { fake, client } of started.splice(0)) {
        client.close();
        await fake.close();
      }
    },
  };
}

/** What was asked for that changes something, in its order. */
export function writes(fake: FakeAirflowApi): string[] {
  return fake.calls
    .filter(({ method, path }) => method !== 'GET' && !path.includes('token') && !path.endsWith('/list'))
    .map(({ method, path }) => `${method} ${path.replace('/api/', '')}`);
}
