import type { LiveSchema, LiveTable } from '../db/introspect.ts';
import type { ColumnType } from '../tables/spec.ts';
import type { ResolvedTable } from '../versions/registry.ts';

export interface Drift {
  /** Differences that make the spec wrong about this database: nothing is done with it. */
  readonly problems: readonly string[];
  /** Differences that change nothing for a backup: reported. */
  readonly notes: readonly string[];
}

const FAMILIES: readonly (readonly [RegExp, ColumnType])[] = [
  [/^(smallint|integer)$/, 'integer'],
  [/^bigint$/, 'bigint'],
  [/^(real|double precision|numeric.*)$/, 'float'],
  [/^boolean$/, 'boolean'],
  [/^(text|character varying.*|character\(.*|citext)$/, 'text'],
  [/^timestamp(\(\d\))? without time zone$/, 'timestamp'],
  [/^timestamp(\(\d\))? with time zone$/, 'timestamptz'],
  [/^bytea$/, 'bytea'],
  [/^json$/, 'json'],
];

/** The family of a type as format_type prints it; undefined for a type that Airflow 2 does not use. */
export function typeFamily(type: string): ColumnType | undefined {
  return FAMILIES.find(([pattern]) => pattern.test(type))?.[1];
}

/** Length of a character type; Infinity for text and the like. */
export function characterLimit(type: string): number {
  const limit = /^character(?: varying)?\((\d+)\)$/.exec(type)?.[1];
  return limit === undefined ? Infinity : Number(limit);
}

/** Compares what is there with what the spec expects, table by table and column by column. */
export function compareSchema(live: LiveSchema, tables: readonly ResolvedTable[]): Drift {
  const problems: string[] = [];
  const notes: string[] = [];
  for (const table of tables) {
    const found = live.tables.get(table.name);
    if (!found) problems.push(`table ${table.name} is missing`);
    else compareTable(table, found, problems, notes);
  }
  return { problems, notes };
}

function compareTable(table: ResolvedTable, found: LiveTable, problems: string[], notes: string[]): void {
  const known = new Set(table.leftOutColumns.map((column) => column.name));
  for (const column of table.columns) {
    known.add(column.name);
    const real = found.columns.get(column.name);
    if (!real) {
      problems.push(`column ${table.name}.${column.name} is missing`);
    } else if (!sameFamily(typeFamily(real.type), column.type)) {
      problems.push(`column ${table.name}.${column.name} is ${real.type}, expected ${column.type}`);
    }
  }
  for (const column of found.columns.values()) {
    if (known.has(column.name)) continue;
    notes.push(`column ${table.name}.${column.name} (${column.type}) is not Airflow's and is left out`);
  }
}

/** A wider integer holds all that a narrower one wrote; every other difference is another family. */
function sameFamily(found: ColumnType | undefined, expected: ColumnType): boolean {
  return found === expected || (found === 'bigint' && expected === 'integer');
}

/**
 * Columns of the target that a loaded row would leave empty although they must not be: those that are not Airflow's, and
 * those that are, when the backup's minor did not have them and its migration left them empty.
 */
export function unfillableColumns(live: LiveSchema, tables: readonly ResolvedTable[]): readonly string[] {
  return tables
    .filter((table) => table.restore.kind !== 'lookup')
    .flatMap((table) => {
      const empty = new Set(table.added.filter(({ value }) => value === 'NULL').map(({ name }) => name));
      const written = new Set(table.columns.map(({ name }) => name).filter((name) => !empty.has(name)));
      return [...(live.tables.get(table.name)?.columns.values() ?? [])]
        .filter(
          (column) => column.notNull && !column.hasDefault && !column.generated && !written.has(column.name),
        )
        .map((column) => `${table.name}.${column.name}`);
    });
}
