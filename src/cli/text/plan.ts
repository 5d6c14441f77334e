import type {
  BackupPlan,
  Blocker,
  CleanupPlan,
  EnvironmentFacts,
  PlanWarning,
  PrunePlan,
  RestBackupPlan,
  RestCleanupPlan,
  RestorePlan,
  RestRestorePlan,
  TimeLimit,
} from '../../engine/plans.ts';
import { restBackupSections } from './rest.ts';
import { restCleanupSections } from './rest-cleanup.ts';
import { restRestoreSections } from './rest-restore.ts';
import { facts, labelled, names, table, wrap } from './table.ts';
import type { Style } from './style.ts';
import { age, bytes, count, counted, time } from './units.ts';

export type AnyPlan =
  BackupPlan | RestBackupPlan | RestorePlan | RestRestorePlan | CleanupPlan | RestCleanupPlan | PrunePlan;

/** A plan for people: first which database it is about, then what will happen to each table, then what is in the way. */
export function planText(plan: AnyPlan, style: Style): string {
  switch (plan.kind) {
    case 'backup':
      return backupPlanText(plan, style);
    case 'rest-backup':
      return sections([...restBackupSections(plan, style), warningLines(plan.warnings, style)]);
    case 'restore':
      return restorePlanText(plan, style);
    case 'rest-restore':
      return sections([
        ...restRestoreSections(plan, style),
        warningLines(plan.warnings, style),
        blockerLines(plan.blockers, style),
      ]);
    case 'rest-cleanup':
      return sections([
        ...restCleanupSections(plan, style),
        warningLines(plan.warnings, style),
        blockerLines(plan.blockers, style),
      ]);
    case 'cleanup':
      return cleanupPlanText(plan, style);
    case 'prune':
      return prunePlanText(plan, style);
  }
}

/** Host, database, Airflow version and the last sign of life of its scheduler. */
function environmentLines(title: string, facts_: EnvironmentFacts, style: Style): string {
  const beat = facts_.schedulerHeartbeat;
  return facts([
    [title, `${facts_.name}, schema ${facts_.schema}`],
    ['Airflow', `${facts_.airflow} (Alembic ${facts_.alembicHead}), PostgreSQL ${facts_.postgres}`],
    [
      'Scheduler',
      beat === null
        ? 'no heartbeat ever'
        : `last heartbeat ${age(new Date(beat), style.now())} (${time(beat)})`,
    ],
  ]);
}

function backupPlanText(plan: BackupPlan, style: Style): string {
  const rows = plan.tables.map((one) => [
    one.table,
    count(one.parts),
    `~${bytes(one.estimatedBytes)}`,
    one.addedFor === undefined ? '' : `taken along for ${one.addedFor}`,
  ]);
  const columns = [
    { title: 'Table' },
    { title: 'Parts', align: 'right' },
    { title: 'In the database', align: 'right' },
    { title: '' },
  ] as const;
  return sections([
    environmentLines('Source', plan.source, style),
    `${style.bold('Plan: back up')} ${counted(plan.tables.length, 'table')} over ${counted(plan.jobs, 'connection')}, ${plan.compression}${plan.maxRate === null ? '' : `, at most ${bytes(plan.maxRate)} a second`}`,
    table(columns, rows, style),
    plan.secrets.recoverableWith === 'none' ? '' : labelled(style.bold, 'Secrets:', plan.secrets.says, style),
    warningLines(plan.warnings, style),
  ]);
}

