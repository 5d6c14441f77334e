import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import type { Seal } from '../../secrets/seal.ts';
import type { Compression, EngineContext } from '../api.ts';
import { copyRecord } from '../import/csv-fields.ts';
import type { Row } from '../import/foreign.ts';
import { partKey } from '../layout.ts';
import type { ManifestPart, ManifestTable } from '../manifest.ts';
import { storeBlocks } from '../part-writer.ts';
import type { Progress } from '../progress.ts';
import { sealedFields } from '../sealed/fields.ts';
import { storeSealed } from '../sealed/write.ts';

export interface StoredColumn {
  readonly name: string;
  readonly type: string;
}

export interface TableWriterOptions {
  readonly backupId: string;
  readonly name: string;
  readonly columns: readonly StoredColumn[];
  readonly compression: Compression;
  /** Seals the secrets of the table, which its rows hold in clear. */
  readonly seal?: Seal | undefined;
  readonly progress: Progress;
}

/** One table as one part that stays open: runs that change while they are read are written at the end. */
export interface TableWriter {
  readonly name: string;
  /** Waits for the storage when it is slower. */
  write(rows: readonly Row[]): Promise<void>;
  /** Nothing more comes; the same when it is said again. */
  end(): Promise<ManifestTable>;
  /** Gives up what was not ended; waits until the storage has let go of it. */
  abandon(): Promise<void>;
}

/** Opened by its first row: a dozen uploads that wait for theirs are a dozen buffers. */
export function createTableWriter(ctx: EngineContext, options: TableWriterOptions): TableWriter {
  let opened: TableWriter | undefined;
  let ended: Promise<ManifestTable> | undefined;
  const open = (): TableWriter => (opened ??= openTableWriter(ctx, options));
  return {
    name: options.name,
    write: async (rows) => {
      if (rows.length > 0) await open().write(rows);
    },
    end: () => (ended ??= open().end()),
    abandon: async () => {
      await opened?.abandon();
      await ended?.catch(() => undefined);
    },
  };
}

function openTableWriter(ctx: EngineContext, options: TableWriterOptions): TableWriter {
  const { backupId, name, columns, compression, seal, progress } = options;
  // One of its own: a dozen tables that listen to the same are taken for a leak.
  const signal = AbortSignal.any([ctx.signal]);
  const started = ctx.now().getTime();
  const names = columns.map((column) => column.name);
  const types = Object.fromEntries(columns.map((column) => [column.name, column.type]));
  const fields = seal === undefined ? [] : sealedFields(name, names, (column) => types[column] ?? '');
  const sealed = fields.map(({ column }) => column);
  const key = partKey(backupId, name, 1, compression.codec);
  const pipe = new PassThrough();
  // The storage's failure is told by the promise below.
  pipe.on('error', () => undefined);
  const onBytes = (bytes: number): void => {
    progress.add(name, 0, bytes);
  };
  const storing: Promise<Omit<ManifestPart, 'rows'> & { readonly rawBytes: number }> =
    seal !== undefined && fields.length > 0
      ? storeSealed(ctx.storage, { key, compression }, pipe, { seal, keys: [], fields }, onBytes, signal)
      : storeBlocks(ctx.storage, { key, compression }, pipe, onBytes, signal).then((part) => ({
          key,
          ...part,
        }));
  let failed = false;
  storing.catch(() => {
    failed = true;
    pipe.destroy();
  });
  let rows = 0;
  return {
    name,
    async write(more) {
      if (more.length === 0) return;
      signal.throwIfAborted();
      if (failed) await storing;
      rows += more.length;
      progress.add(name, more.length, 0);
      if (pipe.write(more.map((row) => copyRecord(names, row)).join(''))) return;
      // Of a storage that failed, the pipe is closed and never drains.
      await Promise.race([once(pipe, 'drain', { signal }), storing]);
    },
    async end() {
      pipe.end();
      const { rawBytes, ...part } = await storing;
      const seconds = (ctx.now().getTime() - started) / 1000;
      ctx.report({ event: 'table', phase: 'backup', table: name, rows, bytes: rawBytes, seconds });
      return {
        name,
        columns: names.filter((column) => !sealed.includes(column)),
        ...(sealed.length === 0 ? {} : { sealed }),
        types,
        rows,
        maxIds: {},
        parts: [{ ...part, rows }],
      };
    },
    async abandon() {
      pipe.destroy(new Error('the backup was given up'));
      await storing.catch(() => undefined);
    },
  };
}
