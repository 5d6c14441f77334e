import type { DrillResult } from '../../engine/api.ts';
import type { DrillPhase } from '../../engine/drill-record.ts';
import { passedLimitsText, sections } from './plan.ts';
import { byState, inFlightFacts, secretFacts } from './restore.ts';
import type { Style } from './style.ts';
import { facts, labelled, names, table } from './table.ts';
import { count, counted, duration } from './units.ts';

const PHASES: Readonly<Record<DrillPhase, string>> = {
  plan: 'looking at both ends',
  load: 'loading, indexes and keys',
  settle: 'unfinished runs and secrets',
  check: 'references',
  drop: 'tidying up',
};

/** What a drill proved, for people. Why it failed is told as the error behind it. */
export function drillText(result: DrillResult, style: Style): string {
  const failed = result.failure !== null;
  const head = `${failed ? style.red('FAILED') : style.green('PASSED')} ${whatWas(result, failed)}`;
  return sections([
    head,
    countedTable(result, style),
    findings(result),
    failed ? '' : attention(result, style),
  ]);
}

function whatWas(
  { backupId, requested, target, seconds, rows, tables }: DrillResult,
  failed: boolean,
): string {
  const what = `${backupId ?? requested} in ${target}`;
  if (failed) return `${what} after ${duration(seconds)}; its tables are as they were.`;
  return `${what} in ${duration(seconds)}: ${counted(rows, 'row')} of ${counted(tables.length, 'table')} would be restored; its tables are as they were.`;
}

function countedTable({ tables }: DrillResult, style: Style): string {
  const busy = tables.filter((one) => one.rows + one.stored > 0);
  if (busy.length === 0) return '';
  const moved = busy.some((one) => one.moved > 0);
  const leftOut = busy.some((one) => one.rows < one.stored);
  const columns = [
    { title: 'Table' },
    { title: 'Rows', align: 'right' },
    ...(leftOut ? [{ title: 'Left out', align: 'right' } as const] : []),
    ...(moved ? [{ title: 'New ids', align: 'right' } as const] : []),
  ] as const;
  const rows = busy.map((one) => [
    one.table,
    count(one.rows),
    ...(leftOut ? [count(one.stored - one.rows)] : []),
    ...(moved ? [count(one.moved)] : []),
  ]);
  return table(columns, rows, style);
}

function findings(result: DrillResult): string {
  const { phases, references, secrets, inFlight, recorded, drillId } = result;
  const settled = inFlight !== null;
  return facts([
    ...phases.map(({ phase, seconds }, at) => {
      return [at === 0 ? 'Time' : '', `${duration(seconds).padStart(8)}  ${PHASES[phase]}`] as const;
    }),
    ...inFlightFacts({ inFlight }),
    ['Unfinished runs', settled ? byState(result.unfinishedRuns) : undefined],
    ['Unfinished tasks', settled ? byState(result.unfinishedTasks) : undefined],
    ...(secrets === null ? [] : secretFacts({ secrets })),
    [
      'References',
      references === null
        ? undefined
        : `${counted(references.checked, 'foreign key')} to live tables asked for`,
    ],
    ['Stored as', recorded ? `drills/${drillId}.json` : undefined],
  ]);
}

function attention({ unreadableSecrets, inFlight }: DrillResult, style: Style): string {
  const points: readonly (readonly [applies: boolean, text: string])[] = [
    [
      unreadableSecrets === null,
      'No Fernet key of the target is known, so nobody tried the secrets: set LIFEBOAT_FERNET_KEY to have that done.',
    ],
    [
      (unreadableSecrets?.length ?? 0) > 0,
      `Secrets that the target’s Fernet key would not read: ${names(unreadableSecrets ?? [])}.`,
    ],
    [
      (inFlight?.passedLimits.length ?? 0) > 0,
      `Time limits: ${passedLimitsText(inFlight?.passedLimits ?? [])}.`,
    ],
  ];
  return points
    .filter(([applies]) => applies)
    .map(([, text]) => labelled(style.yellow, '!', text, style))
    .join('\n');
}
