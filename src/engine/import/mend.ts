import { compareMinors } from '../../versions/minors.ts';
import type { ForeignBackup, Row } from './foreign.ts';
import { createKeySet } from './key-set.ts';
import type { Notes } from './notes.ts';
import type { Scan } from './scan.ts';
import { clearIfForeign } from './scan.ts';
import { sealConnection, sealFlagged, sealVariable } from './secrets.ts';
import type { Sealer } from './secrets.ts';

/** Changes a row in place; false leaves it out. */
export type Mend = (row: Row) => boolean;

export interface MendInput {
  readonly backup: ForeignBackup;
  readonly scan: Scan;
  readonly sealer: Sealer;
  /** Fernet keys that are known, the encrypting one first. */
  readonly keys: readonly string[];
  readonly notes: Notes;
}

export interface Mending {
  readonly tables: Readonly<Record<string, Mend>>;
  /** dag_id of every run. */
  readonly dagIds: ReadonlySet<string>;
}

const FINISHED_RUN = new Set(['success', 'failed']);
const FINISHED_TASK = new Set(['success', 'failed', 'skipped', 'upstream_failed', 'removed']);

/** What each table needs before it can be stored; parents must go first. Tables without an entry are stored as they are. */
export function createMending(input: MendInput): Mending {
  const { backup, sealer } = input;
  const ids = new Map<string, number>();
  /** default_pool has the first id of slot_pool in every Airflow, and no file here holds it. */
  const nextId = (table: string, first = 1): string => {
    const id = ids.get(table) ?? first;
    ids.set(table, id + 1);
    return String(id);
  };
  const numbered =
    (table: string, mend: Mend = () => true, first?: number): Mend =>
    (row) => {
      if (!mend(row)) return false;
      if (!backup.keepsIds) row.id = nextId(table, first);
      return true;
    };
  const runs = mendRuns(input, nextId);
  const tasks = mendTasks(input, runs.ids);
  return {
    dagIds: runs.dagIds,
    tables: {
      variable: numbered('variable', (row) => {
        if (backup.clearSecrets) mendClearVariable(input, row);
        else sealFlagged(row, 'val', 'is_encrypted', sealer);
        return true;
      }),
      connection: numbered('connection', (row) => {
        if (backup.clearSecrets) sealConnection(row, sealer);
        else {
          sealFlagged(row, 'password', 'is_encrypted', sealer);
          sealFlagged(row, 'extra', 'is_extra_encrypted', sealer);
        }
        return true;
      }),
      slot_pool: numbered('slot_pool', undefined, 2),
      job: numbered('job'),
      log: numbered('log'),
      trigger: tasks.trigger,
      dag_run: runs.mend,
      task_instance: tasks.mend,
      task_instance_history: tasks.child('task_instance_history'),
      task_fail: numbered('task_fail', tasks.child('task_fail')),
      xcom: (row) => {
        const run = runs.ids.get(runKey(row));
        if (run !== undefined) row.dag_run_id = run;
        return tasks.child('xcom')(row);
      },
      task_instance_note: tasks.child('task_instance_note'),
      dag_run_note: (row) => {
        if (runs.known.has(row.dag_run_id ?? '')) return true;
        const lost = {
          kind: 'lost',
          table: 'dag_run_note',
          message: 'their run is not in the backup',
        } as const;
        input.notes.count(lost, `run ${row.dag_run_id ?? ''}`);
        return false;
      },
    },
  };
}

function mendClearVariable({ notes, sealer }: MendInput, row: Row): void {
  if (row.val === '') {
    const message = 'an empty value may be one that mwaa_dr could not decrypt, which it writes the same way';
    notes.count({ kind: 'doubtful', table: 'variable', columns: ['val'], message }, row.key ?? '');
  }
  sealVariable(row, sealer);
}

interface Runs {
  readonly mend: Mend;
  /** dag_id and run_id → id: some 200 bytes a run, the one thing here that grows with the backup besides the key set. */
  readonly ids: ReadonlyMap<string, string>;
  readonly known: ReadonlySet<string>;
  readonly dagIds: ReadonlySet<string>;
}

function runKey(row: Row): string {
  return `${row.dag_id ?? ''}\0${row.run_id ?? ''}`;
}

