import { LifeboatError } from '../errors.ts';
import type { EngineContext } from './api.ts';
import { resolveBackup } from './catalog.ts';
import { readRows } from './export/rows.ts';
import { type Manifest, storedTable } from './manifest.ts';
import { dagChooser } from './rest-restore/plan-dags.ts';

export interface ListRunsRequest {
  readonly backup: string;
  /** Shell patterns of DAG ids. */
  readonly dags?: readonly string[];
  readonly excludeDags?: readonly string[];
  readonly states?: readonly string[];
  /** Milliseconds before the backup's moment; runs that had not ended are there all the same. */
  readonly since?: number;
  /** Of those that match, the newest. */
  readonly limit: number;
}

/** Dates are ISO 8601. */
export interface StoredRun {
  readonly dagId: string;
  readonly runId: string;
  readonly runType: string | null;
  readonly state: string | null;
  readonly logicalDate: string | null;
  readonly startDate: string | null;
  readonly endDate: string | null;
}

export interface ListRunsResult {
  readonly backupId: string;
  /** In the backup. */
  readonly total: number;
  readonly matching: number;
  /** Of those that match. */
  readonly states: Readonly<Record<string, number>>;
  /** Newest first, at most as many as were asked for. */
  readonly runs: readonly StoredRun[];
}

/**
 * The runs of a backup, of a database or through the API, sealed or not. No more than twice those that are given are in
 * memory, however many there are.
 *
 * @throws LifeboatError: not-found, usage (it has no runs), integrity
 */
export async function listRuns(ctx: EngineContext, request: ListRunsRequest): Promise<ListRunsResult> {
  const { backupId, manifest } = await resolveBackup(ctx, request.backup);
  const stored = storedTable(manifest, 'dag_run');
  if (stored === undefined) {
    throw new LifeboatError('usage', `The backup ${backupId} was made without the table dag_run.`, {
      next: '`lifeboat show` says what was left out, and why.',
    });
  }
  const matches = matcher(manifest, request);
  const newest = createNewest(request.limit);
  const states = new Map<string, number>();
  let total = 0;
  let matching = 0;
  for await (const row of readRows(ctx, stored, () => undefined)) {
    total += 1;
    const record = Object.fromEntries(stored.columns.map((column, at) => [column, row[at] ?? null]));
    if (!matches(record)) continue;
    matching += 1;
    const state = record.state ?? 'none';
    states.set(state, (states.get(state) ?? 0) + 1);
    newest.add(toRun(record), timeOf(record, [LOGICAL, OLD_LOGICAL, 'run_after', ...STARTED]));
  }
  return {
    backupId,
    total,
    matching,
    states: Object.fromEntries([...states].sort(([a], [b]) => (a < b ? -1 : 1))),
    runs: newest.list(),
  };
}

type Columns = Readonly<Record<string, string | null>>;

const [LOGICAL, OLD_LOGICAL] = ['logical_date', 'execution_date'];
const STARTED = ['start_date', 'queued_at'];
const ENDED: readonly (string | null | undefined)[] = ['success', 'failed'];

/** As restore chooses: by when a run began, whatever its date. */
function matcher(
  { snapshotTime }: Manifest,
  { dags, excludeDags, states, since }: ListRunsRequest,
): (run: Columns) => boolean {
  const isChosen = dagChooser(dags, excludeDags);
  return (run) => {
    if (!isChosen(run.dag_id ?? '')) return false;
    if (states !== undefined && !states.includes(run.state ?? 'none')) return false;
    return since === undefined || isSince(run, Date.parse(snapshotTime) - since);
  };
}

/** Whether a run belongs to what `--since` chooses; all that had not ended do. */
export function isSince(run: Columns, start: number): boolean {
  return !ENDED.includes(run.state) || timeOf(run, [...STARTED, LOGICAL, OLD_LOGICAL]) >= start;
}

/** Of the first of these columns that has something. */
function timeOf(run: Columns, columns: readonly (string | undefined)[]): number {
  for (const column of columns) {
    const time = Date.parse(isoDate(run[column ?? '']) ?? '');
    if (!Number.isNaN(time)) return time;
  }
  return 0;
}

/** `2026-11-21 20:49:39.69817+00`, as COPY writes it. */
export function isoDate(text: string | null | undefined): string | null {
  if (text === null || text === undefined) return null;
  return text.replace(' ', 'T').replace(/\+00$/, '+00:00');
}

function toRun(run: Columns): StoredRun {
  return {
    dagId: run.dag_id ?? '',
    runId: run.run_id ?? '',
    runType: run.run_type ?? null,
    state: run.state ?? null,
    logicalDate: isoDate(run.logical_date ?? run.execution_date),
    startDate: isoDate(run.start_date),
    endDate: isoDate(run.end_date),
  };
}

/** Keeps the newest, and of two as new as each other the one that came first. */
function createNewest(limit: number): {
  add(run: StoredRun, time: number): void;
  list(): readonly StoredRun[];
} {
  let kept: { readonly run: StoredRun; readonly time: number }[] = [];
  const cut = (): void => {
    kept = kept.sort((a, b) => b.time - a.time).slice(0, limit);
  };
  return {
    add(run, time) {
      kept.push({ run, time });
      if (kept.length >= 2 * limit) cut();
    },
    list() {
      cut();
      return kept.map(({ run }) => run);
    },
  };
}
