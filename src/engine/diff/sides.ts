import { pipeline } from 'node:stream/promises';
import type { Client } from 'pg';
import { copyOut } from '../../db/copy-out.ts';
import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import type { DatabaseTarget } from '../../db/target.ts';
import { LifeboatError, ObjectNotFoundError } from '../../errors.ts';
import { findRelease, newestMinor } from '../../versions/heads.ts';
import { tablesFor } from '../../versions/registry.ts';
import type { EngineContext } from '../api.ts';
import type { ResolvedBackup } from '../catalog.ts';
import { decompressor } from '../codec.ts';
import { detectEnvironment } from '../detect.ts';
import type { ManifestPart, ManifestSource } from '../manifest.ts';
import { provenBytes } from '../proven-bytes.ts';
import { wholeTable } from '../sealed/fields.ts';
import { readSealedPart } from '../sealed/read.ts';
import type { Unsealing } from '../sealed/read.ts';
import { beginReading, withSession } from '../session.ts';
import { isInflateError } from '../verify-parts.ts';
import type { ComparedSpec } from './keys.ts';
import type { SideShape } from './plan.ts';
import { createRecordSplitter } from './records.ts';
import { restSpecs } from './rest-specs.ts';
import type { CsvRecord } from './records.ts';

export interface ReadOptions {
  readonly onRecord: (record: CsvRecord) => void;
  /** Bytes of CSV, as they are read. */
  readonly onBytes?: (bytes: number) => void;
  /** Asked now and then: true when nothing more of this table is needed. */
  readonly enough?: () => boolean;
}

/** One of the two things that are compared. */
export interface Side extends SideShape {
  /** Airflow minor, or the releases that share its schema. */
  readonly airflow: string;
  rows(table: string): Promise<number>;
  /** Every row of a table, with these columns in this order, as PostgreSQL's CSV; NULL for a column that is not there. */
  read(table: string, columns: readonly string[], options: ReadOptions): Promise<void>;
}

/** @param unsealing opens sealed secrets; without it their columns are not there */
export function backupSide(
  ctx: EngineContext,
  { backupId, manifest }: ResolvedBackup,
  unsealing?: Unsealing,
): Side {
  const tables = new Map(manifest.tables.map((table) => [table.name, table]));
  const seen = manifest.tables.map((table) => (unsealing ? wholeTable(table) : table));
  return {
    label: `backup ${backupId}`,
    airflow: manifest.source.airflow,
    specs: specsOf(backupId, manifest.source),
    throughApi: manifest.source.kind === 'rest',
    columns: new Map(seen.map((table) => [table.name, table.columns])),
    rows: (name) => Promise.resolve(tables.get(name)?.rows ?? 0),
    read: async (name, columns, options) => {
      const stored = tables.get(name);
      if (!stored) return;
      const all = unsealing ? wholeTable(stored).columns : stored.columns;
      const places = columns.map((column) => all.indexOf(column));
      for (const part of stored.parts) {
        if (options.enough?.() === true) return;
        ctx.signal.throwIfAborted();
        const text =
          unsealing && part.sealed
            ? readSealedPart(ctx, stored, part, unsealing, { onBytes: () => undefined, damaged })
            : undefined;
        await readPart(ctx, part, { width: all.length, places, text }, options);
      }
    },
  };
}

/** @throws LifeboatError 'unsupported' */
function specsOf(backupId: string, source: ManifestSource): readonly ComparedSpec[] {
  if (source.kind === 'rest') return restSpecs(source.airflow);
  const release = findRelease(source.alembicHead);
  if (release) return tablesFor(newestMinor(release));
  throw new LifeboatError(
    'unsupported',
    `Backup ${backupId} is of the unknown Alembic head ${source.alembicHead}.`,
    { next: 'Install the Lifeboat that made it, or a newer one.' },
  );
}

