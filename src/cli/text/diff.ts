import type { DiffResult, DiffTable } from '../../engine/api.ts';
import { sections } from './plan.ts';
import type { Style } from './style.ts';
import { names, table, wrap } from './table.ts';
import { count, counted, duration } from './units.ts';

/** What a person calls the rows of a table; of the others, the table's own name will do. */
const WORDS: Readonly<Record<string, readonly [one: string, many: string]>> = {
  dag_run: ['run', 'runs'],
  task_instance: ['task instance', 'task instances'],
  variable: ['variable', 'variables'],
  connection: ['connection', 'connections'],
  slot_pool: ['pool', 'pools'],
  dag: ['DAG', 'DAGs'],
  xcom: ['XCom', 'XComs'],
  log: ['entry of the audit log', 'entries of the audit log'],
  dataset: ['dataset', 'datasets'],
  dag_run_note: ['note on a run', 'notes on runs'],
  task_instance_note: ['note on a task', 'notes on tasks'],
};
const DAGS_SHOWN = 3;

/** First the verdict, then a line a table that differs, then names, and last what was lost, in words. */
export function diffText(result: DiffResult, style: Style): string {
  const differing = result.tables.filter((one) => differences(one) > 0);
  const rows = result.tables.reduce((sum, one) => sum + one.rows, 0);
  const against = `backup ${result.backupId} and ${result.other}`;
  const compared = `${counted(rows, 'row')} of ${counted(result.tables.length, 'table')}, in ${duration(result.seconds)}`;
  if (differing.length === 0) {
    const equal = `${style.green('Equal:')} ${against}, ${compared}.`;
    return sections([equal, notCompared(result, style)]);
  }
  return sections([
    `${style.yellow('Different:')} ${against}, in ${counted(differing.length, 'table')} (${compared}).`,
    overview(differing, style),
    differing
      .map((one) => examples(one, style))
      .filter((text) => text !== '')
      .join('\n'),
    notCompared(result, style),
    lostInWords(differing, style),
    secretsHint(differing, style),
  ]);
}

function differences(one: DiffTable): number {
  return one.missing + one.added + one.changed + one.notComparable;
}

function overview(differing: readonly DiffTable[], style: Style): string {
  const unknown = differing.some((one) => one.notComparable > 0);
  const columns = [
    { title: 'Table' },
    { title: 'Backup', align: 'right' },
    { title: 'Other', align: 'right' },
    { title: 'Missing', align: 'right' },
    { title: 'Added', align: 'right' },
    { title: 'Changed', align: 'right' },
    ...(unknown ? [{ title: 'Unreadable', align: 'right' } as const] : []),
  ] as const;
  const lines = differing.map((one) => [
    one.table,
    ...[one.rows, one.otherRows, one.missing, one.added, one.changed].map(count),
    ...(unknown ? [count(one.notComparable)] : []),
  ]);
  return table(columns, lines, style);
}

function examples(one: DiffTable, style: Style): string {
  const kinds = [
    ['missing', one.missing],
    ['added', one.added],
    ['changed', one.changed],
    ['notComparable', one.notComparable],
  ] as const;
  return kinds
    .filter(([kind]) => one.examples[kind].length > 0)
    .map(([kind, total]) => {
      const label = kind === 'notComparable' ? 'unreadable' : kind;
      return wrap(`${one.table} ${label}: ${listed(one.examples[kind], total)}`, style.width, '  ');
    })
    .join('\n');
}

function listed(shown: readonly string[], total: number): string {
  return total > shown.length ? `${names(shown)} and ${count(total - shown.length)} more` : names(shown);
}

/** "Lost: 3 runs (dag_a 2, dag_b 1), 12 task instances (dag_a 12), 2 variables (x, y)." */
function lostInWords(differing: readonly DiffTable[], style: Style): string {
  const lost = differing.filter((one) => one.missing > 0);
  if (lost.length === 0) return `${style.green('Nothing was lost:')} every row of the backup is there.`;
  const words = lost.map((one) => {
    const [single, many] = WORDS[one.table] ?? [`row of ${one.table}`, `rows of ${one.table}`];
    return `${counted(one.missing, single, many)}${which(one)}`;
  });
  return `${style.bold('Lost:')} ${wrap(`${words.join(', ')}.`, style.width, '  ')}`;
}

/** The DAGs that lost most, or the names where rows belong to no DAG. */
function which(one: DiffTable): string {
  const dags = one.table === 'dag' ? [] : (one.missingByDag ?? []);
  if (dags.length === 0) {
    return one.examples.missing.length === 0 ? '' : ` (${listed(one.examples.missing, one.missing)})`;
  }
  const shown = dags.slice(0, DAGS_SHOWN).map((each) => `${each.dag} ${count(each.rows)}`);
  const told = dags.slice(0, DAGS_SHOWN).reduce((sum, each) => sum + each.rows, 0);
  const rest = one.missing - told;
  return ` (${shown.join(', ')}${rest > 0 ? `, others ${count(rest)}` : ''})`;
}

function notCompared(result: DiffResult, style: Style): string {
  if (result.notCompared.length === 0) return '';
  const lines = result.notCompared.map((one) => `${one.table} (${one.reason})`);
  return wrap(`Not compared: ${lines.join(', ')}.`, style.width, '  ');
}

function secretsHint(differing: readonly DiffTable[], style: Style): string {
  const rows = differing.reduce((sum, one) => sum + one.notComparable, 0);
  if (rows === 0) return '';
  return wrap(
    `${counted(rows, 'row')} differ in a stored secret that no known key reads, and may hold the same: give the keys of both sides in LIFEBOAT_FERNET_KEY and LIFEBOAT_SOURCE_FERNET_KEY.`,
    style.width,
    '  ',
  );
}
