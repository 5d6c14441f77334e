import { LifeboatError } from '../errors.ts';
import { passageTo } from '../versions/between.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import type { RestoreRequest } from './api.ts';
import { takenBlockers } from './chosen/facts.ts';
import type { ChosenFacts } from './chosen/facts.ts';
import { chosenInFlight, chosenLoads, chosenNotes, chosenPart } from './chosen/plan.ts';
import { unfillableColumns } from './drift.ts';
import { missingRunBlockers, runLabel } from './live-rows.ts';
import { databaseSource, type Manifest } from './manifest.ts';
import { planInFlight } from './in-flight/plan.ts';
import type { PlanFacts } from './in-flight/plan.ts';
import { availableTables, notesOnTheWay, tablesOnTheWay } from './on-the-way.ts';
import type { Blocker, PlanWarning, RestorePlan, RestorePlanTable } from './plans.ts';
import { runningBlockers, runningWarnings } from './running-tasks.ts';
import { selectTables } from './selection.ts';
import { spaceNeeded } from './space.ts';
import type { TargetState } from './target-state.ts';

export interface PlannedRestore {
  readonly plan: RestorePlan;
  /** What is loaded, in load order. */
  readonly tables: readonly ResolvedTable[];
}

type PlanRequest = Pick<
  RestoreRequest,
  | 'clean'
  | 'variables'
  | 'connections'
  | 'pauseState'
  | 'inFlight'
  | 'tables'
  | 'ignoreRunning'
  | 'fernetKeys'
>;

/**
 * Pure: what a restore of this backup into this target will do.
 *
 * @throws LifeboatError 'unsupported' when the two do not fit (minor, columns), 'usage' for unknown tables.
 */
export function planRestore(
  manifest: Manifest,
  state: TargetState,
  request: PlanRequest,
  facts: PlanFacts,
  chosen?: ChosenFacts,
): PlannedRestore {
  const known = tablesOnTheWay(manifest, state);
  const stored = new Map(manifest.tables.map((table) => [table.name, table]));
  const available = availableTables(known, stored, state);
  const { tables, addedFor } = selectTables(available, state.live.foreignKeys, { include: request.tables });
  refuseUnfillable(state, tables);

  const planned = tables.map((table): RestorePlanTable => {
    const count = state.counts.get(table.name) ?? { rows: 0, live: 0 };
    const deletes = deletedRows(table, state, request, chosen);
    const notes = [
      ...neededBy(addedFor.get(table.name)),
      ...chosenNotes(table, chosen),
      ...notesOnTheWay(table, request.fernetKeys.length > 0),
    ];
    return {
      table: table.name,
      action: table.restore.kind === 'history' ? 'load' : table.restore.kind,
      deletes,
      ...chosenLoads(table, stored.get(table.name)?.rows ?? 0, chosen),
      keeps: count.rows - deletes,
      ...(notes.length === 0 ? {} : { note: notes.join('; ') }),
    };
  });
  const atWork = chosen ? { ...state, runningTasks: chosen.running } : state;
  const plan: RestorePlan = {
    kind: 'restore',
    backupId: manifest.backupId,
    snapshotTime: manifest.snapshotTime,
    source: {
      environment: manifest.source.environment,
      airflow: manifest.source.airflow,
      alembicHead: databaseSource(manifest).alembicHead,
    },
    target: state.facts,
    via: 'in-place',
    viaReason: '',
    spaceBytes: spaceNeeded(
      manifest,
      tables.map(({ name }) => name),
    ),
    clean: request.clean,
    variables: request.variables,
    connections: request.connections,
    pauseState: request.pauseState,
    keepRuns: state.liveRuns.map(runLabel),
    inFlight: chosenInFlight(planInFlight(manifest, request.inFlight ?? 'resume', facts), chosen),
    chosen: chosen ? chosenPart(manifest, chosen) : null,
    tables: planned,
    blockers: [
      ...missingRunBlockers(state),
      ...(chosen
        ? takenBlockers(state.facts.name, chosen.taken, request.clean)
        : historyBlockers(state, tables, request)),
      ...childBlockers(state, tables, request, chosen),
      ...(disturbsTasks(tables, request) ? runningBlockers(atWork, request) : []),
    ],
    warnings: [
      ...warnings(manifest, state, tables),
      ...(disturbsTasks(tables, request) ? runningWarnings(atWork, request) : []),
    ],
  };
  return { plan, tables };
}

/** Tasks that are at work lose their rows: only then is it any business of theirs. */
function disturbsTasks(tables: readonly ResolvedTable[], request: PlanRequest): boolean {
  return request.clean && tables.some((table) => table.name === 'task_instance');
}

/** Exact, for the moment that the state was read at. */
function deletedRows(
  table: ResolvedTable,
  state: TargetState,
  request: PlanRequest,
  chosen: ChosenFacts | undefined,
): number {
  if (!request.clean || table.restore.kind !== 'history') return 0;
  if (chosen) return chosen.cleared.get(table.name) ?? 0;
  const count = state.counts.get(table.name) ?? { rows: 0, live: 0 };
  return count.rows - count.live;
}