function mendRuns({ backup, scan, notes }: MendInput, nextId: (table: string) => string): Runs {
  const ids = new Map<string, string>();
  const known = new Set<string>();
  const dagIds = new Set<string>();
  const mend: Mend = (row) => {
    const dagId = row.dag_id ?? '';
    if (!backup.keepsIds) row.id = nextId('dag_run');
    else known.add(row.id ?? '');
    ids.set(runKey(row), row.id ?? '');
    if (!scan.ownDags.has(dagId)) dagIds.add(dagId);
    if (FINISHED_RUN.has(row.state ?? '')) return true;
    const name = `${dagId} ${row.run_id ?? ''}`;
    if (scan.ownDags.has(dagId)) {
      row.state = 'success';
      row.end_date ??= row.last_scheduling_decision ?? row.updated_at ?? row.start_date ?? null;
      const message = 'the run that made the backup is stored as success';
      notes.count({ kind: 'mended', table: 'dag_run', columns: ['state'], message }, name);
      return true;
    }
    // With the hash of its DAG the scheduler takes the run for complete, never creates the tasks that are missing, and
    // calls it a success (airflow/models/dagrun.py, _verify_integrity_if_dag_changed).
    row.dag_hash = null;
    const message = `unfinished runs forget their DAG's hash, so that the scheduler creates the missing tasks: ${backup.unfinishedTasks}`;
    notes.count({ kind: 'mended', table: 'dag_run', columns: ['dag_hash'], message }, name);
    return true;
  };
  return { mend, ids, known, dagIds };
}

interface Tasks {
  readonly trigger: Mend;
  readonly mend: Mend;
  /** A table whose rows hang on a task instance. */
  child(table: string): Mend;
}

function mendTasks(
  { backup, scan, keys, notes, sealer }: MendInput,
  runs: ReadonlyMap<string, string>,
): Tasks {
  const tasks = createKeySet();
  const triggers = new Set<string>();
  const key = (row: Row): readonly string[] => [
    row.dag_id ?? '',
    row.task_id ?? '',
    row.run_id ?? '',
    row.map_index ?? '',
  ];
  const name = (row: Row): string => {
    const index = row.map_index === '-1' || typeof row.map_index !== 'string' ? '' : ` [${row.map_index}]`;
    return `${row.dag_id ?? ''} ${row.run_id ?? ''} ${row.task_id ?? ''}${index}`;
  };
  const counted = (
    kind: 'lost' | 'mended',
    table: string,
    row: Row,
    message: string,
    columns?: string[],
  ): void => {
    notes.count({ kind, table, message, ...(columns === undefined ? {} : { columns }) }, name(row));
  };

  const mendTrigger = (row: Row): void => {
    if (row.state !== 'deferred') {
      if (!triggers.has(row.trigger_id ?? '')) row.trigger_id = null;
      return;
    }
    if (typeof row.trigger_id === 'string' && triggers.has(row.trigger_id)) return;
    restart(row, backup);
    const message = 'deferred tasks whose trigger the files cannot tell start from the beginning';
    counted('mended', 'task_instance', row, message, ['state', 'trigger_id', 'next_method', 'next_kwargs']);
  };

  return {
    trigger: (row) => {
      if (backup.keepsIds) {
        triggers.add(row.id ?? '');
        if (typeof row.kwargs === 'string') seeTriggerToken(row.kwargs, backup, sealer);
        return true;
      }
      const [id] = scan.triggers.keys();
      if (id === undefined) {
        const message = 'triggers have no id in these files, and nothing tells which task waits for them';
        notes.count({ kind: 'lost', table: 'trigger', message }, row.classpath ?? '');
        return false;
      }
      row.id = id;
      triggers.add(id);
      const clear = clearIfForeign(row.kwargs ?? '', keys);
      if (clear !== undefined) row.kwargs = sealer.encrypt(clear);
      return true;
    },
    mend: (row) => {
      if (!runs.has(runKey(row))) {
        counted('lost', 'task_instance', row, 'their run is not in the backup');
        return false;
      }
      tasks.add(...key(row));
      if (scan.ownDags.has(row.dag_id ?? '') && !FINISHED_TASK.has(row.state ?? '')) {
        row.state = 'success';
        counted('mended', 'task_instance', row, 'tasks of the backup itself are stored as success', [
          'state',
        ]);
      }
      mendTrigger(row);
      return true;
    },
    child: (table) => (row) => {
      if (tasks.has(...key(row))) return true;
      counted('lost', table, row, `their task instance is not in the backup: ${backup.unfinishedTasks}`);
      return false;
    },
  };
}

function seeTriggerToken(kwargs: string, { minor }: ForeignBackup, sealer: Sealer): void {
  if (compareMinors(minor, '2.9') >= 0 && !kwargs.startsWith('{')) sealer.seeToken(kwargs);
}

function restart(row: Row, { minor }: ForeignBackup): void {
  // Without its trigger a deferred task waits for ever. From state NULL the scheduler starts it from the beginning.
  for (const column of ['state', 'trigger_id', 'trigger_timeout', 'next_method', 'next_kwargs']) {
    row[column] = null;
  }
  // From 2.10 the scheduler counts a new try for it, which must not be one of its retries.
  if (compareMinors(minor, '2.10') >= 0 && typeof row.max_tries === 'string') {
    row.max_tries = String(Number(row.max_tries) + 1);
  }
}
