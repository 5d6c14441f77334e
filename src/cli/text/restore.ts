import type { MergeCounts, RestoreResult } from '../../engine/api.ts';
import { passedLimitsText, sections } from './plan.ts';
import type { Style } from './style.ts';
import { facts, labelled, names, table } from './table.ts';
import { count, counted, duration } from './units.ts';

/** An attempt at all locks, of which the last one precedes the time they are held. */
const LOCK_ATTEMPT_SECONDS = 0.4;
const SHADOW_ATTEMPT_SECONDS = 0.07;

type Loaded = NonNullable<RestoreResult['loaded']>;

/** What an operator has to know after a restore, ending in what to do next. */
export function restoreText(result: RestoreResult, style: Style): string {
  const loaded = result.loaded;
  if (loaded === undefined) return style.dim('Dry run: nothing was changed.');
  const head = `${style.green('Restored')} ${result.backupId} into ${result.plan.target.name} in ${duration(loaded.seconds)}: ${counted(loaded.rows, 'row')} loaded, ${count(loaded.deleted)} deleted.`;
  return sections([
    head,
    loadedTable(loaded, style),
    stateFacts(loaded, result.plan),
    attention(loaded, style),
    nextSteps(result, loaded, style),
  ]);
}

function loadedTable(loaded: Loaded, style: Style): string {
  const busy = loaded.tables.filter((one) => one.rows > 0);
  if (busy.length === 0) return '';
  const moved = busy.some((one) => one.moved > 0);
  const columns = [
    { title: 'Table' },
    { title: 'Rows', align: 'right' },
    ...(moved ? [{ title: 'New ids', align: 'right' } as const] : []),
  ] as const;
  const rows = busy.map((one) => [one.table, count(one.rows), ...(moved ? [count(one.moved)] : [])]);
  return table(columns, rows, style);
}

function stateFacts(loaded: Loaded, plan: RestoreResult['plan']): string {
  return facts([
    ...inFlightFacts(loaded),
    ['Unfinished runs', byState(loaded.unfinishedRuns)],
    ['Unfinished tasks', byState(loaded.unfinishedTasks)],
    ['Variables', mergeText(loaded.variables)],
    ['Connections', mergeText(loaded.connections)],
    ...secretFacts(loaded),
    ...liveFacts(loaded, plan),
  ]);
}

export function inFlightFacts({
  inFlight,
}: Pick<Loaded, 'inFlight'>): readonly (readonly [string, string])[] {
  if (inFlight === null) return [];
  const done = [
    inFlight.resumedRuns > 0 ? `${counted(inFlight.resumedRuns, 'run')} to go on with` : '',
    inFlight.startedAnew > 0 ? `${counted(inFlight.startedAnew, 'interrupted task')} to start anew` : '',
    inFlight.failedRuns > 0 ? `${counted(inFlight.failedRuns, 'run')} ended as failed` : '',
    inFlight.failedTasks > 0 ? `${counted(inFlight.failedTasks, 'task')} ended as failed` : '',
    inFlight.excludedRuns > 0
      ? `${counted(inFlight.excludedRuns, 'run')} and ${counted(inFlight.excludedTasks, 'task')} left out`
      : '',
  ].filter((text) => text !== '');
  return done.length === 0 ? [] : [[`In flight (${inFlight.policy})`, done.join(', ')]];
}

export function secretFacts({ secrets }: Pick<Loaded, 'secrets'>): readonly (readonly [string, string])[] {
  const done = [
    secrets.reencrypted > 0 ? `${count(secrets.reencrypted)} written anew for the target’s Fernet key` : '',
    secrets.encrypted > 0 ? `${count(secrets.encrypted)} that were in clear encrypted` : '',
  ].filter((text) => text !== '');
  return done.length === 0 ? [] : [['Secrets', done.join(', ')]];
}

