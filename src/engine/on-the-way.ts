import { LifeboatError } from '../errors.ts';
import { passageTo } from '../versions/between.ts';
import { tablesFor } from '../versions/registry.ts';
import type { ResolvedTable } from '../versions/registry.ts';
import { databaseSource, type Manifest } from './manifest.ts';
import type { TargetState } from './target-state.ts';

/**
 * The target's tables, with what happens to rows of the backup's minor on their way there.
 *
 * @throws LifeboatError 'unsupported' for a target that is older than the backup, or content that no spec has.
 */
export function tablesOnTheWay(manifest: Manifest, state: TargetState): readonly ResolvedTable[] {
  const { airflow, alembicHead } = databaseSource(manifest);
  const passage = passageTo(state.release, alembicHead);
  if (passage.kind === 'same' || passage.kind === 'newer') {
    const known = tablesFor(passage.to, passage.from);
    refuseUnknownContent(manifest, known);
    return known;
  }
  throw new LifeboatError(
    'unsupported',
    `Backup ${manifest.backupId} is of Airflow ${airflow} (head ${alembicHead}), and ${state.facts.name} is Airflow ${state.facts.airflow} (head ${state.facts.alembicHead}): a backup goes into the same minor or a newer one.`,
    passage.kind === 'older'
      ? {
          next: `Restore into an Airflow ${airflow} or newer.`,
        }
      : { next: `Use the Lifeboat that wrote it (${manifest.tool.version}) or a newer one.` },
  );
}

/**
 * What the backup holds, and tables that its minor did not have yet: Airflow's migration creates them empty, so after
 * `--clean` they are empty here too. Without the tables that they hang on they are left alone.
 */
export function availableTables(
  known: readonly ResolvedTable[],
  stored: ReadonlyMap<string, unknown>,
  state: TargetState,
): readonly ResolvedTable[] {
  const available = new Set<string>();
  for (const table of known) {
    const parents = state.live.foreignKeys.filter((key) => key.table === table.name);
    const hangsOnThese = parents.every((key) => available.has(key.parent));
    if (stored.has(table.name) || (table.addedTable && hangsOnThese)) available.add(table.name);
  }
  return known.filter((table) => available.has(table.name));
}

/** What the plan says about the way of a table's rows into the target's minor. */
export function notesOnTheWay(table: ResolvedTable, hasKey: boolean): readonly string[] {
  const filled = table.added.filter(({ value }) => value !== 'NULL');
  return [
    ...(table.addedTable ? ['not in the backup’s Airflow'] : []),
    ...filled.map(({ name, value }) => `new: ${name} = ${value}`),
    ...table.rewrites
      .filter(({ entering }) => entering !== undefined)
      .map(({ column, entering }) => `${column} as ${entering} counts it`),
    ...table.secrets
      .filter(({ fromClear }) => fromClear)
      .map(({ column }) =>
        hasKey ? `${column} encrypted` : `${column} in clear: the target’s key is not known`,
      ),
  ];
}

/** Tables and columns of the backup that this version's spec does not have: written by another Lifeboat. */
function refuseUnknownContent(manifest: Manifest, known: readonly ResolvedTable[]): void {
  const specs = new Map(
    known.map((table) => [table.name, new Set(table.columns.map((column) => column.name))]),
  );
  const unknown = manifest.tables.flatMap((table) => {
    const columns = specs.get(table.name);
    if (!columns) return [table.name];
    return table.columns.filter((column) => !columns.has(column)).map((column) => `${table.name}.${column}`);
  });
  if (unknown.length === 0) return;
  throw new LifeboatError(
    'unsupported',
    `Backup ${manifest.backupId} holds what this Lifeboat does not know: ${unknown.join(', ')}.`,
    {
      next: `Use the Lifeboat that wrote it (${manifest.tool.version}) or a newer one.`,
    },
  );
}
