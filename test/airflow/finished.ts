import { canonical } from './dump.ts';
import type { Dump, Row } from './dump.ts';
import { leadToTemplatesOf } from './expected.ts';
import { isFinishedRun, isFinishedTask, runKey, taskKey } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';

/** What was over when the backup was made. */
interface Past {
  readonly runs: ReadonlySet<string>;
  readonly tasks: ReadonlySet<string>;
  /** A little before the snapshot: a row with an earlier time was committed by then. ISO, as the dump prints it. */
  readonly before: string;
}

type Select = (row: Row, past: Past) => boolean;

const ofTask: Select = (row, { tasks }) => tasks.has(taskKey(row as never));
const ofRun: Select = (row, { runs }) => runs.has(runKey(row as never));
const timeOf = (value: unknown): string => String((value as { readonly __dt__?: string } | null)?.__dt__);
const since =
  (column: string): Select =>
  (row, { before }) =>
    timeOf(row[column]) < before;
const refersTo =
  (column: string, select: Select): Select =>
  (row, past) =>
    select((row[column] as { readonly __ref__: Row }).__ref__, past);
const every: Select = () => true;

interface Compared {
  readonly table: string;
  readonly select: Select;
  /** Columns that another environment has differently, and why. */
  readonly differs?: Readonly<Record<string, string>>;
}

const CIPHERTEXT = 'Encrypted with the key of the environment; compared decrypted, through the hooks.';

/** Rows that the target must show exactly as the source does, whatever else has happened in it since. */
const COMPARED: readonly Compared[] = [
  { table: 'dag_run', select: ofRun },
  { table: 'dag_run_note', select: refersTo('dag_run_id', ofRun) },
  { table: 'task_instance', select: ofTask },
  { table: 'task_instance_history', select: ofTask },
  { table: 'task_instance_note', select: ofTask },
  { table: 'task_fail', select: ofTask },
  { table: 'task_map', select: ofTask },
  { table: 'task_reschedule', select: ofTask },
  { table: 'rendered_task_instance_fields', select: ofTask },
  { table: 'xcom', select: ofTask },
  { table: 'dataset_event', select: since('timestamp') },
  { table: 'dagrun_dataset_event', select: refersTo('dag_run_id', ofRun) },
  { table: 'sla_miss', select: every },
  { table: 'log', select: since('dttm') },
  { table: 'slot_pool', select: (row) => row.pool !== 'lab_zero_slots' },
  { table: 'variable', select: every, differs: { val: CIPHERTEXT } },
  { table: 'connection', select: every, differs: { password: CIPHERTEXT, extra: CIPHERTEXT } },
  { table: 'job', select: (row, past) => row.state === 'success' && since('end_date')(row, past) },
];

export interface Comparison {
  /** Rows and values of the source that were looked for in the target. */
  readonly compared: Readonly<Record<string, number>>;
  readonly differences: readonly string[];
}

/** Looks for everything of the source that was finished at the snapshot in the target's dump, as it was. */
export function compareFinished(
  source: Dump,
  target: Dump,
  snapshot: Snapshot,
  snapshotTime: string,
): Comparison {
  const past: Past = {
    runs: new Set(snapshot.runs.filter(isFinishedRun).map(runKey)),
    tasks: new Set(snapshot.tasks.filter(isFinishedTask).map(taskKey)),
    before: secondsBefore(snapshotTime, 5),
  };
  const led = leadToTemplatesOf(target, source);
  const compared: Record<string, number> = {};
  const differences: string[] = [];
  const look = (what: string, wanted: readonly unknown[], there: readonly unknown[]): void => {
    compared[what] = wanted.length;
    const bag = new Map<string, number>();
    for (const text of there.map(canonical)) bag.set(text, (bag.get(text) ?? 0) + 1);
    for (const value of wanted) {
      const left = bag.get(canonical(value)) ?? 0;
      if (left === 0) differences.push(`${what} lacks ${canonical(value).slice(0, 700)}`);
      else bag.set(canonical(value), left - 1);
    }
    for (const [text, count] of bag) {
      if (count > 0) differences.push(`${what} has besides ${text.slice(0, 700)}`);
    }
  };
  for (const { table, select, differs = {} } of COMPARED) {
    const rows = (dump: Dump): readonly Row[] =>
      (dump.semantic[table] ?? [])
        .filter((row) => select(row, past))
        .map((row) => Object.fromEntries(Object.entries(row).filter(([column]) => !(column in differs))));
    const wanted = rows(led);
    look(table, wanted, onlyThoseOf(table, wanted, rows(target)));
  }
  for (const hook of ['xcom', 'rendered_fields']) {
    const rows = (dump: Dump): readonly Row[] =>
      (dump.hooks[hook] as Row[]).filter((row) => ofTask(row, past));
    look(`${hook} read by Airflow`, rows(led), rows(target));
  }
  for (const hook of ['variable', 'connection']) {
    const [wanted, there] = [led, target].map((dump) => Object.entries(dump.hooks[hook] as Row));
    look(
      `${hook} read by Airflow`,
      wanted ?? [],
      (there ?? []).filter(([key]) => key in (led.hooks[hook] as Row)),
    );
  }
  return { compared, differences };
}

/** Tables of which the target has rows of its own, which are no history: its own jobs and their log, its connections. */
const OWN_ROWS: readonly string[] = ['log', 'job', 'connection', 'slot_pool'];

function onlyThoseOf(table: string, wanted: readonly Row[], there: readonly Row[]): readonly Row[] {
  if (!OWN_ROWS.includes(table)) return there;
  const known = new Set(wanted.map(canonical));
  return there.filter((row) => known.has(canonical(row)));
}

function secondsBefore(pythonTime: string, seconds: number): string {
  const time = new Date(Date.parse(pythonTime) - seconds * 1000);
  return time.toISOString().replace('Z', '000+00:00');
}
