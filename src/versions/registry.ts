import { TABLE_SPECS } from '../tables/index.ts';
import { topological } from '../tables/order.ts';
import type {
  ChosenBy,
  ColumnEntry,
  ColumnSpec,
  ColumnType,
  LeftOutColumn,
  LoadRewrite,
  Minor,
  RestoreRule,
  RunLink,
  SecretColumn,
  TaskTokenColumn,
  TableSpec,
} from '../tables/spec.ts';
import { inRange } from './minors.ts';

export interface ResolvedColumn {
  readonly name: string;
  readonly type: ColumnType;
}

/** A column that the backup's minor did not have yet. */
export interface AddedColumn {
  readonly name: string;
  /** SQL constant that Airflow's migration gave to rows that were there. */
  readonly value: string;
}

export interface ResolvedSecret extends SecretColumn {
  /** The backup's minor stored it in clear, and Airflow's migration encrypts it. */
  readonly fromClear: boolean;
}

/** A table spec for one version, or for the way from one version into another: what the engine works with. */
export interface ResolvedTable {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: readonly ResolvedColumn[];
  readonly leftOutColumns: readonly LeftOutColumn[];
  readonly restore: RestoreRule;
  readonly serial?: string;
  readonly neverReuseIds: boolean;
  /** All tables that must be loaded before this one. */
  readonly parents: readonly string[];
  readonly references: Readonly<Record<string, string>>;
  readonly secrets: readonly ResolvedSecret[];
  readonly taskTokens?: TaskTokenColumn;
  readonly countsAsHistory: boolean;
  readonly liveRows?: string;
  readonly chosen: ChosenBy;
  readonly sameFact?: readonly string[];
  readonly ofRun: readonly RunLink[];
  readonly neverLocked: boolean;
  readonly only?: string;
  /** Column → SQL expression that a backup stores in place of its value. */
  readonly read?: Readonly<Record<string, string>>;
  readonly rewrites: readonly LoadRewrite[];
  /** Columns that rows of the backup lack because its minor did. */
  readonly added: readonly AddedColumn[];
  /** The backup's minor did not have this table. */
  readonly addedTable: boolean;
}

const resolved = new Map<string, readonly ResolvedTable[]>();

/**
 * The tables of one minor in load order (parents first). Frozen: everybody shares them. `from` is the minor of the rows
 * that are to come in, when it is an earlier one: the tables are the same then, and say besides what Airflow's own
 * migrations do on the way (`added`, `addedTable`, `rewrites`, `secrets.fromClear`).
 */
export function tablesFor(minor: Minor, from: Minor = minor): readonly ResolvedTable[] {
  const known = resolved.get(`${from} ${minor}`);
  if (known) return known;
  const present = TABLE_SPECS.filter((spec) => inRange(minor, rangeOf(spec)));
  const names = new Set(present.map((spec) => spec.name));
  const tables = Object.freeze(topological(present.map((spec) => resolveTable(spec, minor, from, names))));
  resolved.set(`${from} ${minor}`, tables);
  return tables;
}

function resolveTable(
  spec: TableSpec,
  minor: Minor,
  from: Minor,
  present: ReadonlySet<string>,
): ResolvedTable {
  const ever = spec.columns.map(toColumn);
  const before = new Set(ever.filter((column) => inRange(from, rangeOf(column))).map(({ name }) => name));
  const columns = Object.freeze(ever.filter((column) => inRange(minor, rangeOf(column))));
  const addedTable = !inRange(from, rangeOf(spec));
  /** True when `since` lies on the way. */
  const onTheWay = (since?: Minor): boolean =>
    inRange(minor, rangeOf({ since })) && !inRange(from, rangeOf({ since }));
  const references = Object.entries(spec.references ?? {}).filter(([, parent]) => present.has(parent));
  const parents = new Set([...(spec.after ?? []), ...references.map(([, parent]) => parent)]);
  parents.delete(spec.name);
  return Object.freeze({
    name: spec.name,
    key: spec.key,
    columns,
    leftOutColumns: spec.leftOutColumns ?? [],
    restore: spec.restore,
    ...(spec.serial === undefined ? {} : { serial: spec.serial }),
    neverReuseIds: spec.neverReuseIds ?? false,
    parents: Object.freeze([...parents].filter((parent) => present.has(parent))),
    references: Object.freeze(Object.fromEntries(references)),
    secrets: Object.freeze(
      (spec.secrets ?? [])
        .filter((secret) => inRange(minor, rangeOf(secret)))
        .map((secret) => ({ ...secret, fromClear: onTheWay(secret.since) })),
    ),
    ...(spec.taskTokens === undefined ? {} : { taskTokens: spec.taskTokens }),
    countsAsHistory: spec.countsAsHistory ?? false,
    ...(spec.liveRows === undefined ? {} : { liveRows: spec.liveRows }),
    chosen: spec.chosen,
    ...(spec.sameFact === undefined ? {} : { sameFact: spec.sameFact }),
    ofRun: Object.freeze(
      (spec.ofRun ?? []).filter(
        (link) =>
          present.has(link.of) && link.own.every((name) => columns.some((column) => column.name === name)),
      ),
    ),
    neverLocked: spec.neverLocked ?? false,
    ...(spec.only === undefined ? {} : { only: spec.only }),
    rewrites: Object.freeze(
      (spec.rewrites ?? [])
        .filter(({ column }) => columns.some(({ name }) => name === column))
        .filter(({ entering }) => entering === undefined || onTheWay(entering)),
    ),
    added: Object.freeze(
      addedTable
        ? []
        : columns
            .filter(({ name }) => !before.has(name))
            .map(({ name, migrated }) => ({ name, value: migrated ?? 'NULL' })),
    ),
    addedTable,
  });
}

function toColumn(entry: ColumnEntry): ColumnSpec {
  const { column, ...range } = typeof entry === 'string' ? { column: entry } : entry;
  const at = column.lastIndexOf(' ');
  return { name: column.slice(0, at), type: column.slice(at + 1) as ColumnType, ...range };
}

function rangeOf(item: { since?: Minor | undefined; until?: Minor | undefined }): {
  since?: Minor;
  until?: Minor;
} {
  return {
    ...(item.since === undefined ? {} : { since: item.since }),
    ...(item.until === undefined ? {} : { until: item.until }),
  };
}
