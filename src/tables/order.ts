/** Anything with a name and the names of what must come before it. */
export interface Ordered {
  readonly name: string;
  readonly parents: readonly string[];
}

/**
 * Parents first, otherwise in the order given (so that plans read the same every time). Parents that are not in the
 * list are ignored: a partial backup may lack them.
 *
 * @throws Error on a cycle: a mistake in the table specs, not of a user.
 */
export function topological<T extends Ordered>(items: readonly T[]): readonly T[] {
  const byName = new Map(items.map((item) => [item.name, item]));
  const done = new Set<string>();
  const open = new Set<string>();
  const ordered: T[] = [];

  const visit = (item: T): void => {
    if (done.has(item.name)) return;
    if (open.has(item.name)) throw new Error(`Tables refer to each other in a circle at ${item.name}.`);
    open.add(item.name);
    for (const parent of item.parents) {
      const found = byName.get(parent);
      if (found && parent !== item.name) visit(found);
    }
    open.delete(item.name);
    done.add(item.name);
    ordered.push(item);
  };

  items.forEach(visit);
  return ordered;
}