function liveFacts(
  { keptRuns, carryingDags, endedRun, locks }: Loaded,
  { via }: RestoreResult['plan'],
): readonly (readonly [string, string])[] {
  const held =
    via === 'shadow'
      ? `${count(Math.ceil((locks.heldSeconds + SHADOW_ATTEMPT_SECONDS) * 1000))} milliseconds`
      : counted(Math.ceil(locks.heldSeconds + LOCK_ATTEMPT_SECONDS), 'second');
  return [
    ...(keptRuns.length === 0 ? [] : [['Kept runs', keptRuns.join(', ')] as const]),
    ...(carryingDags.length === 0
      ? []
      : [['Lifeboat’s DAGs', `${carryingDags.join(', ')}: pause states as they were`] as const]),
    ...(endedRun === null ? [] : [['Made the backup', `${endedRun}, stored as success`] as const]),
    ['Way', via],
    ['Locks', `the target’s scheduler waited at most ${held}`],
  ];
}

export function byState(counts: Readonly<Record<string, number>>): string {
  const states = Object.entries(counts).filter(([, rows]) => rows > 0);
  if (states.length === 0) return 'none';
  return states.map(([state, rows]) => `${count(rows)} ${state}`).join(', ');
}

function mergeText(counts: MergeCounts): string {
  return `${count(counts.added)} added, ${count(counts.replaced)} replaced, ${count(counts.kept)} kept`;
}

function attention(loaded: Loaded, style: Style): string {
  const { variables, connections } = loaded;
  const points: (readonly [applies: boolean, text: string])[] = [
    [
      variables.keptDifferent.length > 0,
      `Variables kept although the backup has another value: ${names(variables.keptDifferent)}.`,
    ],
    [
      connections.keptDifferent.length > 0,
      `Connections kept although the backup has others: ${names(connections.keptDifferent)}.`,
    ],
    [
      loaded.unreadableSecrets === null,
      'No Fernet key of the target is known, so nobody checked that it can read the restored secrets: set LIFEBOAT_FERNET_KEY to have that checked.',
    ],
    [
      (loaded.unreadableSecrets?.length ?? 0) > 0,
      `Secrets that the target’s Fernet key cannot read: ${names(loaded.unreadableSecrets ?? [])}.`,
    ],
    [
      (loaded.inFlight?.passedLimits.length ?? 0) > 0,
      `Time limits: ${passedLimitsText(loaded.inFlight?.passedLimits ?? [])}.`,
    ],
    [
      loaded.missingPools.length > 0,
      `Pools that restored tasks name and the target lacks; such tasks wait forever: ${names(loaded.missingPools)}.`,
    ],
    [
      loaded.unparsedDags.length > 0,
      `DAGs that the target has not parsed; deploy their files: ${names(loaded.unparsedDags)}.`,
    ],
    [
      loaded.leftOutRuns.length > 0,
      `Runs of the backup that were left out, because a kept run has their name or date: ${names(loaded.leftOutRuns)}.`,
    ],
    [
      loaded.notesWithoutUser > 0,
      `${counted(loaded.notesWithoutUser, 'note')} lost the author, whom the target does not know.`,
    ],
    [
      loaded.eventsWithoutDataset > 0,
      `${counted(loaded.eventsWithoutDataset, 'dataset event')} left out: the backup does not have the dataset.`,
    ],
  ];
  return points
    .filter(([applies]) => applies)
    .map(([, text]) => labelled(style.yellow, '!', text, style))
    .join('\n');
}

function nextSteps(result: RestoreResult, loaded: Loaded, style: Style): string {
  const id = result.backupId;
  const next = {
    paused: `lifeboat activate ${id} gives the DAGs their pause states back; with --dags 'GLOB' in waves.`,
    unchanged: `The pause states of the target were left alone: airflow dags unpause DAG_ID, or lifeboat activate ${id} for those of the backup.`,
    backup:
      Object.keys(loaded.unfinishedRuns).length > 0
        ? 'The DAGs have the pause states of the backup: the scheduler goes on with the unfinished runs of those that are not paused.'
        : 'The DAGs have the pause states of the backup: there is nothing left to switch on.',
  }[result.plan.pauseState];
  return labelled(style.bold, 'Next:', next, style);
}
