import type { EngineContext } from '../../src/engine/api.ts';
import type { LifeboatEvent } from '../../src/engine/events.ts';
import { readRows } from '../../src/engine/export/rows.ts';
import { type Manifest, storedTable } from '../../src/engine/manifest.ts';
import type { RestBackupRequest, RestBackupResult } from '../../src/engine/rest/api.ts';
import { backupThroughRest } from '../../src/engine/rest/backup.ts';
import { openClient, type RestClient } from '../../src/rest/client.ts';
import { createHttpTransport } from '../../src/rest/http.ts';
import { fernetDecrypt } from '../../src/secrets/fernet.ts';
import { createMemoryStorage } from '../../src/storage/memory.ts';
import { FAKE_USER, type FakeAirflowApi, startFakeAirflowApi } from './fake-airflow-api.ts';
import { sampleRows } from './fake-airflow-sample.ts';

/** The key of backups of this world. */
export const WORLD_KEY: string = Buffer.alloc(32, 7).toString('base64url') + '=';

type TextRow = Record<string, string | null>;

/** A fake Airflow of the sample's rows, a client of it, and a storage in memory. */
export interface RestWorld {
  readonly fake: FakeAirflowApi;
  readonly client: RestClient;
  readonly events: LifeboatEvent[];
  readonly ctx: EngineContext;
  run(more?: Partial<RestBackupRequest>): Promise<RestBackupResult>;
  /** The same, and it was no dry run. */
  backUp(more?: Partial<RestBackupRequest>): Promise<Manifest>;
  /** Rows by column, as text. */
  rowsOf(manifest: Manifest, table: string): Promise<TextRow[]>;
  close(): Promise<void>;
}

export async function startRestWorld(version: string): Promise<RestWorld> {
  const fake = await startFakeAirflowApi({
    version,
    rows: sampleRows(version.startsWith('2') ? '2' : '3'),
  });
  const events: LifeboatEvent[] = [];
  const ctx: EngineContext = {
    storage: createMemoryStorage(),
    report: (event) => events.push(event),
    signal: new AbortController().signal,
    now: () => new Date(),
  };
  const client = await openClient({
    transport: await createHttpTransport({
      url: new URL(fake.url),
      credentials: { kind: 'password', ...FAKE_USER },
    }),
    retry: { attempts: 3, baseDelay: 1, maxDelay: 2, window: 10_000 },
  });
  const run: RestWorld['run'] = (more = {}) =>
    backupThroughRest(ctx, {
      client,
      via: 'http',
      compression: { codec: 'gzip', level: 1 },
      fernetKeys: [WORLD_KEY],
      dryRun: false,
      ...more,
    });
  return {
    fake,
    client,
    events,
    ctx,
    run,
    async backUp(more = {}) {
      const { manifest } = await run(more);
      if (manifest === undefined) throw new Error('there is no manifest');
      return manifest;
    },
    async rowsOf(manifest, table) {
      const stored = storedTable(manifest, table);
      if (stored === undefined) throw new Error(`the backup has no ${table}`);
      const rows: TextRow[] = [];
      for await (const row of readRows(ctx, stored, () => undefined)) {
        rows.push(Object.fromEntries(stored.columns.map((column, at) => [column, row[at] ?? null])));
      }
      return rows;
    },
    async close() {
      client.close();
      await fake.close();
    },
  };
}

export const inClear = (token: string | null | undefined): string | undefined =>
  fernetDecrypt([WORLD_KEY], token ?? '')?.toString();

/** What a table lacks of single rows: columns (or `row`), and the names of the rows. */
export const namedGaps = (manifest: Manifest, table: string): unknown[] =>
  manifest.leftOut
    .filter((one) => one.table === table && one.names !== undefined)
    .map(({ columns, names }) => [columns?.join() ?? 'row', ...(names ?? [])]);
