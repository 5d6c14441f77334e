import { LifeboatError } from '../../errors.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Minor } from '../../tables/spec.ts';
import { MINORS } from '../../versions/minors.ts';
import { tablesFor } from '../../versions/registry.ts';
import type { LeftOut } from '../plans.ts';
import { asIntegrity, readRecords } from './csv-fields.ts';
import type { CsvFile } from './csv-fields.ts';
import type { ForeignBackup, ForeignTable, Row } from './foreign.ts';
import { isThere } from './listing.ts';
import { MWAA_COMMA, MWAA_TABLES, mwaaColumns } from './mwaa-columns.ts';
import { keepsEmpty, mwaaValue } from './values.ts';

const ACTIVE_DAG = 'active_dag.csv';

/**
 * Opens what mwaa_dr wrote: `<table>.csv` without header or version. The version must be known; the number of fields in
 * a file can contradict it.
 *
 * @throws LifeboatError 'not-found' when no file of it is there, 'usage' when the version does not fit
 */
export async function openMwaaDr(from: Storage, minor: Minor, signal: AbortSignal): Promise<ForeignBackup> {
  const tables = new Map<string, ForeignTable>();
  const leftOut: LeftOut[] = [];
  for (const name of MWAA_TABLES) {
    const file = csvFile(from, name);
    if (!(await isThere(from, file.name, signal))) {
      leftOut.push({ table: name, reason: `import: ${from.location} has no ${file.name}` });
      continue;
    }
    await refuseOtherVersion(file, name, minor, signal);
    tables.set(name, foreignTable(file, name, minor));
  }
  if (tables.size === 0) {
    throw new LifeboatError('not-found', `There is no backup of mwaa_dr in ${from.location}.`, {
      next: 'Name the directory or s3:// prefix that holds dag_run.csv, task_instance.csv and the others.',
    });
  }
  const unpaused = await readActiveDags(from, signal);
  if (unpaused === undefined) {
    leftOut.push({
      table: 'dag',
      reason: `import: ${from.location} has no ${ACTIVE_DAG}, so no pause state`,
    });
  }
  return {
    tool: 'mwaa_dr',
    minor,
    location: from.location,
    tables,
    keepsIds: false,
    clearSecrets: true,
    ...(unpaused === undefined ? {} : { unpaused }),
    unfinishedTasks: 'mwaa_dr leaves out tasks that are not finished',
    leftOut,
  };
}

function csvFile(from: Storage, table: string): CsvFile {
  const name = `${table}.csv`;
  return {
    name,
    delimiter: MWAA_COMMA.has(table) ? ',' : '|',
    open: (signal) => from.read(name, { signal }),
  };
}

function foreignTable(file: CsvFile, name: string, minor: Minor): ForeignTable {
  const columns = mwaaColumns(name, minor);
  const types = new Map(
    tablesFor(minor)
      .find((table) => table.name === name)
      ?.columns.map((column) => [column.name, column.type]),
  );
  const rules = columns.map((column) => ({
    column,
    type: types.get(column) ?? ('text' as const),
    keepsEmpty: keepsEmpty(name, column),
  }));
  return {
    name,
    columns,
    rows: async function* (signal) {
      let record = 0;
      for await (const fields of readRecords(file, signal)) {
        record += 1;
        const row: Row = {};
        try {
          rules.forEach((rule, at) => (row[rule.column] = mwaaValue(fields[at] ?? '', rule)));
        } catch (error) {
          throw asIntegrity(error, file.name, record);
        }
        yield row;
      }
    },
  };
}

async function refuseOtherVersion(
  file: CsvFile,
  table: string,
  minor: Minor,
  signal: AbortSignal,
): Promise<void> {
  const expected = mwaaColumns(table, minor).length;
  const found = await firstRecordLength(file, signal);
  if (found === undefined || found === expected) return;
  const fitting = MINORS.filter((one) => mwaaColumns(table, one).length === found);
  throw new LifeboatError(
    'usage',
    `${file.name} has ${found} fields a record, and mwaa_dr writes ${expected} for Airflow ${minor}.`,
    {
      next:
        fitting.length === 0
          ? 'Is this a file of mwaa_dr, unchanged?'
          : `By this file it is Airflow ${fitting.join(' or ')}: give it as --airflow-version.`,
      details: { file: file.name, found, expected, fitting },
    },
  );
}

async function firstRecordLength(file: CsvFile, signal: AbortSignal): Promise<number | undefined> {
  for await (const fields of readRecords(file, signal)) return fields.length;
  return undefined;
}

/** One dag_id a line, without quotes. */
async function readActiveDags(from: Storage, signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
  if (!(await isThere(from, ACTIVE_DAG, signal))) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of await from.read(ACTIVE_DAG, { signal })) chunks.push(chunk as Uint8Array);
  const lines = Buffer.concat(chunks).toString('utf8').split(/\r?\n/);
  return new Set(lines.filter((line) => line !== ''));
}