function restorePlanText(plan: RestorePlan, style: Style): string {
  const busy = plan.tables.filter((one) => one.deletes + one.loads + one.keeps > 0 || one.note !== undefined);
  const idle = plan.tables.filter((one) => !busy.includes(one)).map((one) => one.table);
  const rows = busy.map((one) => [
    one.table,
    one.action,
    count(one.deletes),
    one.atMost === true ? `≤ ${count(one.loads)}` : count(one.loads),
    count(one.keeps),
    one.note ?? '',
  ]);
  const atMost = plan.tables.some((one) => one.atMost === true) ? '≤ ' : '';
  const total = (of: 'deletes' | 'loads' | 'keeps'): string =>
    (of === 'loads' ? atMost : '') + count(plan.tables.reduce((sum, one) => sum + one[of], 0));
  const columns = [
    { title: 'Table' },
    { title: 'Action' },
    { title: 'Delete', align: 'right' },
    { title: 'Load', align: 'right' },
    { title: 'Keep', align: 'right' },
    { title: '' },
  ] as const;
  return sections([
    environmentLines('Target', plan.target, style),
    `${style.bold('Plan: restore')} ${plan.backupId}\n${facts([
      [
        '  of',
        `${plan.source.environment}, Airflow ${plan.source.airflow}, as it was at ${time(plan.snapshotTime)}`,
      ],
      ...chosenFacts(plan.chosen),
      ['  clean', cleanText(plan)],
      ['  way', wayText(plan)],
      ['  disk', `about ${bytes(plan.spaceBytes)} should be free on the target’s server`],
      ['  variables', plan.variables],
      ['  connections', plan.connections],
      ['  in flight', inFlightText(plan.inFlight)],
      ['  pause states', pauseStateText(plan.pauseState)],
      ...(plan.keepRuns.length === 0 ? [] : [['  kept runs', plan.keepRuns.join(', ')] as const]),
    ])}`,
    table(columns, [...rows, ['total', '', total('deletes'), total('loads'), total('keeps')]], style),
    idle.length === 0 ? '' : wrap(`Nothing to do in ${names(idle, 100)}.`, style.width),
    warningLines([...limitWarnings(plan), ...plan.warnings], style),
    blockerLines(plan.blockers, style),
  ]);
}

function wayText({ via, viaReason }: RestorePlan): string {
  const what = {
    shadow: 'into tables beside the live ones, exchanged in the last moments',
    'in-place': 'into the live tables, which are locked meanwhile',
  }[via];
  return `${via}: ${what} (${viaReason})`;
}

function limitWarnings({ inFlight }: RestorePlan): readonly PlanWarning[] {
  if (inFlight.passedLimits.length === 0) return [];
  return [{ code: 'passed-limits', message: `Time limits: ${passedLimitsText(inFlight.passedLimits)}.` }];
}

function inFlightText({ policy, runs, backfillRuns }: RestorePlan['inFlight']): string {
  const what = {
    resume: 'resume: the scheduler goes on with what had not ended',
    fail: 'fail: what had not ended ends as failed',
    exclude: 'exclude: runs that had not ended are left out',
  }[policy];
  if (runs === null) return `${what}; the backup does not say how many`;
  const states = Object.entries(runs).map(([state, number]) => `${count(number)} ${state}`);
  const backfill =
    backfillRuns > 0 && policy === 'resume' ? `; ${counted(backfillRuns, 'backfill run')} end as failed` : '';
  return `${what} (${states.length === 0 ? 'no runs' : `runs: ${states.join(', ')}`}${backfill})`;
}

/** Limits that ran out while the environment was down, as a warning. */
export function passedLimitsText(limits: readonly TimeLimit[]): string {
  const called = (limit: TimeLimit): string =>
    [limit.dagId, limit.runId, ...(limit.taskId === undefined ? [] : [limit.taskId])].join('/');
  const of = (kind: TimeLimit['kind']): readonly string[] =>
    limits.filter((limit) => limit.kind === kind).map(called);
  const kinds: readonly (readonly [readonly string[], string])[] = [
    [of('dagrun'), 'runs past their dagrun_timeout, which the scheduler will fail'],
    [of('trigger'), 'deferred tasks past their timeout, which the scheduler will fail'],
    [of('sensor'), 'sensors whose own timeout counts from their first poke'],
  ];
  return kinds
    .filter(([found]) => found.length > 0)
    .map(([found, what]) => `${what}: ${names(found, 10)}`)
    .join('; ');
}

