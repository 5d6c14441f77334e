import type { DatabaseSnapshot } from '../helpers/compare.ts';

type Values = Readonly<Record<string, string | null>>;

const FINISHED = new Set(['success', 'failed', 'skipped', 'upstream_failed', 'removed']);
const FREE = { queued_by_job_id: null, job_id: null, pid: null, hostname: '', external_executor_id: null };
const AFRESH = { next_method: null, next_kwargs: null, trigger_id: null, trigger_timeout: null };
const INTERRUPTED = new Set(['running', 'restarting', 'shutdown']);

/** What the policy `resume` makes of a source: written by hand after the rules of docs/restore.md. */
export function resumed(source: DatabaseSnapshot, snapshotTime: string): DatabaseSnapshot {
  const moment = snapshotTime.replace('T', ' ').replace(/\.?0*Z$/, '+00');
  const runs = rowsOf(source, 'dag_run');
  const runKey = (row: Values): string => JSON.stringify([row.dag_id, row.run_id]);
  const open = new Map(runs.filter((row) => !FINISHED.has(row.state ?? '')).map((row) => [runKey(row), row]));

  const history: Values[] = [];
  const failedTasks: Values[] = [];
  const tasks = rowsOf(source, 'task_instance').map((row) => {
    const state = row.state ?? 'none';
    const run = open.get(runKey(row));
    if (FINISHED.has(state) || (run === undefined && state === 'none')) return row;
    const interrupted = INTERRUPTED.has(state) || (state === 'deferred' && row.trigger_id === null);
    if (run === undefined ? state === 'queued' || INTERRUPTED.has(state) : run.run_type === 'backfill') {
      failedTasks.push(row);
      return { ...row, ...AFRESH, state: 'failed', end_date: moment, duration: seconds(row, moment) };
    }
    if (state === 'queued' || state === 'scheduled') {
      return { ...row, ...FREE, state: 'scheduled', queued_dttm: null };
    }
    if (run !== undefined && interrupted) {
      history.push({ ...row, state: 'failed', end_date: moment, duration: seconds(row, moment) });
      const tries = String(Number(row.max_tries ?? 0) + 1);
      return { ...row, ...FREE, ...AFRESH, state: null, queued_dttm: null, max_tries: tries };
    }
    return { ...row, ...FREE };
  });
  const changed = new Map(source);
  put(changed, 'task_instance', tasks);
  put(
    changed,
    'dag_run',
    runs.map((row) =>
      open.get(runKey(row))?.run_type === 'backfill' ? { ...row, state: 'failed', end_date: moment } : row,
    ),
  );
  put(
    changed,
    'trigger',
    rowsOf(source, 'trigger').map((row) => ({ ...row, triggerer_id: null })),
  );
  if (source.has('task_instance_history')) {
    const known = rowsOf(source, 'task_instance_history');
    const key = (row: Values): string =>
      JSON.stringify([row.dag_id, row.task_id, row.run_id, row.map_index, row.try_number]);
    const there = new Set(known.map(key));
    put(changed, 'task_instance_history', [...known, ...history.filter((row) => !there.has(key(row)))]);
  }
  return changed;
}

function rowsOf(snapshot: DatabaseSnapshot, table: string): readonly Values[] {
  const found = snapshot.get(table);
  return (found?.rows ?? []).map((row) =>
    Object.fromEntries((found?.columns ?? []).map((column, at) => [column.name, row[at] ?? null])),
  );
}

function put(
  snapshot: Map<string, DatabaseSnapshot extends ReadonlyMap<string, infer T> ? T : never>,
  table: string,
  rows: readonly Values[],
): void {
  const found = snapshot.get(table);
  if (!found) return;
  snapshot.set(table, {
    ...found,
    rows: rows.map((row) => found.columns.map((column) => row[column.name] ?? null)),
  });
}

function seconds(row: Values, moment: string): string | null {
  if (row.start_date === null || row.start_date === undefined) return null;
  const micros = (text: string): number => {
    const [, whole = '', fraction = ''] = /^(.{19})(?:\.(\d+))?/.exec(text) ?? [];
    return Date.parse(`${whole.replace(' ', 'T')}Z`) * 1000 + Number(fraction.padEnd(6, '0'));
  };
  return String((micros(moment) - micros(row.start_date)) / 1e6);
}
