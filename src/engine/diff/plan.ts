import { LifeboatError } from '../../errors.ts';
import { UNREADABLE_COLUMN } from '../../versions/rest-tables.ts';
import { naturalKey, type ComparedSpec } from './keys.ts';

/** A side as far as the plan needs it: its specs in load order, and the columns of each table that it holds. */
export interface SideShape {
  readonly label: string;
  readonly specs: readonly ComparedSpec[];
  readonly columns: ReadonlyMap<string, readonly string[]>;
  /**
   * Read through the API: whether a secret is encrypted is the backup's own doing and says nothing about the
   * environment, and JSON is written anew.
   */
  readonly throughApi?: boolean;
}

/** A field of a record; with a parent its id is compared as the row that it names. */
export interface Field {
  readonly index: number;
  readonly parent?: string;
  /** Compared as what it means: spaces do not count. */
  readonly json?: true;
}

export interface ComparedTable {
  readonly name: string;
  /** lookup: only read so that references to it can be compared. */
  readonly role: 'compare' | 'lookup';
  /** What is read, on both sides in this order; the fields below are positions in it. */
  readonly columns: readonly string[];
  /** Absent: no natural key, rows are equal or not. */
  readonly key?: readonly Field[];
  readonly content: readonly Field[];
  readonly secrets: readonly { readonly index: number; readonly flag?: number; readonly json?: true }[];
  /** Position of the names of values that a row lacks, and those names that are compared. */
  readonly unreadable?: { readonly index: number; readonly columns: readonly string[] };
  /** Position of dag_id. */
  readonly group?: number;
  /** Position of the id that other tables refer to; only when one of them is compared. */
  readonly id?: number;
  /** Columns of either side that are not compared. */
  readonly leftOut: readonly string[];
}

export interface DiffPlan {
  /** Parents first. */
  readonly tables: readonly ComparedTable[];
  readonly notCompared: readonly { readonly table: string; readonly reason: string }[];
}

/**
 * Decides what can be compared with what: tables and columns that both sides have, without ids that a restore may move.
 * Pure.
 *
 * @throws LifeboatError 'usage' for unknown names in `chosen`, or when nothing is left.
 */
export function planDiff(left: SideShape, right: SideShape, chosen?: readonly string[]): DiffPlan {
  const specs = new Map([...right.specs, ...left.specs].map((spec) => [spec.name, spec]));
  const wanted = wantedTables(specs, chosen);
  const order = left.specs.filter((spec) => right.specs.some((other) => other.name === spec.name));
  const shared = order.filter((spec) => left.columns.has(spec.name) && right.columns.has(spec.name));
  const translatable = new Set<string>();
  for (const spec of shared) {
    const key = naturalKey(spec);
    const known = (column: string): boolean => {
      const parent = spec.references[column];
      return hasBoth(left, right, spec.name, column) && (parent === undefined || translatable.has(parent));
    };
    if (key?.every(known) === true) translatable.add(spec.name);
  }

  const compared = shared.filter((spec) => wanted.has(spec.name));
  const needed = new Set<string>();
  for (const spec of compared.toReversed()) addNeeded(spec, shared, translatable, needed);
  const tables = shared
    .filter((spec) => wanted.has(spec.name) || needed.has(spec.name))
    .map((spec) =>
      planTable(spec, left, right, {
        translatable,
        needed,
        role: wanted.has(spec.name) ? 'compare' : 'lookup',
      }),
    );
  if (compared.length === 0) {
    throw new LifeboatError('usage', `${left.label} and ${right.label} have no table in common to compare.`, {
      next: 'Choose other --tables, or another backup.',
    });
  }
  const absent = [...wanted].filter((name) => !compared.some((spec) => spec.name === name)).sort();
  return { tables, notCompared: absent.map((table) => ({ table, reason: whyAbsent(table, left, right) })) };
}

function wantedTables(
  specs: ReadonlyMap<string, ComparedSpec>,
  chosen: readonly string[] | undefined,
): ReadonlySet<string> {
  const known = [...specs.values()].filter((spec) => spec.restore.kind !== 'lookup').map((spec) => spec.name);
  if (chosen === undefined) return new Set(known);
  const unknown = chosen.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new LifeboatError('usage', `--tables names unknown tables: ${unknown.join(', ')}.`, {
      next: `Known tables: ${known.sort().join(', ')}.`,
    });
  }
  return new Set(chosen);
}

