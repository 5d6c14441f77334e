import { canonical } from './dump.ts';
import type { Dump, Row } from './dump.ts';
import { ANY, EXPECTED, sameAs } from './rest-expected.ts';
import type { Restored } from './rest-expected.ts';

type Things = Readonly<Record<string, Row>>;

/** What the API carries, by what it is called, as Airflow's own models read it: secrets decrypted, values deserialized. */
const SECTIONS: Readonly<Record<string, (dump: Dump) => Things>> = {
  variable: ({ hooks }) => hooks.variable as Things,
  connection: ({ hooks }) => hooks.connection as Things,
  pool: ({ semantic }) => byName(semantic.slot_pool, ({ pool, ...row }) => [String(pool), row]),
  'pause state': ({ semantic }) =>
    byName(semantic.dag, ({ dag_id: id, is_paused }) => [String(id), { is_paused }]),
  'unfinished run': unfinishedRuns,
  'asset in a queue': ({ semantic }) => ({
    ...byName(semantic.asset_dag_run_queue, ({ asset_id: asset, target_dag_id: dag }) => [
      `${canonical(asset)} for ${String(dag)}`,
      {},
    ]),
    ...byName(semantic.dataset_dag_run_queue, ({ dataset_id: dataset, target_dag_id: dag }) => [
      `${canonical(dataset)} for ${String(dag)}`,
      {},
    ]),
  }),
};

function byName(rows: readonly Row[] | undefined, name: (row: Row) => [string, Row]): Things {
  return Object.fromEntries((rows ?? []).map(name));
}

const DATES = ['execution_date', 'logical_date', 'data_interval_start', 'data_interval_end', 'run_after'];
/** Those that the version has are compared. */
const RUN_COLUMNS = [...DATES, 'run_type'];

/** With the states of its tasks, and what these have left in XCom. */
function unfinishedRuns({ semantic, hooks }: Dump): Things {
  const shown = hooks.dag_run as Things;
  const xcoms = hooks.xcom as readonly Row[];
  const open = (semantic.dag_run ?? []).filter(({ state }) => state === 'running' || state === 'queued');
  return byName(open, (row) => {
    const { conf, note, state, task_instances: tasks } = shown[nameOf(row)] ?? {};
    const states = Object.entries((tasks ?? {}) as Things).map(([task, one]) => [task, one.state] as const);
    const left = xcoms.filter((one) => nameOf(one) === nameOf(row));
    const run = {
      ...Object.fromEntries(Object.entries(row).filter(([column]) => RUN_COLUMNS.includes(column))),
      ...{ conf, note, state },
      tasks: Object.fromEntries(states),
      xcoms: left.map(({ task_id, map_index, key, value }) => ({ task_id, map_index, key, value })),
    };
    return [nameOf(row), run];
  });
}

function nameOf({ dag_id: dagId, run_id: runId }: Row): string {
  return `${String(dagId)} / ${String(runId)}`;
}

/** Airflow's own names for runs: a run that is asked for may not be called so. */
const renamed = (name: string): string => name.replace(/ \/ (scheduled__|backfill__)/, ' / restored__$1');

/** Sections in which the target may have things of its own. */
const OWN: readonly string[] = ['connection', 'pause state'];

export interface CarriedComparison {
  readonly compared: Readonly<Record<string, number>>;
  readonly differences: readonly string[];
}

/** Everything that the API carries, looked for in the target as EXPECTED has it. */
export function compareCarried(source: Dump, target: Dump, restored: Restored): CarriedComparison {
  const compared: Record<string, number> = {};
  const differences: string[] = [];
  for (const [section, read] of Object.entries(SECTIONS)) {
    const left = new Map(Object.entries(read(target)));
    let count = 0;
    for (const [name, row] of Object.entries(read(source))) {
      const wanted = expectedRow(section, name, row, restored);
      const there = left.get(renamed(name));
      left.delete(renamed(name));
      if (wanted !== undefined) count += 1;
      if (canonical(wanted) === canonical(asShown(there, wanted))) continue;
      differences.push(`${section} ${name}: ${canonical(there)} instead of ${canonical(wanted)}`);
    }
    if (!OWN.includes(section)) {
      differences.push(...[...left.keys()].map((name) => `${section} ${name} besides`));
    }
    compared[section] = count;
  }
  return { compared, differences };
}

function expectedRow(section: string, name: string, row: Row, restored: Restored): Row | undefined {
  return EXPECTED.filter(
    (one) =>
      one.section === section &&
      (one.from ?? restored.from) === restored.from &&
      (one.of?.some((start) => restored.release.startsWith(start)) ?? true) &&
      (one.names?.includes(name) ?? true),
  ).reduce<Row | undefined>((shown, { show }) => shown && show(shown, name, restored), row);
}

/** What is there, in the form of what is wanted: another text of the same JSON is allowed, and any value where none is named. */
function asShown(there: Row | undefined, wanted: Row | undefined): Row | undefined {
  if (there === undefined || wanted === undefined) return there;
  const any = Object.entries(wanted).filter(([field, value]) => value === ANY && field in there);
  const shown = { ...there, ...Object.fromEntries(any) };
  if (!String(wanted.extra).startsWith('JSON of ')) return shown;
  return { ...shown, extra: sameAs(there.extra), uri: sameAs(there.extra) };
}
