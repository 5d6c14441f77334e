import type { ResolvedTable } from '../../versions/registry.ts';
import { quoteIdent, quoteTable } from '../../db/introspect.ts';
import { unsealed } from '../copy-stage.ts';
import type { LoadContext, LoadedTable } from '../load-context.ts';
import { loadDags } from '../load-dags.ts';
import { insertMissingSql, mapParent } from '../load-tables.ts';
import { storedTable } from '../manifest.ts';
import type { ManifestTable } from '../manifest.ts';
import { mergeResult, prepareMerge } from '../merge.ts';
import type { PreparedMerge } from '../merge.ts';
import { wholeTable } from '../sealed/fields.ts';
import { mapName, stageName } from '../stage.ts';
import { surveyRows } from '../unreadable.ts';
import { queryAll } from './query-all.ts';

/**
 * Written when Airflow is migrated or started, and by nobody in between: what the backup has of these is merged before the
 * exchange, and the check of the keys to them, which reads every run, need not wait for it.
 */
const QUIET: ReadonlySet<string> = new Set(['log_template']);

export function isQuiet({ name }: Pick<ResolvedTable, 'name'>): boolean {
  return QUIET.has(name);
}

/** What will be done to the merged tables, found out while nobody waits, and what they were like then. */
export interface Rehearsed {
  readonly seen: string;
  readonly seenQuiet: string;
  readonly steps: readonly MergeStep[];
  /** Secrets that the target's keys will not read; undefined: no key is known. */
  readonly unreadable: readonly string[] | undefined;
}

interface MergeStep {
  readonly table: ResolvedTable;
  readonly stored: ManifestTable;
  /** Ids that change; undefined: the table has none. */
  readonly moved: number | undefined;
  /** Absent for `dag` and for tables without ids. */
  readonly prepared?: PreparedMerge;
  /** It was merged before the exchange. */
  readonly done?: LoadedTable;
}

/** Finds out what becomes of the staged rows of merged tables. Writes nothing but temporary maps of ids. */
export async function rehearseMerge(
  load: LoadContext,
  merged: readonly ResolvedTable[],
  keys: readonly string[],
): Promise<Rehearsed> {
  const seen = await lookAtRows(load, merged, false);
  const seenQuiet = await lookAtRows(load, merged, true);
  const steps: MergeStep[] = [];
  for (const table of merged) {
    const found = storedTable(load.manifest, table.name);
    if (!found || table.restore.kind !== 'merge') continue;
    const stored = unsealed(load, table) ? wholeTable(found) : found;
    const moved = await mapParent(load, table);
    const { existing } = table.restore;
    const prepared = moved === undefined ? undefined : await prepareMerge(load, table, stored, existing);
    steps.push({ table, stored, moved, ...(prepared ? { prepared } : {}) });
  }
  return { seen, seenQuiet, steps, unreadable: await findUnreadable(load, steps, keys) };
}

/**
 * Merges the quiet ones, which the caller has locked against writers, or leaves them to the exchange when somebody has
 * written to them since the rehearsal.
 *
 * @returns the rehearsal with what is done
 */
export async function mergeQuiet(
  load: LoadContext,
  merged: readonly ResolvedTable[],
  rehearsed: Rehearsed,
): Promise<Rehearsed> {
  if ((await lookAtRows(load, merged, true)) !== rehearsed.seenQuiet) return rehearsed;
  const loaded = new Map<string, LoadedTable>();
  const quiet = rehearsed.steps.filter(({ table, prepared }) => isQuiet(table) && prepared);
  await runSteps(load, quiet, loaded);
  const steps = rehearsed.steps.map((step) => {
    const done = loaded.get(step.table.name);
    return done ? { ...step, done } : step;
  });
  return { ...rehearsed, steps };
}

/**
 * Merges as rehearsed, in a few messages, or rehearses again when somebody has changed a table meanwhile. `dag`, which is
 * always at work, is read anew anyway.
 *
 * @returns what was done, and the rehearsal that it followed
 */
export async function mergeAsRehearsed(
  load: LoadContext,
  merged: readonly ResolvedTable[],
  rehearsed: Rehearsed,
  keys: readonly string[],
): Promise<{ readonly loaded: ReadonlyMap<string, LoadedTable>; readonly rehearsed: Rehearsed }> {
  const holds = (await lookAtRows(load, merged, false)) === rehearsed.seen;
  const now = holds ? rehearsed : await rehearseAgain(load, merged, rehearsed, keys);
  const loaded = new Map<string, LoadedTable>();
  let waiting: MergeStep[] = [];
  for (const step of now.steps) {
    if (step.done) {
      loaded.set(step.table.name, step.done);
      continue;
    }
    if (step.table.restore.kind !== 'merge' || step.table.restore.existing !== 'schedule') {
      waiting.push(step);
      continue;
    }
    await runSteps(load, waiting, loaded);
    waiting = [];
    loaded.set(step.table.name, await loadDags(load, step.table, step.stored));
  }
  await runSteps(load, waiting, loaded);
  return { loaded, rehearsed: now };
}

