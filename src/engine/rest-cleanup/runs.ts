import type { Listing, Row } from '../../rest/pages.ts';
import { restPath } from '../../rest/path.ts';
import type { RestDialect } from '../../versions/rest.ts';
import type { RunName } from '../api.ts';
import { runLabel } from '../live-rows.ts';
import type { KeptBecause, KeptRuns } from '../plans.ts';
import type { RestCleanupRequest } from './api.ts';

/** A run of the target, as far as its deletion minds. */
export interface TargetRun {
  readonly dagId: string;
  readonly runId: string;
  readonly ended: boolean;
  /** Null: nobody's schedule stands with it. Else the date that it stands for, to be compared with others of its DAG. */
  readonly scheduledFor: number | null;
}

/** All runs in the order in which they came: those that come meanwhile stand at the end. */
export function listOfRuns({ lists }: RestDialect, onUnreadable: (after: Row | undefined) => void): Listing {
  return { ...lists.dagRuns, onUnreadable };
}

export function pathOfRun({ dagId, runId }: RunName): string {
  return restPath('/dags/{dagId}/dagRuns/{runId}', { dagId, runId });
}

/** Runs of these types tell Airflow where the schedule of a DAG stands. Source: dag_processing/collection.py, models/dag.py. */
const OF_SCHEDULE: readonly unknown[] = ['scheduled', 'backfill'];

export function toRun(row: Row): TargetRun {
  // Partitioned runs of 3.x have no logical date.
  const date = row.logical_date ?? row.run_after;
  const time = typeof date === 'string' ? Date.parse(date) : NaN;
  return {
    dagId: String(row.dag_id),
    runId: String(row.dag_run_id),
    ended: row.state === 'success' || row.state === 'failed',
    scheduledFor: OF_SCHEDULE.includes(row.run_type) && !Number.isNaN(time) ? time : null,
  };
}

/** Which runs stay whatever the schedule is. */
export function createKeeper(
  { carriedBy, keepRuns = [] }: RestCleanupRequest,
  carriers: ReadonlySet<string>,
): (run: TargetRun) => Exclude<KeptBecause, 'schedule'> | undefined {
  const own = carriedBy === undefined ? undefined : runLabel(carriedBy);
  const named = new Set(keepRuns.map(runLabel));
  return (run) => {
    const label = runLabel(run);
    if (label === own) return 'carries';
    if (named.has(label)) return 'named';
    const isLifeboats = carriers.has(run.dagId) || run.dagId === carriedBy?.dagId;
    return !run.ended && isLifeboats ? 'lifeboat' : undefined;
  };
}

const MOST_NAMES = 100;

/** Counts, and the first names. */
export function createKept(): { add(because: KeptBecause, name: string): void; list(): readonly KeptRuns[] } {
  const found = new Map<KeptBecause, { runs: number; names: string[] }>();
  return {
    add(because, name) {
      const entry = found.get(because) ?? { runs: 0, names: [] };
      found.set(because, entry);
      entry.runs += 1;
      if (entry.names.length < MOST_NAMES) entry.names.push(name);
    },
    list: () => [...found].map(([because, kept]) => ({ because, ...kept })),
  };
}
