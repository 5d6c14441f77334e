import type { LiveForeignKey } from '../db/introspect.ts';
import { LifeboatError } from '../errors.ts';
import type { ResolvedTable } from '../versions/registry.ts';

export interface Selection {
  /** In load order. */
  readonly tables: readonly ResolvedTable[];
  /** Table → the chosen table that needs it. */
  readonly addedFor: ReadonlyMap<string, string>;
  readonly complete: boolean;
}

/**
 * Which tables a command works on. `include` takes the parents along (a task instance without its run could not be
 * restored) and says so; `exclude` of a parent whose children stay is refused, because it would drop more than asked.
 *
 * @throws LifeboatError 'usage' for unknown names, or an excluded parent.
 */
export function selectTables(
  tables: readonly ResolvedTable[],
  foreignKeys: readonly LiveForeignKey[],
  choice: {
    readonly include?: readonly string[] | undefined;
    readonly exclude?: readonly string[] | undefined;
  },
): Selection {
  const byName = new Map(tables.map((table) => [table.name, table]));
  const chosen = new Set(namesIn(byName, choice.include, '--tables') ?? byName.keys());
  const addedFor = new Map<string, string>();
  if (choice.include !== undefined) addParents(byName, chosen, addedFor);

  for (const name of namesIn(byName, choice.exclude, '--exclude-tables') ?? []) {
    chosen.delete(name);
    addedFor.delete(name);
  }
  refuseOrphans(byName, chosen, foreignKeys, new Set(choice.exclude ?? []));
  if (chosen.size === 0) {
    throw new LifeboatError('usage', 'No table is left to work on.', {
      next: 'Choose other --tables or --exclude-tables.',
    });
  }
  const selected = tables.filter((table) => chosen.has(table.name));
  return { tables: selected, addedFor, complete: selected.length === tables.length };
}

function namesIn(
  byName: ReadonlyMap<string, ResolvedTable>,
  names: readonly string[] | undefined,
  flag: string,
): readonly string[] | undefined {
  const unknown = names?.filter((name) => !byName.has(name)) ?? [];
  if (unknown.length > 0) {
    throw new LifeboatError('usage', `${flag} names unknown tables: ${unknown.join(', ')}.`, {
      next: `Known tables: ${[...byName.keys()].sort().join(', ')}.`,
    });
  }
  return names;
}

function addParents(
  byName: ReadonlyMap<string, ResolvedTable>,
  chosen: Set<string>,
  addedFor: Map<string, string>,
): void {
  // A Set iterates over what is added while it runs: this is the whole closure.
  for (const name of chosen) {
    for (const parent of byName.get(name)?.parents ?? []) {
      if (chosen.has(parent)) continue;
      chosen.add(parent);
      addedFor.set(parent, name);
    }
  }
}

function refuseOrphans(
  byName: ReadonlyMap<string, ResolvedTable>,
  chosen: ReadonlySet<string>,
  foreignKeys: readonly LiveForeignKey[],
  excluded: ReadonlySet<string>,
): void {
  for (const { table, parent } of foreignKeys) {
    // Names of users only translate ids; without them notes lose their author, nothing else.
    if (!chosen.has(table) || !excluded.has(parent) || byName.get(parent)?.restore.kind === 'lookup') {
      continue;
    }
    const children = [
      ...new Set(
        foreignKeys.filter((key) => key.parent === parent && chosen.has(key.table)).map((key) => key.table),
      ),
    ];
    throw new LifeboatError(
      'usage',
      `--exclude-tables ${parent} would leave rows of ${children.join(', ')} without their parents.`,
      {
        next: `Exclude ${children.join(', ')} too, or keep ${parent}.`,
      },
    );
  }
}
