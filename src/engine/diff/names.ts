import type { DiffTable } from '../api.ts';
import { createRowHasher, KEY_BYTES } from './entry.ts';
import type { HashOptions } from './entry.ts';
import type { ComparedTable } from './plan.ts';
import { fieldText } from './records.ts';
import type { CsvRecord } from './records.ts';
import type { Side } from './sides.ts';
import type { Examples } from './tables.ts';

/** Rows named for each kind of difference of a table. */
export const EXAMPLES = 5;
/** Of a name: keys of XComs and ids of DAGs may be long, variables may be anything. */
const LONGEST = 200;

interface NamedSide {
  readonly side: Side;
  readonly hashing: HashOptions;
}

/**
 * Finds the names of the example rows by reading the keys of the table once more: what was kept of a row does not tell
 * its name. Tables without a natural key have no names.
 */
export async function findNames(
  table: ComparedTable,
  examples: Examples,
  sides: { readonly left: NamedSide; readonly right: NamedSide },
): Promise<DiffTable['examples']> {
  const ofLeft = [...examples.missing, ...examples.changed, ...examples.notComparable];
  const left = await readNames(table, new Set(ofLeft), sides.left);
  const right = await readNames(table, examples.added, sides.right);
  const named = (keys: ReadonlySet<string>, names: ReadonlyMap<string, string>): readonly string[] =>
    [...keys].flatMap((key) => names.get(key) ?? []).sort();
  return {
    missing: named(examples.missing, left),
    added: named(examples.added, right),
    changed: named(examples.changed, left),
    notComparable: named(examples.notComparable, left),
  };
}

async function readNames(
  table: ComparedTable,
  wanted: ReadonlySet<string>,
  { side, hashing }: NamedSide,
): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  if (table.key === undefined || wanted.size === 0) return names;
  const columns = table.key.map(({ index }) => table.columns[index] ?? '');
  const key = table.key.map(({ parent }, index) => ({ index, ...(parent === undefined ? {} : { parent }) }));
  const hasher = createRowHasher({ ...table, columns, key }, hashing);
  await side.read(table.name, columns, {
    onRecord: (record) => {
      if (names.size === wanted.size) return;
      const found = Buffer.from(hasher.key(record).subarray(0, KEY_BYTES)).toString('latin1');
      if (wanted.has(found)) names.set(found, rowName(record, columns, key));
    },
    enough: () => names.size === wanted.size,
  });
  return names;
}

/** "dag/run/task", with [n] for a mapped task; a reference by id is #id. */
function rowName(
  record: CsvRecord,
  columns: readonly string[],
  key: NonNullable<ComparedTable['key']>,
): string {
  const words = key.map(({ index, parent }) => {
    const text = fieldText(record, index);
    if (text === null) return '(none)';
    if (parent !== undefined) return `#${text}`;
    if (columns[index] !== 'map_index') return text;
    return text === '-1' ? '' : `[${text}]`;
  });
  const name = words
    .filter((word) => word !== '')
    .join('/')
    .replaceAll('/[', '[');
  return name.length > LONGEST ? `${name.slice(0, LONGEST)}…` : name;
}
