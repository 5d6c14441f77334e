import type { KeptRuns, RestCleanupPlan } from '../../engine/plans.ts';
import type { RestCleanupResult } from '../../engine/rest-cleanup/api.ts';
import { leftOutText } from './left-out.ts';
import { WAYS } from './rest.ts';
import type { Style } from './style.ts';
import { facts, labelled, names, table } from './table.ts';
import { age, count, counted, duration, time } from './units.ts';

/** DAGs that a person looks at; the others are counted. */
const DAGS_SHOWN = 50;

const KEPT: Readonly<Record<KeptRuns['because'], string>> = {
  carries: 'it carries this cleanup',
  named: '--keep-run',
  lifeboat: 'under way, of DAGs with the tag lifeboat',
  schedule: 'the newest of its DAG’s schedule, which tells Airflow how far that is',
};

/** What a cleanup through the API will delete; warnings and blockers are the caller's. */
export function restCleanupSections(plan: RestCleanupPlan, style: Style): readonly string[] {
  const { target } = plan;
  const beat = target.schedulerHeartbeat;
  return [
    facts([
      ['Target', `${target.name}, through ${WAYS[target.via]}`],
      ['Airflow', `${target.airflow}, REST API ${target.api}`],
      [
        'Scheduler',
        beat === null
          ? 'no heartbeat ever, or none that the API tells'
          : `last heartbeat ${age(new Date(beat), style.now())} (${time(beat)})`,
      ],
    ]),
    `${style.bold('Plan: delete')} ${counted(plan.deletes, 'run')}, with their tasks, XComs and notes${plan.ends === 0 ? '' : `; of them ${count(plan.ends)} unfinished, ended as failed first`}; ${counted(plan.queuedEvents, 'queued event')}`,
    dagsTable(plan, style),
    facts(
      plan.keeps.map(({ because, runs, names: some }) => [
        `Keep ${counted(runs, 'run')}`,
        `${KEPT[because]}: ${names(some)}`,
      ]),
    ),
    plan.startsAgain.length === 0 ? '' : `Schedules that begin anew: ${names(plan.startsAgain)}`,
    leftOutText(plan.leftOut, style),
  ];
}

function dagsTable({ dags }: RestCleanupPlan, style: Style): string {
  if (dags.length === 0) return '';
  const columns = [
    { title: 'DAG' },
    { title: 'Delete', align: 'right' },
    { title: 'Keep', align: 'right' },
  ] as const;
  const first = [...dags].sort((a, b) => b.deletes - a.deletes).slice(0, DAGS_SHOWN);
  const others = dags.filter((dag) => !first.includes(dag));
  const sum = (some: typeof dags, of: 'deletes' | 'keeps'): string =>
    count(some.reduce((total, dag) => total + dag[of], 0));
  const rows = first.map(({ dagId, deletes, keeps }) => [dagId, count(deletes), count(keeps)]);
  if (others.length > 0) {
    rows.push([counted(others.length, 'other DAG'), sum(others, 'deletes'), sum(others, 'keeps')]);
  }
  return table(columns, [...rows, ['total', sum(dags, 'deletes'), sum(dags, 'keeps')]], style);
}

/** What became of it, ending in what is left to do. */
export function restCleanupText({ cleaned, plan, requests }: RestCleanupResult, style: Style): string {
  if (cleaned === undefined) return style.dim('Dry run: nothing was changed.');
  const ended = cleaned.ended === 0 ? '' : ` (${count(cleaned.ended)} ended as failed first)`;
  const head = `${style.green('Deleted')} ${counted(cleaned.runs, 'run')}${ended} and ${counted(cleaned.queuedEvents, 'queued event')} from ${plan.target.name} in ${duration(cleaned.seconds)}, with ${counted(requests, 'request')}.`;
  const more = cleaned.refusedRuns - cleaned.refused.filter(({ table: name }) => name === 'dag_run').length;
  const points = [
    ...(cleaned.gone > 0 ? [`${counted(cleaned.gone, 'run')} were gone already.`] : []),
    ...(cleaned.begunAgainRuns > 0
      ? [
          `Begun again since the plan was made, and left alone: ${counted(cleaned.begunAgainRuns, 'run')}: ${names(cleaned.begunAgain)}.`,
        ]
      : []),
    ...cleaned.refused.map(
      ({ table: name, name: row, message }) => `Not deleted: ${name} ${row}: ${message}`,
    ),
    ...(more > 0 ? [`Not deleted: ${counted(more, 'run')} more.`] : []),
    ...plan.leftOut
      .filter(({ rows }) => rows !== undefined)
      .map((one) => `Not deleted: ${one.table} ${names(one.names ?? [])}: ${one.reason}.`),
  ];
  return [head, points.map((text) => labelled(style.yellow, '!', text, style)).join('\n')]
    .filter((part) => part !== '')
    .join('\n\n');
}
