import type { Dump, Row } from './dump.ts';

const FINISHED = new Set(['success', 'failed', 'skipped', 'upstream_failed', 'removed']);
const FREE = { queued_by_job_id: null, job_id: null, pid: null, hostname: '', external_executor_id: null };
const AFRESH = { next_method: null, next_kwargs: null, trigger_id: null, trigger_timeout: null };

/** What the policy `resume` makes of a source, as airflow-lab would dump it. The lab leaves no unfinished backfill run. */
export function resumedDump(source: Dump, snapshotTime: string): Dump {
  const moment = { __dt__: snapshotTime };
  const name = (row: Row): string => `${String(row.dag_id)} / ${String(row.run_id)}`;
  const runs = source.semantic.dag_run ?? [];
  const unfinished = new Set(runs.filter((row) => !FINISHED.has(String(row.state))).map(name));
  const interrupted: Row[] = [];

  const tasks = (source.semantic.task_instance ?? []).map((row): Row => {
    if (!unfinished.has(name(row)) || FINISHED.has(String(row.state))) return row;
    if (row.state === 'queued' || row.state === 'scheduled') {
      return { ...row, ...FREE, state: 'scheduled', queued_dttm: null };
    }
    if (row.state !== 'running' && row.state !== 'restarting') return { ...row, ...FREE };
    const duration = secondsBetween((row.start_date as { __dt__: string }).__dt__, snapshotTime);
    interrupted.push({ ...row, state: 'failed', end_date: moment, duration });
    return {
      ...row,
      ...FREE,
      ...AFRESH,
      state: null,
      queued_dttm: null,
      max_tries: Number(row.max_tries) + 1,
    };
  });
  const semantic: Record<string, readonly Row[]> = {
    ...source.semantic,
    task_instance: tasks,
    trigger: (source.semantic.trigger ?? []).map((row) => ({ ...row, triggerer_id: null })),
  };
  const history = source.semantic.task_instance_history;
  if (history) {
    const key = (row: Row): string =>
      JSON.stringify([row.dag_id, row.task_id, row.run_id, row.map_index, row.try_number]);
    const known = new Set(history.map(key));
    const columns = Object.keys(history[0] ?? {});
    const added = interrupted
      .filter((row) => !known.has(key(row)))
      .map((row) => Object.fromEntries(columns.map((column) => [column, row[column]])));
    semantic.task_instance_history = [...history, ...added];
  }
  return { ...source, semantic, hooks: { ...source.hooks, dag_run: resumedHooks(source, tasks) } };
}

/** The same through Airflow's accessors. */
function resumedHooks(source: Dump, tasks: readonly Row[]): unknown {
  const runs = source.hooks.dag_run as Readonly<Record<string, { task_instances: Record<string, Row> }>>;
  return Object.fromEntries(
    Object.entries(runs).map(([run, value]) => {
      const changed = Object.entries(value.task_instances).map(([task, shown]) => {
        const row = tasks.find(
          (one) =>
            `${String(one.dag_id)} / ${String(one.run_id)}` === run &&
            `${String(one.task_id)}[${String(one.map_index)}]` === task,
        );
        if (!row || row.state === shown.state) return [task, shown];
        return [task, { ...shown, state: row.state }];
      });
      return [run, { ...value, task_instances: Object.fromEntries(changed) as unknown }];
    }),
  );
}

/** To the microsecond, which a Date does not have. */
function secondsBetween(from: string, to: string): number {
  const micros = (time: string): number =>
    Date.parse(time.slice(0, 19) + 'Z') * 1000 + Number(time.slice(20, 26));
  return (micros(to) - micros(from)) / 1e6;
}
