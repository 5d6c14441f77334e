import { createGunzip } from 'node:zlib';
import type { Storage } from '../../storage/storage.ts';
import { LifeboatError, toError } from '../../errors.ts';
import type { Minor } from '../../tables/spec.ts';
import { MINORS } from '../../versions/minors.ts';
import { tablesFor } from '../../versions/registry.ts';
import type { LeftOut } from '../plans.ts';
import { asIntegrity, readRecords } from './csv-fields.ts';
import type { CsvFile } from './csv-fields.ts';
import type { ForeignBackup, ForeignTable, Row } from './foreign.ts';
import { glueValue, keepsEmpty } from './values.ts';

const META = '_meta.json';
/** Tables that only Airflow 3 has. */
const AIRFLOW_3 = ['dag_version', 'asset', 'backfill'];

interface Meta {
  readonly table: string;
  readonly columns: readonly string[];
  readonly row_count: number;
}

/**
 * Opens an export of the Glue job in examples/metadb-backup-restore of mwaa-openlineage-cdk: `<table>.csv.gz` with `|` and a
 * header, beside `<table>_meta.json`. Tables without rows have no file. The columns tell the version, except between minors
 * that do not differ in them.
 *
 * @throws LifeboatError 'not-found' when nothing of it is there, 'usage' when the version does not fit or cannot be told,
 *   'unsupported' for an export of Airflow 3
 */
export async function openGlue(
  from: Storage,
  asked: Minor | undefined,
  signal: AbortSignal,
): Promise<ForeignBackup> {
  const metas = await readMetas(from, signal);
  if (metas.length === 0) {
    throw new LifeboatError('not-found', `There is no export of the Glue job in ${from.location}.`, {
      next: 'Name the directory or s3:// prefix of one day, which holds export_summary.json.',
    });
  }
  const newer = metas.map((meta) => meta.table).filter((table) => AIRFLOW_3.includes(table));
  if (newer.length > 0) {
    throw new LifeboatError('unsupported', `This is an export of Airflow 3: it has ${newer.join(', ')}.`, {
      next: 'Import exports of Airflow 2.5 to 2.11.',
    });
  }
  const minor = chooseMinor(metas, asked);
  const known = tablesFor(minor);
  const tables = new Map<string, ForeignTable>();
  const leftOut: LeftOut[] = [];
  for (const meta of metas) {
    if (known.some((table) => table.name === meta.table)) {
      tables.set(meta.table, foreignTable(from, meta, minor));
    } else leftOut.push({ table: meta.table, reason: 'import: rebuilt from the DAG files by the parser' });
  }
  for (const { name } of known) {
    if (!tables.has(name)) {
      leftOut.push({ table: name, reason: 'import: the Glue job does not export it, or it had no rows' });
    }
  }
  return {
    tool: 'the Glue export',
    minor,
    location: from.location,
    tables,
    keepsIds: true,
    clearSecrets: false,
    unfinishedTasks:
      'the Glue job leaves out tasks that were never started, and everything older than its limit',
    leftOut,
  };
}

async function readMetas(from: Storage, signal: AbortSignal): Promise<readonly Meta[]> {
  const metas: Meta[] = [];
  for await (const { key } of from.list('', signal)) {
    if (key.includes('/') || !key.endsWith(META)) continue;
    const chunks: Uint8Array[] = [];
    for await (const chunk of await from.read(key, { signal })) chunks.push(chunk as Uint8Array);
    metas.push(parseMeta(key, Buffer.concat(chunks).toString('utf8')));
  }
  return metas;
}

function parseMeta(key: string, text: string): Meta {
  try {
    const { table, columns, row_count: rows } = JSON.parse(text) as Partial<Meta>;
    const strings = Array.isArray(columns) && columns.every((column) => typeof column === 'string');
    if (table === key.slice(0, -META.length) && strings && Number.isSafeInteger(rows)) {
      return { table, columns: columns, row_count: Number(rows) };
    }
  } catch {
    // Told below, like JSON of another shape.
  }
  throw new LifeboatError(
    'integrity',
    `${key} is not what the Glue job writes: {table, columns, row_count}.`,
  );
}

function chooseMinor(metas: readonly Meta[], asked: Minor | undefined): Minor {
  const fitting = MINORS.filter((minor) => metas.every((meta) => fits(meta, minor)));
  const [only, ...others] = fitting;
  if (asked !== undefined && fitting.includes(asked)) return asked;
  // 2.11 has the schema of 2.10.
  if (asked === undefined && only !== undefined && others.every((minor) => minor === '2.11')) return only;
  const said = fitting.length === 0 ? 'no supported Airflow' : `Airflow ${fitting.join(' or ')}`;
  throw new LifeboatError(
    'usage',
    `The columns of this export are those of ${said}${asked === undefined ? '' : `, not of ${asked}`}.`,
    { next: 'Give the version as --airflow-version.', details: { fitting } },
  );
}

function fits(meta: Meta, minor: Minor): boolean {
  const spec = tablesFor(minor).find((table) => table.name === meta.table);
  if (!spec) return true;
  const leftOut = new Set(spec.leftOutColumns.map((column) => column.name));
  const expected = spec.columns.map((column) => column.name).sort();
  const found = meta.columns.filter((column) => !leftOut.has(column)).sort();
  return expected.join() === found.join();
}

function foreignTable(from: Storage, meta: Meta, minor: Minor): ForeignTable {
  const spec = tablesFor(minor).find((table) => table.name === meta.table);
  const types = new Map(spec?.columns.map((column) => [column.name, column.type]));
  const name = `${meta.table}.csv.gz`;
  const file: CsvFile = {
    name,
    delimiter: '|',
    open: async (signal) => {
      const body = await from.read(name, { signal });
      const inflated = createGunzip();
      body.on('error', (error) => inflated.destroy(toError(error)));
      inflated.on('close', () => body.destroy());
      return body.pipe(inflated);
    },
  };
  const rules = meta.columns.map((column) => ({
    column,
    type: types.get(column) ?? ('text' as const),
    keepsEmpty: keepsEmpty(meta.table, column),
  }));
  return {
    name: meta.table,
    columns: meta.columns.filter((column) => types.has(column)),
    rows: async function* (signal) {
      let record = -1;
      for await (const fields of readRecords(file, signal)) {
        record += 1;
        if (record === 0) {
          if (fields.join('|') !== meta.columns.join('|')) {
            throw damaged(name, `its header is not the columns of ${meta.table}${META}`);
          }
          continue;
        }
        const row: Row = {};
        try {
          rules.forEach((rule, at) => (row[rule.column] = glueValue(fields[at] ?? '', rule)));
        } catch (error) {
          throw asIntegrity(error, name, record + 1);
        }
        yield row;
      }
      if (Math.max(record, 0) !== meta.row_count) {
        throw damaged(name, `it has ${Math.max(record, 0)} rows instead of ${meta.row_count}`);
      }
    },
  };
}

function damaged(file: string, problem: string): LifeboatError {
  return new LifeboatError('integrity', `${file} cannot be trusted: ${problem}.`, {
    next: 'Use another export.',
  });
}
