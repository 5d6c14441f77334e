import type { RestSource } from '../../engine/manifest.ts';
import type { LeftOut, RestBackupPlan } from '../../engine/plans.ts';
import { leftOutText } from './left-out.ts';
import type { Style } from './style.ts';
import { facts, labelled, names, table } from './table.ts';
import { count, counted, duration, time } from './units.ts';

export type Fact = readonly [string, string | undefined];

/** How the API was reached. */
export const WAYS: Readonly<Record<RestSource['via'], string>> = {
  http: 'its REST API',
  invoke: 'InvokeRestApi of MWAA',
  web: 'the web login of MWAA',
};

const RESTLESS_SHOWN = 10;

/** The API has no snapshot: the moment is when reading began, and it is said how long it took. */
export function restFacts({ environment, airflow, api, via, span }: RestSource): readonly Fact[] {
  const seconds = (Date.parse(span.to) - Date.parse(span.from)) / 1000;
  const changed =
    span.changed.length === 0
      ? 'no run changed behind the reader'
      : `${counted(span.changed.length, 'run')} changed meanwhile: ${names(span.changed, RESTLESS_SHOWN)}`;
  return [
    ['Source', `${environment}, through ${WAYS[via]}`],
    ['Airflow', `${airflow}, REST API ${api}`],
    ['Read until', `${time(span.to)}, in ${duration(seconds)}; ${changed}`],
  ];
}

/** What a task inside Airflow can read. */
function maskedText(masked: readonly LeftOut[], style: Style): string {
  if (masked.length === 0) return '';
  const what = masked.map(
    (one) => `${one.table} (${one.columns?.join(', ') ?? ''}): ${names(one.names ?? [])}`,
  );
  const says = `${what.join('; ')}. A task inside Airflow can read them for --secrets-from.`;
  return labelled(style.bold, 'Masked:', says, style);
}

/** What a backup through the API will read and what not; the warnings are the caller's. */
export function restBackupSections(plan: RestBackupPlan, style: Style): readonly string[] {
  const columns = [{ title: 'Table' }, { title: 'Rows now', align: 'right' }] as const;
  const rows = plan.tables.map((one) => [one.table, one.rows === null ? '?' : count(one.rows)]);
  return [
    facts([
      ['Source', `${plan.source.name}, through ${WAYS[plan.source.via]}`],
      ['Airflow', `${plan.source.airflow}, REST API ${plan.source.api}`],
    ]),
    `${style.bold('Plan: back up')} ${counted(plan.tables.length, 'table')}, ${plan.compression}`,
    table(columns, rows, style),
    leftOutText(plan.leftOut, style),
    maskedText(plan.masked ?? [], style),
    plan.secrets.recoverableWith === 'none' ? '' : labelled(style.bold, 'Secrets:', plan.secrets.says, style),
  ];
}