/** The parents whose ids a table's references are translated with, and theirs. */
function addNeeded(
  spec: ComparedSpec,
  shared: readonly ComparedSpec[],
  translatable: ReadonlySet<string>,
  needed: Set<string>,
): void {
  for (const parent of Object.values(spec.references)) {
    if (needed.has(parent) || !translatable.has(parent)) continue;
    needed.add(parent);
    const found = shared.find((one) => one.name === parent);
    if (found) addNeeded(found, shared, translatable, needed);
  }
}

interface TableChoice {
  readonly translatable: ReadonlySet<string>;
  readonly needed: ReadonlySet<string>;
  readonly role: 'compare' | 'lookup';
}

function planTable(
  spec: ComparedSpec,
  left: SideShape,
  right: SideShape,
  { translatable, needed, role }: TableChoice,
): ComparedTable {
  const id = needed.has(spec.name) ? 'id' : undefined;
  const key = translatable.has(spec.name) ? naturalKey(spec) : undefined;
  const secrets = new Set(spec.secrets.map((secret) => secret.column));
  const isCompared = (column: string): boolean => {
    const parent = spec.references[column];
    return column !== spec.serial && column !== 'id' && (parent === undefined || translatable.has(parent));
  };
  const common = spec.columns
    .map((column) => column.name)
    .filter((column) => hasBoth(left, right, spec.name, column));
  const flags = new Set(spec.secrets.map(({ flag }) => flag));
  const throughApi = left.throughApi === true || right.throughApi === true;
  const content = common.filter(
    (column) =>
      isCompared(column) &&
      column !== UNREADABLE_COLUMN &&
      !secrets.has(column) &&
      !(throughApi && flags.has(column)),
  );
  const read = common.filter((column) =>
    role === 'lookup'
      ? column === id || key?.includes(column) === true
      : content.includes(column) || column === id || secrets.has(column) || flags.has(column),
  );
  const everywhere = new Set([...columnsOf(left, spec.name), ...columnsOf(right, spec.name)]);
  const marked = role === 'compare' && everywhere.has(UNREADABLE_COLUMN);
  const columns = marked ? [...read, UNREADABLE_COLUMN] : read;
  const index = (column: string): number => read.indexOf(column);
  const json = (column: string): { readonly json?: true } =>
    throughApi && spec.columns.find(({ name }) => name === column)?.type === 'json' ? { json: true } : {};
  const field = (column: string): Field => {
    const parent = spec.references[column];
    return { index: index(column), ...json(column), ...(parent === undefined ? {} : { parent }) };
  };
  return {
    name: spec.name,
    role,
    columns,
    ...(key === undefined ? {} : { key: key.map(field) }),
    content: content.filter((column) => read.includes(column)).map(field),
    secrets: spec.secrets
      .filter((secret) => read.includes(secret.column))
      .map(({ column, flag }) => ({
        index: index(column),
        ...(flag === undefined ? {} : { flag: index(flag) }),
        ...(throughApi ? { json: true as const } : {}),
      })),
    ...(marked ? { unreadable: { index: read.length, columns: read } } : {}),
    ...(read.includes('dag_id') ? { group: index('dag_id') } : {}),
    ...(id === undefined ? {} : { id: index(id) }),
    leftOut: [...everywhere].filter(
      (column) =>
        column !== UNREADABLE_COLUMN &&
        !content.includes(column) &&
        !(secrets.has(column) && read.includes(column)),
    ),
  };
}

function columnsOf(side: SideShape, table: string): readonly string[] {
  return side.columns.get(table) ?? [];
}

function hasBoth(left: SideShape, right: SideShape, table: string, column: string): boolean {
  return columnsOf(left, table).includes(column) && columnsOf(right, table).includes(column);
}

function whyAbsent(table: string, left: SideShape, right: SideShape): string {
  const without = [left, right].filter((side) => !side.columns.has(table)).map((side) => side.label);
  return `it is not in ${without.join(' nor in ')}`;
}
