import type { ListRunsResult } from '../../engine/list-runs.ts';
import type { Style } from './style.ts';
import { table } from './table.ts';
import { count, counted, time } from './units.ts';

const COLUMNS = [
  { title: 'DAG' },
  { title: 'Run' },
  { title: 'State' },
  { title: 'Type' },
  { title: 'Logical date' },
  { title: 'Started' },
  { title: 'Ended' },
] as const;

/** Runs of a backup for people, and how many there are. */
export function runsText(result: ListRunsResult, style: Style): string {
  const { backupId, total, matching, states, runs } = result;
  const when = (date: string | null): string => (date === null ? '' : time(date));
  const rows = runs.map((run) => [
    run.dagId,
    run.runId,
    run.state ?? '',
    run.runType ?? '',
    when(run.logicalDate),
    when(run.startDate),
    when(run.endDate),
  ]);
  const byState = Object.entries(states).map(([state, number]) => `${count(number)} ${state}`);
  const of = matching === total ? counted(total, 'run') : `${count(matching)} of ${counted(total, 'run')}`;
  const more = runs.length < matching ? ` Listed are the newest ${count(runs.length)}; --limit.` : '';
  const sum = `${of} in ${backupId}${byState.length === 0 ? '' : `: ${byState.join(', ')}`}.${more}`;
  return rows.length === 0 ? sum : `${table(COLUMNS, rows, style)}\n\n${sum}`;
}
