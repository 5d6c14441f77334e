import type { Compression, EngineContext } from '../api.ts';
import { partKey } from '../layout.ts';
import type { ManifestTable } from '../manifest.ts';
import { storeBlocks } from '../part-writer.ts';
import type { Progress } from '../progress.ts';
import { sealedFields } from '../sealed/fields.ts';
import { storeSealed } from '../sealed/write.ts';
import type { Sealing } from '../sealed/write.ts';
import type { ResolvedTable } from '../../versions/registry.ts';
import { copyRecord } from './csv-fields.ts';
import type { ForeignTable, Row } from './foreign.ts';
import type { Mend } from './mend.ts';

/** Characters that are turned into bytes at a time. */
const BLOCK = 256 * 1024;

/** One table as one part, in a stream: read, mended, written as COPY would have written it. */
export async function storeTable(
  ctx: EngineContext,
  backupId: string,
  source: ForeignTable,
  table: ResolvedTable,
  options: {
    readonly columns: readonly string[];
    readonly compression: Compression;
    /** Seals the secrets of the table, which the mended rows hold as tokens of these keys. */
    readonly sealing: Pick<Sealing, 'seal' | 'keys'> | undefined;
    readonly mend: Mend | undefined;
    readonly see: (row: Row) => void;
    readonly progress: Progress;
  },
): Promise<ManifestTable> {
  const { columns, compression, sealing, mend, see, progress } = options;
  const started = ctx.now().getTime();
  const { serial } = table;
  let rows = 0;
  let largest: number | null = null;
  async function* blocks(): AsyncGenerator<Uint8Array> {
    let text = '';
    for await (const row of source.rows(ctx.signal)) {
      see(row);
      if (mend?.(row) === false) continue;
      rows += 1;
      progress.add(table.name, 1, 0);
      if (serial !== undefined) largest = Math.max(largest ?? 0, Number(row[serial]));
      text += copyRecord(columns, row);
      if (text.length < BLOCK) continue;
      yield Buffer.from(text);
      text = '';
    }
    if (text !== '') yield Buffer.from(text);
  }
  const key = partKey(backupId, table.name, 1, compression.codec);
  const job = { key, compression };
  const onBytes = (bytes: number): void => {
    progress.add(table.name, 0, bytes);
  };
  const typeOf = (column: string): string => table.columns.find(({ name }) => name === column)?.type ?? '';
  const fields = sealing ? sealedFields(table.name, columns, typeOf) : [];
  const { rawBytes, ...part } =
    sealing && fields.length > 0
      ? await storeSealed(ctx.storage, job, blocks(), { ...sealing, fields }, onBytes, ctx.signal)
      : await storeBlocks(ctx.storage, job, blocks(), onBytes, ctx.signal);
  const sealed = fields.map(({ column }) => column);
  const seconds = (ctx.now().getTime() - started) / 1000;
  ctx.report({ event: 'table', phase: 'backup', table: table.name, rows, bytes: rawBytes, seconds });
  return {
    name: table.name,
    columns: columns.filter((column) => !sealed.includes(column)),
    ...(sealed.length === 0 ? {} : { sealed }),
    types: Object.fromEntries(
      table.columns.filter(({ name }) => columns.includes(name)).map(({ name, type }) => [name, type]),
    ),
    rows,
    maxIds: serial === undefined ? {} : { [serial]: largest },
    parts: [{ ...part, key, rows }],
  };
}
