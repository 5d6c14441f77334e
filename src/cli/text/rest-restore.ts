import type { HeldDag, RestRestorePlan, RestSettingsPlan } from '../../engine/plans.ts';
import type { RestRestoreResult } from '../../engine/rest-restore/api.ts';
import { leftOutText } from './left-out.ts';
import { WAYS } from './rest.ts';
import type { Style } from './style.ts';
import { facts, labelled, names, table } from './table.ts';
import { count, counted, duration, time } from './units.ts';

type Restored = NonNullable<RestRestoreResult['restored']>;

/** What a restore through the API will write; warnings and blockers are the caller's. */
export function restRestoreSections(plan: RestRestorePlan, style: Style): readonly string[] {
  const { source, target } = plan;
  return [
    facts([
      ['Target', `${target.name}, through ${WAYS[target.via]}`],
      ['Airflow', `${target.airflow}, REST API ${target.api}`],
    ]),
    `${style.bold('Plan: restore')} ${plan.backupId}\n${facts([
      ['  of', `${source.environment}, Airflow ${source.airflow}, as it was at ${time(plan.snapshotTime)}`],
      ['  in flight', inFlightText(plan.runs)],
      ['  pause states', plan.pauseState],
    ])}`,
    settingsTable(plan.settings, style),
    dagsFacts(plan.dags),
    plan.queued.length === 0
      ? ''
      : `Events made again, since DAGs wait with them: ${names(plan.queued.map(({ uri }) => uri))}`,
    leftOutText(plan.leftOut, style),
  ];
}

function settingsTable(settings: readonly RestSettingsPlan[], style: Style): string {
  if (settings.length === 0) return '';
  const columns = [
    { title: 'Table' },
    { title: 'Strategy' },
    { title: 'Add', align: 'right' },
    { title: 'Replace', align: 'right' },
    { title: 'Same', align: 'right' },
    { title: 'Keep', align: 'right' },
    { title: 'Left out', align: 'right' },
  ] as const;
  const rows = settings.map((one) => [
    one.table,
    one.strategy,
    ...[one.adds, one.replaces, one.same, one.keeps, one.lacking].map(count),
  ]);
  return table(columns, rows, style);
}

function inFlightText(runs: RestRestorePlan['runs']): string {
  if (runs === null) return 'unfinished runs are left out';
  const what = {
    resume: 'resume: made again, with what had ended, and gone on with when their DAGs are let go',
    fail: 'fail: made again, and ended as failed',
    exclude: 'exclude: unfinished runs stay in the backup',
  }[runs.policy];
  const renamed = runs.renamed === 0 ? '' : `, ${count(runs.renamed)} with a new id`;
  return `${what} (${count(runs.restores)} of ${counted(runs.inBackup, 'run')}${renamed}; ${counted(runs.finishedTasks, 'finished task')}, ${counted(runs.xcoms, 'XCom')})`;
}

function dagsFacts(dags: RestRestorePlan['dags']): string {
  if (dags === null) return '';
  const some = (list: readonly string[]): string | undefined =>
    list.length === 0 ? undefined : `${counted(list.length, 'DAG')}: ${names(list)}`;
  return facts([
    ['Let go', some(dags.unpause)],
    ['  at once one run of', some(dags.startsOne)],
    ['Pause', some(dags.pause)],
    ['Stay paused', dags.held.length === 0 ? undefined : heldText(dags.held)],
    ['Not in the target', some(dags.missing)],
    ['Lifeboat’s', some(dags.carrying)],
  ]);
}

export function heldText(held: readonly HeldDag[]): string {
  const list = held.map(
    ({ dagId, runs }) => `${dagId} (${runs === null ? 'an unknown number of' : count(runs)} runs)`,
  );
  return `${counted(held.length, 'DAG')} whose catchup would start runs of the past: ${names(list)}`;
}

/** What an operator has to know after a restore through the API, ending in what to do next. */
export function restRestoreText(result: RestRestoreResult, style: Style): string {
  const { restored, plan } = result;
  if (restored === undefined) return style.dim('Dry run: nothing was changed.');
  const written = restored.settings.reduce(
    (sum, { added, replaced }) => sum + added.length + replaced.length,
    0,
  );
  const runs = restored.runs?.made.length ?? 0;
  const head = `${style.green('Restored')} ${result.backupId} into ${plan.target.name} in ${duration(restored.seconds)}: ${counted(written, 'setting')} written, ${counted(runs, 'run')} made again, ${counted(restored.unpaused.length, 'DAG')} let go, ${count(restored.paused.length)} paused, with ${counted(result.requests, 'request')}.`;
  return [head, settingsFacts(restored), attention(plan, restored, style), nextSteps(plan, style)]
    .filter((part) => part !== '')
    .join('\n\n');
}

const TITLES = { slot_pool: 'Pools', variable: 'Variables', connection: 'Connections' } as const;

function settingsFacts({ settings, runs, events }: Restored): string {
  const made: (readonly [string, string])[] =
    runs === null
      ? []
      : [
          [
            'Runs',
            `${count(runs.made.length)} made again, ${count(runs.before.length)} were made before; ${counted(runs.tasksSet, 'finished task')} set, ${counted(runs.xcomsWritten, 'XCom')} written`,
          ],
        ];
  const queued: (readonly [string, string])[] = events.length === 0 ? [] : [['Events', names(events)]];
  return facts([
    ...made,
    ...queued,
    ...settings.map(
      ({ table: name, added, replaced, same, kept }) =>
        [
          TITLES[name],
          `${count(added.length)} added, ${count(replaced.length)} replaced, ${count(same)} were the same${kept.length === 0 ? '' : `, ${count(kept.length)} came there meanwhile and were kept`}`,
        ] as const,
    ),
  ]);
}

function attention({ dags, leftOut }: RestRestorePlan, restored: Restored, style: Style): string {
  const different = restored.settings.filter(({ keptDifferent }) => keptDifferent.length > 0);
  const refused = restored.refused.map(({ table: name, name: row, message }) => `${name} ${row}: ${message}`);
  const { others = [], again = [], problems = [] } = restored.runs ?? {};
  const points = [
    ...problems,
    ...(again.length === 0 ? [] : [`Tasks that had ended and run again: ${names(again)}.`]),
    ...(others.length === 0
      ? []
      : [`Runs that the target has of its own under these names; they were left alone: ${names(others)}.`]),
    ...refused.map((one) => `Airflow did not take ${one}`),
    ...different.map(
      (one) => `${TITLES[one.table]} kept although the backup has others: ${names(one.keptDifferent)}.`,
    ),
    ...leftOut.map((one) => `Not restored: ${one.table} ${names(one.names ?? [])}: ${one.reason}.`),
    ...(dags === null || dags.held.length === 0 ? [] : [`Still paused: ${heldText(dags.held)}.`]),
    ...(dags === null || dags.missing.length === 0
      ? []
      : [`DAGs that the target has not parsed; deploy their files: ${names(dags.missing)}.`]),
  ];
  return points.map((text) => labelled(style.yellow, '!', text, style)).join('\n');
}

function nextSteps({ dags, backupId, pauseState }: RestRestorePlan, style: Style): string {
  const next =
    pauseState === 'paused'
      ? `let the DAGs go with lifeboat activate ${backupId}, all of them or in waves with --dags.`
      : (dags?.held.length ?? 0) > 0
        ? `give the held DAGs a later start_date or catchup=False, or let them run with --catchup start.`
        : 'run it again at any time: what is there already stays as it is.';
  return labelled(style.bold, 'Next:', next, style);
}