async function rehearseAgain(
  load: LoadContext,
  merged: readonly ResolvedTable[],
  { steps }: Rehearsed,
  keys: readonly string[],
): Promise<Rehearsed> {
  const done = steps.filter((step) => step.done);
  const others = steps.filter((step) => !step.done);
  const maps = others.flatMap(({ table, moved }) => (moved === undefined ? [] : [mapName(table.name)]));
  if (maps.length > 0) await load.client.query(`DROP TABLE ${maps.join(', ')}`);
  const isDone = ({ name }: ResolvedTable): boolean => done.some(({ table }) => table.name === name);
  const again = await rehearseMerge(
    load,
    merged.filter((table) => !isDone(table)),
    keys,
  );
  return { ...again, steps: [...done, ...again.steps] };
}

async function runSteps(
  load: LoadContext,
  steps: readonly MergeStep[],
  loaded: Map<string, LoadedTable>,
): Promise<void> {
  const statements = steps.flatMap(({ table, stored, prepared }) => {
    if (!prepared) return [insertMissingSql(load, table, stored)];
    return [prepared.update, prepared.insert].filter((sql) => sql !== undefined);
  });
  const results = [...(await queryAll(load.client, statements))];
  const rows = (sql: string | undefined): number =>
    sql === undefined ? 0 : (results.shift()?.rowCount ?? 0);
  for (const { table, moved = 0, prepared } of steps) {
    const done = prepared
      ? mergeResult(prepared, { replaced: rows(prepared.update), added: rows(prepared.insert) })
      : { rows: rows('') };
    loaded.set(table.name, { table: table.name, moved, ...done });
  }
}

/** Equal texts: no row of a table with ids has come, gone or changed. */
async function lookAtRows(
  load: LoadContext,
  merged: readonly ResolvedTable[],
  quiet: boolean,
): Promise<string> {
  const parts = merged
    .filter((table) => table.serial !== undefined && isQuiet(table) === quiet)
    .map(
      ({ name }) =>
        `(SELECT pg_catalog.string_agg(t.ctid::text || t.xmin::text, ' ' ORDER BY t.ctid) FROM ${quoteTable(load.state.live.schema, name)} t)`,
    );
  if (parts.length === 0) return '';
  const { rows } = await load.client.query<{ seen: string }>(
    `SELECT pg_catalog.md5(pg_catalog.concat_ws('/', ${parts.map((part) => `coalesce(${part}, '')`).join(', ')})) AS seen`,
  );
  return rows[0]?.seen ?? '';
}

/** Looks at the rows as they will be: the target's that stay, and those of the stage that come. */
async function findUnreadable(
  { client, state }: LoadContext,
  steps: readonly MergeStep[],
  keys: readonly string[],
): Promise<readonly string[] | undefined> {
  if (keys.length === 0) return undefined;
  const secret = steps.filter(({ table }) => table.secrets.length > 0);
  const survey = await surveyRows(
    client,
    secret.map(({ table }) => table),
    keys,
    (table, { column, flag }) => {
      const step = secret.find((one) => one.table === table);
      const live = quoteTable(state.live.schema, table.name);
      const strategy = step?.stored.columns.includes(column) ? step.prepared?.strategy : 'skip';
      if (strategy === undefined || strategy === 'skip') return live;
      const id = quoteIdent(table.serial ?? 'id');
      const name = table.restore.kind === 'merge' ? (table.restore.by[0] ?? 'id') : 'id';
      const columns = [name, column, ...(flag === undefined ? [] : [flag])].map(quoteIdent).join(', ');
      const matched = `FROM ${mapName(table.name)} m WHERE m.lb_matched AND m`;
      const [stay, come] =
        strategy === 'replace'
          ? [`NOT EXISTS (SELECT ${matched}.lb_new = t.${id})`, 'true']
          : ['true', `NOT EXISTS (SELECT ${matched}.lb_old = s.${id})`];
      return `(SELECT ${columns} FROM ${live} t WHERE ${stay} UNION ALL SELECT ${columns} FROM ${stageName(table.name)} s WHERE ${come}) rows_then`;
    },
  );
  return survey.unreadable;
}
