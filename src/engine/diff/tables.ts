import { join } from 'node:path';
import type { DiffTable } from '../api.ts';
import { comparePartition } from './compare.ts';
import type { Difference } from './compare.ts';
import { createRowHasher } from './entry.ts';
import type { HashOptions } from './entry.ts';
import { createIdMap } from './id-map.ts';
import type { IdMap } from './id-map.ts';
import { EXAMPLES, findNames } from './names.ts';
import type { ComparedTable } from './plan.ts';
import { fieldText } from './records.ts';
import type { Side } from './sides.ts';
import { createSpill, PARTITION_ENTRIES } from './spill.ts';
import type { Spill } from './spill.ts';

/** DAGs whose missing rows are counted apart; of an environment with more, the rest is counted together. */
const MOST_GROUPS = 20_000;
const DAGS_SHOWN = 10;

export interface ComparerOptions {
  readonly folder: string;
  readonly left: Side;
  readonly right: Side;
  readonly salt: Uint8Array;
  readonly fernetKeys: readonly string[];
  readonly onRead: (table: string, rows: number, bytes: number) => void;
}

export interface ComparedOnce {
  /** Absent for a table that was only read for the references of others. */
  readonly compared?: DiffTable;
  /** Of both sides, as read. */
  readonly rows: number;
  readonly bytes: number;
}

/** Compares one table after the other, parents first: the ids of a table are kept for those that refer to it. */
export function createTableComparer(options: ComparerOptions): {
  compare(table: ComparedTable): Promise<ComparedOnce>;
  close(): void;
} {
  const maps = { left: new Map<string, IdMap>(), right: new Map<string, IdMap>() };
  const groups = createGroups();
  const hashing = (side: 'left' | 'right'): HashOptions => ({
    salt: options.salt,
    fernetKeys: options.fernetKeys,
    parents: maps[side],
    group: groups.number,
  });

  const readSide = async (side: 'left' | 'right', table: ComparedTable, spill?: Spill): Promise<Amount> => {
    let ids: IdMap | undefined;
    if (table.id !== undefined) {
      ids = createIdMap(join(options.folder, `${table.name}.${side}.ids`));
      maps[side].set(table.name, ids);
    }
    return readRows(options[side], table, { spill, ids, hashing: hashing(side), onRead: options.onRead });
  };

  const compareRows = async (table: ComparedTable): Promise<ComparedOnce> => {
    const rows = [await options.left.rows(table.name), await options.right.rows(table.name)];
    const partitions = Math.max(1, Math.ceil(Math.max(...rows) / PARTITION_ENTRIES));
    const path = join(options.folder, table.name);
    const spills = {
      left: createSpill(`${path}.left`, partitions),
      right: createSpill(`${path}.right`, partitions),
    };
    try {
      const left = await readSide('left', table, spills.left);
      const right = await readSide('right', table, spills.right);
      const found = createFindings();
      for (let partition = 0; partition < partitions; partition++) {
        comparePartition(spills.left.read(partition), spills.right.read(partition), found.add);
      }
      const names = await findNames(table, found.examples, {
        left: { side: options.left, hashing: hashing('left') },
        right: { side: options.right, hashing: hashing('right') },
      });
      const byDag = groups.names(found.missingByGroup).slice(0, DAGS_SHOWN);
      const compared: DiffTable = {
        table: table.name,
        rows: left.rows,
        otherRows: right.rows,
        ...found.counts,
        examples: names,
        ...(table.group === undefined ? {} : { missingByDag: byDag }),
        columnsNotCompared: table.leftOut,
      };
      return { compared, rows: left.rows + right.rows, bytes: left.bytes + right.bytes };
    } finally {
      spills.left.close();
      spills.right.close();
    }
  };

  return {
    compare: async (table) => {
      if (table.role === 'compare') return compareRows(table);
      const left = await readSide('left', table);
      const right = await readSide('right', table);
      return { rows: left.rows + right.rows, bytes: left.bytes + right.bytes };
    },
    close: () => {
      for (const map of [...maps.left.values(), ...maps.right.values()]) map.close();
    },
  };
}

interface Amount {
  readonly rows: number;
  readonly bytes: number;
}

interface ReadTargets {
  /** Undefined: only the ids are wanted. */
  readonly spill: Spill | undefined;
  readonly ids: IdMap | undefined;
  readonly hashing: HashOptions;
  readonly onRead: ComparerOptions['onRead'];
}

/** Reads one side of a table into its spill and its map of ids. */
async function readRows(
  side: Side,
  table: ComparedTable,
  { spill, ids, hashing, onRead }: ReadTargets,
): Promise<Amount> {
  const hasher = createRowHasher(table, hashing);
  let rows = 0;
  let bytes = 0;
  await side.read(table.name, table.columns, {
    onRecord: (record) => {
      rows += 1;
      const entry = spill ? hasher.entry(record) : hasher.key(record);
      spill?.add(entry);
      if (ids && table.id !== undefined) ids.set(Number(fieldText(record, table.id)), entry);
    },
    onBytes: (read) => {
      bytes += read;
      onRead(table.name, 0, read);
    },
  });
  onRead(table.name, rows, 0);
  return { rows, bytes };
}

export interface Examples {
  readonly missing: ReadonlySet<string>;
  readonly added: ReadonlySet<string>;
  readonly changed: ReadonlySet<string>;
  readonly notComparable: ReadonlySet<string>;
}

/** Counts of one table, and the keys of the first few differences of each kind. */
function createFindings(): {
  readonly add: (difference: Difference, key: string, group: number) => void;
  readonly counts: Record<Difference, number>;
  readonly examples: Examples;
  readonly missingByGroup: ReadonlyMap<number, number>;
} {
  const counts = { missing: 0, added: 0, changed: 0, notComparable: 0 };
  const examples = {
    missing: new Set<string>(),
    added: new Set<string>(),
    changed: new Set<string>(),
    notComparable: new Set<string>(),
  };
  const missingByGroup = new Map<number, number>();
  return {
    add: (difference, key, group) => {
      counts[difference] += 1;
      if (examples[difference].size < EXAMPLES) examples[difference].add(key);
      if (difference === 'missing') missingByGroup.set(group, (missingByGroup.get(group) ?? 0) + 1);
    },
    counts,
    examples,
    missingByGroup,
  };
}

function createGroups(): {
  readonly number: (name: string) => number;
  names(counts: ReadonlyMap<number, number>): readonly { readonly dag: string; readonly rows: number }[];
} {
  const numbers = new Map<string, number>();
  const texts: string[] = [];
  return {
    number: (name) => {
      const known = numbers.get(name);
      if (known !== undefined) return known;
      if (numbers.size >= MOST_GROUPS) return 0;
      texts.push(name);
      numbers.set(name, texts.length);
      return texts.length;
    },
    names: (counts) =>
      [...counts]
        .flatMap(([group, rows]) => {
          const dag = texts[group - 1];
          return dag === undefined ? [] : [{ dag, rows }];
        })
        .sort((a, b) => b.rows - a.rows || (a.dag < b.dag ? -1 : 1)),
  };
}
