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
  TableSpec,
} from '../tables/spec.ts';
import { inRange } from './minors.ts';

export interface ResolvedColumn {
  readonly name: string;
  readonly type: ColumnType;
}

/** A table spec for one version: what the engine works with. */
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
  readonly secrets: readonly SecretColumn[];
  readonly countsAsHistory: boolean;
  readonly liveRows?: string;
  readonly chosen: ChosenBy;
  readonly sameFact?: readonly string[];
  readonly ofRun: readonly RunLink[];
  readonly neverLocked: boolean;
  readonly only?: string;
  readonly rewrites: readonly LoadRewrite[];
}

const resolved = new Map<Minor, readonly ResolvedTable[]>();

/** The tables of one minor in load order (parents first). Frozen: everybody shares them. */
export function tablesFor(minor: Minor): readonly ResolvedTable[] {
  const known = resolved.get(minor);
  if (known) return known;
  const present = TABLE_SPECS.filter((spec) => inRange(minor, rangeOf(spec)));
  const names = new Set(present.map((spec) => spec.name));
  const tables = Object.freeze(topological(present.map((spec) => resolveTable(spec, minor, names))));
  resolved.set(minor, tables);
  return tables;
}

function resolveTable(spec: TableSpec, minor: Minor, present: ReadonlySet<string>): ResolvedTable {
  const references = Object.entries(spec.references ?? {}).filter(([, parent]) => present.has(parent));
  const parents = new Set([...(spec.after ?? []), ...references.map(([, parent]) => parent)]);
  parents.delete(spec.name);
  const columns = Object.freeze(
    spec.columns.map(toColumn).filter((column) => inRange(minor, rangeOf(column))),
  );
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
    secrets: Object.freeze((spec.secrets ?? []).filter((secret) => inRange(minor, rangeOf(secret)))),
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
    rewrites: spec.rewrites ?? [],
  });
}

function toColumn(entry: ColumnEntry): ColumnSpec {
  const { column, ...range } = typeof entry === 'string' ? { column: entry } : entry;
  const at = column.lastIndexOf(' ');
  return { name: column.slice(0, at), type: column.slice(at + 1) as ColumnType, ...range };
}

function rangeOf(item: { since?: Minor; until?: Minor }): { since?: Minor; until?: Minor } {
  return {
    ...(item.since === undefined ? {} : { since: item.since }),
    ...(item.until === undefined ? {} : { until: item.until }),
  };
}