function chosenFacts(chosen: RestorePlan['chosen']): readonly (readonly [string, string])[] {
  if (chosen === null) return [];
  const { dags, excludeDags, since, dagIds, dagCount, runs, runsInBackup } = chosen;
  const asked = [
    dags.length === 0 ? 'all' : dags.join(', '),
    ...(excludeDags.length === 0 ? [] : [`without ${excludeDags.join(', ')}`]),
  ].join(' ');
  const started = since === null ? '' : `; those that started since ${time(since)} or had not ended`;
  return [
    ['  DAGs', `${asked} (${count(dagCount)}: ${names(dagIds, 10)})`],
    ['  runs', `${count(runs)} of ${count(runsInBackup)}${started}`],
  ];
}

function cleanText({ clean, chosen }: RestorePlan): string {
  if (!clean) return 'no';
  return chosen === null
    ? 'yes: history of the target is deleted first'
    : 'yes: the same part of the target’s history is deleted first, and nothing else';
}

function pauseStateText(state: RestorePlan['pauseState']): string {
  return {
    backup: 'backup: each DAG as it was in the source',
    paused: 'paused: every DAG of the backup, until lifeboat activate',
    unchanged: 'unchanged: DAGs that the target knows stay as they are',
  }[state];
}

function cleanupPlanText(plan: CleanupPlan, style: Style): string {
  const busy = plan.tables.filter((one) => one.deletes + one.keeps > 0);
  const columns = [
    { title: 'Table' },
    { title: 'Delete', align: 'right' },
    { title: 'Keep', align: 'right' },
  ] as const;
  const deletes = plan.tables.reduce((sum, one) => sum + one.deletes, 0);
  const keeps = plan.tables.reduce((sum, one) => sum + one.keeps, 0);
  const rows = busy.map((one) => [one.table, count(one.deletes), count(one.keeps)]);
  return sections([
    environmentLines('Target', plan.target, style),
    `${style.bold('Plan: clean up')} ${counted(deletes, 'row')} of history`,
    busy.length === 0 ? '' : table(columns, [...rows, ['total', count(deletes), count(keeps)]], style),
    plan.keepRuns.length === 0
      ? ''
      : wrap(`Kept with everything that hangs on them: ${plan.keepRuns.join(', ')}.`, style.width),
    plan.untouched.length === 0 ? '' : wrap(`Never touched: ${names(plan.untouched, 100)}.`, style.width),
    warningLines(plan.warnings, style),
    blockerLines(plan.blockers, style),
  ]);
}

function prunePlanText(plan: PrunePlan, style: Style): string {
  const rows = [
    ...plan.keep.map((one) => [one.backupId, 'keep', one.reasons.join(', ')]),
    ...plan.remove.map((id) => [id, 'remove', '']),
    ...plan.debris.map((id) => [id, 'remove', 'debris: no manifest, older than a day']),
    ...plan.underWay.map((id) => [id, 'keep', 'no manifest yet: may be under way']),
    ...plan.unreadable.map((id) => [id, 'keep', 'its manifest cannot be read']),
    ...plan.leftovers.map((name) => [name, 'remove', 'debris: a write that never ended, older than a day']),
  ].sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
  const head = `${style.bold('Plan: prune')} ${counted(plan.remove.length, 'backup')} and the debris of ${String(plan.debris.length + plan.leftovers.length)}, keep ${String(plan.keep.length)}`;
  const columns = [{ title: 'Backup' }, { title: 'Action' }, { title: 'Because' }];
  return sections([head, rows.length === 0 ? '' : table(columns, rows, style)]);
}

function warningLines(warnings: readonly PlanWarning[], style: Style): string {
  return warnings
    .map(
      ({ message, next = '' }) =>
        labelled(style.yellow, 'warning:', message, style) +
        (next === '' ? '' : `\n  ${labelled(style.bold, 'next:', next, style)}`),
    )
    .join('\n');
}

function blockerLines(blockers: readonly Blocker[], style: Style): string {
  return blockers
    .map(
      (one) =>
        `${labelled(style.red, 'blocked:', one.message, style)}\n  ${labelled(style.bold, 'next:', one.next, style)}`,
    )
    .join('\n');
}

/** Non-empty parts with an empty line between them. */
export function sections(parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n\n');
}