function neededBy(table: string | undefined): readonly string[] {
  return table === undefined ? [] : [`taken along for ${table}`];
}

function refuseUnfillable(state: TargetState, tables: readonly ResolvedTable[]): void {
  const columns = unfillableColumns(state.live, tables);
  if (columns.length === 0) return;
  throw new LifeboatError(
    'unsupported',
    `The target's columns ${columns.join(', ')} are NOT NULL without a default, and no backup of Airflow has values for them.`,
    { next: 'Give these columns a default, or drop them: they are not Airflow’s.' },
  );
}

function historyBlockers(
  state: TargetState,
  tables: readonly ResolvedTable[],
  request: PlanRequest,
): readonly Blocker[] {
  if (request.clean) return [];
  const found = tables
    .filter((table) => table.countsAsHistory)
    .map((table) => ({ table: table.name, count: state.counts.get(table.name) }))
    .filter(({ count }) => count !== undefined && count.rows > count.live)
    .map(({ table, count }) => `${(count?.rows ?? 0) - (count?.live ?? 0)} rows in ${table}`);
  if (found.length === 0) return [];
  return [
    {
      code: 'history',
      message: `${state.facts.name} has a history of its own: ${found.join(', ')}.`,
      next: 'Add --clean to delete it first (variables, connections and pools stay), or restore into a fresh environment.',
    },
  ];
}

/** Rows that hang on what would be deleted, and that the backup cannot bring back. */
function childBlockers(
  state: TargetState,
  tables: readonly ResolvedTable[],
  request: PlanRequest,
  chosen: ChosenFacts | undefined,
): readonly Blocker[] {
  if (!request.clean) return [];
  const history = tables.filter((table) => table.restore.kind === 'history').map((table) => table.name);
  const cleaned = new Set(chosen ? history.filter((name) => chosen.cleared.has(name)) : history);
  const rows = (table: string): number =>
    (chosen ? chosen.cleared.get(table) : state.counts.get(table)?.rows) ?? 0;
  const left = state.live.foreignKeys.filter(
    (key) => cleaned.has(key.parent) && !cleaned.has(key.table) && rows(key.table) > 0,
  );
  const blockers = outsideBlockers(state, cleaned);
  if (left.length === 0) return blockers;
  const names = [...new Set(left.map((key) => key.table))];
  return [
    ...blockers,
    {
      code: 'children-outside',
      message: `Rows of ${names.join(', ')} refer to what --clean would delete, and this restore does not bring them back.`,
      next: `Restore ${names.join(', ')} too, or leave out their parents.`,
    },
  ];
}

export function outsideBlockers(state: TargetState, cleaned: ReadonlySet<string>): readonly Blocker[] {
  return state.outsideChildren
    .filter((child) => cleaned.has(child.parent))
    .map((child) => ({
      code: 'foreign-table',
      message: `The table ${child.table}, which is not Airflow's, has a foreign key to ${child.parent}.`,
      next: 'Drop that foreign key for the time of the work: deleting rows could delete rows there too.',
    }));
}

function warnings(
  manifest: Manifest,
  state: TargetState,
  tables: readonly ResolvedTable[],
): readonly PlanWarning[] {
  const result: PlanWarning[] = state.driftNotes.map((note) => ({
    code: 'drift',
    message: `In the target, ${note}.`,
  }));
  const planned = new Set(tables.map((table) => table.name));
  const missing = state.tables.filter((table) => !planned.has(table.name) && table.restore.kind !== 'lookup');
  if (missing.length > 0) {
    result.push({
      code: 'partial',
      message: `Not restored: ${missing.map((table) => table.name).join(', ')}.`,
    });
  }
  const { airflow, alembicHead } = databaseSource(manifest);
  if (passageTo(state.release, alembicHead).kind === 'newer') {
    result.push({
      code: 'newer-minor',
      message: `The backup is of Airflow ${airflow} and the target is ${state.facts.airflow}: rows become what Airflow’s own migrations make of them.`,
    });
  } else if (state.facts.alembicHead !== alembicHead) {
    result.push({
      code: 'patch-release',
      message: `Backup and target are different patch releases of Airflow ${state.facts.airflow}; their tables are the same.`,
    });
  }
  return result;
}

/** @throws LifeboatError 'refused' with everything that is in the way. */
export function refuseBlocked(blockers: readonly Blocker[]): void {
  const [first, ...others] = blockers;
  if (!first) return;
  const more = others.map((blocker) => blocker.message).join(' ');
  throw new LifeboatError('refused', `${first.message}${more === '' ? '' : ` ${more}`}`, {
    next: first.next,
    details: { blockers },
  });
}

/** Somebody was asked, and did not say yes. */
export function notConfirmed(what: string): LifeboatError {
  return new LifeboatError('refused', `Nothing was changed: the ${what} was not confirmed.`, {
    next: 'Look at the plan (--dry-run), then confirm it, or give --yes.',
  });
}
