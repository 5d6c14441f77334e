import { tablesFor } from '../../versions/registry.ts';
import type { ManifestTable } from '../manifest.ts';
import type { ForeignBackup } from './foreign.ts';
import type { ImportNote } from './notes.ts';

/** Columns that a file without ids gets, and those that say that its secrets are encrypted now. */
const ADDED: Readonly<Record<string, readonly string[]>> = {
  variable: ['id', 'is_encrypted'],
  connection: ['id', 'is_encrypted', 'is_extra_encrypted'],
  slot_pool: ['id'],
  job: ['id'],
  log: ['id'],
  trigger: ['id'],
  dag_run: ['id'],
  task_fail: ['id'],
};

const NO_JOBS = 'jobs have no id in these files, so nothing tells which one is meant';
const NO_TEMPLATES =
  'log_template is not in these files: the log pages of old runs use the first one of the target';

interface LostColumns {
  readonly table: string;
  readonly columns: readonly string[];
  readonly message: string;
  /** Also where the format keeps its ids. */
  readonly always?: boolean;
}

/** References to what no file holds. */
const LOST: readonly LostColumns[] = [
  { table: 'dag_run', columns: ['log_template_id'], message: NO_TEMPLATES, always: true },
  { table: 'dag_run', columns: ['creating_job_id'], message: NO_JOBS },
  { table: 'task_instance', columns: ['job_id', 'queued_by_job_id'], message: NO_JOBS },
  { table: 'trigger', columns: ['triggerer_id'], message: NO_JOBS },
];

export function addedColumns({ keepsIds }: ForeignBackup, table: string): readonly string[] {
  return keepsIds ? [] : (ADDED[table] ?? []);
}

export function lostColumns(backup: ForeignBackup, table: string): readonly string[] {
  return lostFor(backup)
    .filter((one) => one.table === table)
    .flatMap((one) => one.columns);
}

function lostFor({ keepsIds }: ForeignBackup): readonly LostColumns[] {
  return LOST.filter((one) => one.always === true || !keepsIds);
}

/** What is lost whatever the rows say. */
export function fixedNotes(backup: ForeignBackup, tables: readonly ManifestTable[]): readonly ImportNote[] {
  const stored = new Set(tables.map((table) => table.name));
  const notes: ImportNote[] = lostFor(backup)
    .filter(({ table }) => stored.has(table))
    .map(({ table, columns, message }) => ({ kind: 'lost', table, columns, message }));
  for (const { name } of tables) {
    const spec = tablesFor(backup.minor).find((table) => table.name === name);
    const text = spec?.columns.filter(({ type }) => type === 'text').length ?? 0;
    if (name === 'dag' && !backup.keepsIds) continue;
    if (text > 0) notes.push({ kind: 'doubtful', table: name, message: EMPTY_OR_NULL });
  }
  if (backup.keepsIds) return notes;
  const missing = tablesFor(backup.minor).filter(({ name }) => !stored.has(name) && !isNamed(backup, name));
  return [
    ...notes,
    ...missing.map(({ name }): ImportNote => ({
      kind: 'lost',
      table: name,
      message: 'mwaa_dr does not store it',
    })),
    { kind: 'lost', table: 'task_instance', message: backup.unfinishedTasks },
    {
      kind: 'lost',
      table: 'job',
      message: 'mwaa_dr leaves out jobs without a DAG: schedulers and triggerers',
    },
    {
      kind: 'lost',
      table: 'slot_pool',
      message: 'mwaa_dr leaves out default_pool: the slots of the target stay',
    },
    {
      kind: 'doubtful',
      table: 'dag',
      message:
        'mwaa_dr names only active DAGs that are not paused: every other DAG with runs counts as paused, and the next run of each is left to the target',
    },
  ];
}

const EMPTY_OR_NULL =
  'NULL and an empty text are the same in these files: NULL, except in columns that must not be';

function isNamed({ leftOut }: ForeignBackup, table: string): boolean {
  return leftOut.some((one) => one.table === table);
}