/** Streams one part and proves it on the way, as restore does: a damaged backup must not look like a difference. */
async function readPart(
  ctx: EngineContext,
  part: ManifestPart,
  {
    width,
    places,
    text,
  }: {
    readonly width: number;
    readonly places: readonly number[];
    /** The CSV, where it does not simply lie in the part. */
    readonly text: AsyncIterable<Uint8Array> | undefined;
  },
  options: ReadOptions,
): Promise<void> {
  let rows = 0;
  const onRecord = inOrder(places, options.onRecord);
  const splitter = createRecordSplitter((record) => {
    rows += 1;
    if (record.fields !== width) {
      throw damaged(part.key, `row ${rows} has ${record.fields} fields instead of ${width}`);
    }
    onRecord(record);
  });
  const proven = (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> =>
    provenBytes(
      source,
      part,
      () => undefined,
      () => damaged(part.key, 'its bytes are not what was written'),
    );
  try {
    const split = async (chunks: AsyncIterable<Uint8Array>): Promise<void> => {
      for await (const chunk of chunks) {
        options.onBytes?.(chunk.length);
        splitter.add(chunk);
      }
    };
    if (text) {
      await pipeline(text, split, { signal: ctx.signal });
    } else {
      const stored = await ctx.storage.read(part.key, { signal: ctx.signal });
      await pipeline(stored, proven, decompressor(part.key), split, { signal: ctx.signal });
    }
  } catch (error) {
    if (error instanceof ObjectNotFoundError) throw damaged(part.key, 'it is missing');
    if (isInflateError(error)) throw damaged(part.key, 'it does not unpack');
    throw error;
  }
  if (!splitter.complete() || rows !== part.rows) {
    throw damaged(part.key, `it has ${rows} rows instead of ${part.rows}`);
  }
}

function damaged(key: string, problem: string): LifeboatError {
  return new LifeboatError('integrity', `The part ${key} is damaged: ${problem}.`, {
    next: 'Run `lifeboat verify` on the backup, and compare another one.',
  });
}

/** The same record with its fields as they were asked for; empty ones where it has none. */
function inOrder(
  places: readonly number[],
  onRecord: (record: CsvRecord) => void,
): (record: CsvRecord) => void {
  let current: CsvRecord | undefined;
  const offset = (of: 'start' | 'end', field: number): number => {
    const place = places[field] ?? -1;
    return place < 0 ? 0 : (current?.[of](place) ?? 0);
  };
  const view = {
    bytes: new Uint8Array(0) as Uint8Array,
    fields: places.length,
    start: (field: number) => offset('start', field),
    end: (field: number) => offset('end', field),
  };
  return (record) => {
    current = record;
    view.bytes = record.bytes;
    onRecord(view);
  };
}

/** Opens a database for reading: one snapshot for everything that `work` reads. */
export async function withDatabaseSide<T>(
  ctx: EngineContext,
  target: DatabaseTarget,
  work: (side: Side) => Promise<T>,
): Promise<T> {
  return withSession(ctx, target, { purpose: 'diff', begin: beginReading }, async (client) => {
    const { facts, tables } = await detectEnvironment(client, target);
    const from = (name: string): string => {
      const only = tables.find((table) => table.name === name)?.only;
      const where =
        only === undefined ? '' : ` WHERE ${only.replaceAll('{schema}', quoteIdent(target.schema))}`;
      return `${quoteTable(target.schema, name)}${where}`;
    };
    const columnsOf = new Map(
      tables.map((table) => [table.name, table.columns.map((column) => column.name)]),
    );
    const selected = (name: string, columns: readonly string[]): string =>
      columns
        .map((column) => (columnsOf.get(name)?.includes(column) === true ? quoteIdent(column) : 'NULL'))
        .join(', ');
    return work({
      label: target.name,
      airflow: facts.airflow,
      specs: tables,
      columns: columnsOf,
      rows: async (name) => {
        const { rows } = await client.query<{ rows: string }>(
          `SELECT pg_catalog.count(*) AS rows FROM ${from(name)}`,
        );
        return Number(rows[0]?.rows ?? 0);
      },
      read: (name, columns, options) =>
        readTable(ctx, client, `SELECT ${selected(name, columns)} FROM ${from(name)}`, options),
    });
  });
}

async function readTable(
  ctx: EngineContext,
  client: Client,
  select: string,
  options: ReadOptions,
): Promise<void> {
  const splitter = createRecordSplitter(options.onRecord);
  const copy = copyOut(client, `COPY (${select}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')`, ctx.signal);
  for await (const block of copy.blocks) {
    ctx.signal.throwIfAborted();
    options.onBytes?.(block.length);
    splitter.add(block);
  }
}
