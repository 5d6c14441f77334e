import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { characterLimit, typeFamily } from '../../src/engine/drift.ts';
import { LEFT_OUT_TABLES, TABLE_SPECS } from '../../src/tables/index.ts';
import type { Minor } from '../../src/tables/spec.ts';
import {
  findRelease,
  newestMinor,
  OTHER_RELEASES,
  sameMinor,
  SUPPORTED_RELEASES,
} from '../../src/versions/heads.ts';
import { passageTo } from '../../src/versions/between.ts';
import { compareMinors, inRange, MINORS } from '../../src/versions/minors.ts';
import { tablesFor } from '../../src/versions/registry.ts';
import type { ResolvedTable } from '../../src/versions/registry.ts';

interface RealTable {
  readonly columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly nullable: boolean;
    readonly default?: string;
    readonly sequence?: string;
  }[];
  readonly primaryKey: { readonly columns: readonly string[] };
  readonly foreignKeys?: readonly { readonly references: string; readonly columns: readonly string[] }[];
  readonly unique?: readonly { readonly columns: readonly string[] }[];
  readonly indexes?: readonly { readonly unique: boolean; readonly definition: string }[];
}
interface RealSchema {
  readonly alembicHead: string;
  readonly tables: Readonly<Record<string, RealTable>>;
}

/** Introspected from real databases; generated, never typed. */
function realSchema(minor: Minor): RealSchema {
  const file = new URL(`../fixtures/schemas/${minor}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as RealSchema;
}

describe.each(MINORS)('Airflow %s', (minor) => {
  const real = realSchema(minor);
  const tables = tablesFor(minor);
  const byName = new Map(tables.map((table) => [table.name, table]));
  const present = (table: ResolvedTable): RealTable => {
    const found = real.tables[table.name];
    if (!found) throw new Error(`${table.name} is not in ${minor}`);
    return found;
  };

  test('every real table is covered or left out with a reason, and no spec is of a table that is not there', () => {
    const leftOut = new Map(LEFT_OUT_TABLES.map(({ name, reason }) => [name, reason]));
    const neither = Object.keys(real.tables).filter((name) => !byName.has(name) && !leftOut.get(name));
    expect(neither).toEqual([]);
    const both = Object.keys(real.tables).filter((name) => byName.has(name) && leftOut.has(name));
    expect(both).toEqual([]);
    expect(tables.map(({ name }) => name).filter((name) => !(name in real.tables))).toEqual([]);
  });

  test('every real column is covered or left out with a reason, exactly once', () => {
    for (const table of tables) {
      const covered = table.columns.map(({ name }) => name);
      const named = [...covered, ...table.leftOutColumns.map(({ name }) => name)].sort();
      expect(named, table.name).toEqual(
        present(table)
          .columns.map(({ name }) => name)
          .sort(),
      );
      for (const { name, reason } of table.leftOutColumns) {
        expect(reason.length, name).toBeGreaterThan(10);
      }
    }
  });

  test('every column has the type of the real one', () => {
    for (const table of tables) {
      const types = new Map(present(table).columns.map(({ name, type }) => [name, type]));
      for (const { name, type } of table.columns) {
        expect(typeFamily(types.get(name) ?? ''), `${table.name}.${name}`).toBe(type);
      }
    }
  });

  test('keys are primary keys, serials have sequences, natural keys are unique', () => {
    for (const table of tables) {
      const { primaryKey, columns, unique = [], indexes = [] } = present(table);
      expect([...table.key].sort(), table.name).toEqual([...primaryKey.columns].sort());
      const serials = columns.filter(({ sequence }) => sequence !== undefined).map(({ name }) => name);
      const expected = table.serial === undefined ? [] : [table.serial];
      // Users are never written, so their sequence is none of our business.
      if (table.restore.kind !== 'lookup') expect(expected, table.name).toEqual(serials);
      if (table.restore.kind === 'history') continue;
      const by = [...table.restore.by].sort().join();
      const keys = [primaryKey.columns, ...unique.map((one) => one.columns), ...uniqueColumns(indexes)];
      // log_template has no such key: two equal rows are the same template, and the first one is taken.
      if (table.name !== 'log_template') {
        expect(
          keys.map((key) => [...key].sort().join()),
          table.name,
        ).toContain(by);
      }
    }
  });

  test('every foreign key between covered tables makes a parent, and the parent is loaded first', () => {
    const position = new Map(tables.map(({ name }, at) => [name, at]));
    for (const table of tables) {
      for (const key of present(table).foreignKeys ?? []) {
        const parent = byName.get(key.references);
        if (!parent || key.references === table.name) continue;
        expect(table.parents, `${table.name} → ${key.references}`).toContain(key.references);
      }
      for (const parent of table.parents) {
        expect(position.get(parent), `${parent} before ${table.name}`).toBeLessThan(
          position.get(table.name) ?? -1,
        );
      }
    }
  });

  test('every id column leads to a table', () => {
    // What ends in _id and is no id of a row of another table.
    const names =
      /^(dag_id|task_id|run_id|conn_id|elasticsearch_id|root_dag_id|external_executor_id|target_dag_id)$/;
    for (const table of tables) {
      const ids = table.columns
        .filter(({ name, type }) => type === 'integer' && name.endsWith('_id'))
        .map(({ name }) => name)
        .filter((name) => !names.test(name));
      expect(ids.sort(), table.name).toEqual(Object.keys(table.references).sort());
    }
  });

  test('the head of the real database is recognised as this minor', () => {
    expect(findRelease(real.alembicHead)?.minors).toContain(minor);
  });

  test('resolved tables are shared and cannot be changed', () => {
    expect(tablesFor(minor)).toBe(tables);
    expect(Object.isFrozen(tables)).toBe(true);
    expect(tables.every((table) => Object.isFrozen(table) && Object.isFrozen(table.columns))).toBe(true);
  });
});

const PAIRS = MINORS.flatMap((from, index) => MINORS.slice(index + 1).map((to) => [from, to] as const));

test('there are 21 pairs of an older and a newer minor', () => {
  expect(PAIRS.length).toBe(21);
});

describe.each(PAIRS)('from %s to %s', (from, to) => {
  const [before, after] = [realSchema(from), realSchema(to)];
  const tables = tablesFor(to, from);
  const covered = new Map(tables.map((table) => [table.name, table]));

  test('every new column is known, and has a value where it must have one', () => {
    for (const [name, { columns }] of Object.entries(after.tables)) {
      const table = covered.get(name);
      const old = before.tables[name];
      if (!table) continue;
      expect(table.addedTable, name).toBe(old === undefined);
      if (!old) continue;
      const known = new Set(old.columns.map((column) => column.name));
      const added = columns.filter((column) => !known.has(column.name));
      expect(table.added.map((column) => column.name).sort(), name).toEqual(
        added.map((column) => column.name).sort(),
      );
      for (const { name: column, nullable, default: inDatabase } of added) {
        const value = table.added.find((one) => one.name === column)?.value ?? 'NULL';
        if (!nullable) expect(value, `${name}.${column}`).not.toBe('NULL');
        // What a fresh database of the newer minor has as its default is what the migration gave, too.
        if (inDatabase !== undefined) expect(value, `${name}.${column}`).toBe(inDatabase);
      }
    }
  });

  test('nothing that is backed up is dropped on the way, or becomes narrower or of another kind', () => {
    for (const table of tablesFor(from)) {
      const now = covered.get(table.name);
      expect(now, table.name).toBeDefined();
      const real = after.tables[table.name]?.columns ?? [];
      for (const { name } of table.columns) {
        const [was, is] = [before.tables[table.name]?.columns, real].map((list) =>
          list?.find((column) => column.name === name),
        );
        expect(is, `${table.name}.${name}`).toBeDefined();
        const [old, kind] = [typeFamily(was?.type ?? ''), typeFamily(is?.type ?? '')];
        const kwargs = table.name === 'trigger' && name === 'kwargs';
        if (!kwargs) expect(kind, `${table.name}.${name}`).toBe(old);
        expect(characterLimit(is?.type ?? '')).toBeGreaterThanOrEqual(characterLimit(was?.type ?? ''));
      }
    }
  });

  test('changes of meaning are made when their minor is entered, and only then', () => {
    const crosses = (minor: Minor): boolean =>
      compareMinors(from, minor) < 0 && compareMinors(minor, to) <= 0;
    const entering = tables.flatMap(({ name, rewrites }) =>
      rewrites.filter((one) => one.entering !== undefined).map(({ column }) => `${name}.${column}`),
    );
    expect(entering).toEqual(crosses('2.10') ? ['task_instance.try_number'] : []);
    const encrypted = tables.flatMap(({ name, secrets }) =>
      secrets.filter(({ fromClear }) => fromClear).map(({ column }) => `${name}.${column}`),
    );
    expect(encrypted).toEqual(crosses('2.9') ? ['trigger.kwargs'] : []);
  });
});

test('within one minor nothing is added', () => {
  for (const minor of MINORS) {
    expect(tablesFor(minor, minor)).toBe(tablesFor(minor));
    expect(tablesFor(minor).flatMap(({ added }) => added)).toEqual([]);
    expect(tablesFor(minor).filter(({ addedTable }) => addedTable)).toEqual([]);
  }
});

describe('the way from a head into a release', () => {
  const way = (from: string, to: string): string => {
    const target = findRelease(to);
    if (!target) throw new Error(`${to} is not known`);
    const passage = passageTo(target, from);
    return 'from' in passage ? `${passage.kind} ${passage.from} ${passage.to}` : passage.kind;
  };

  test('has a direction', () => {
    expect(way('290244fb8b83', '5f2621c13b39')).toBe('newer 2.5 2.11');
    expect(way('1949afb29106', '22ed7efa9da2')).toBe('newer 2.9 2.10');
    expect(way('405de8318b3a', 'c804e5c76e3e')).toBe('older');
    expect(way('5f2621c13b39', '686269002441')).toBe('older');
  });

  test('is none within a minor, whichever patch release is the newer one', () => {
    expect(way('98ae134e6fff', 'c804e5c76e3e')).toBe('same 2.6 2.6');
    expect(way('c804e5c76e3e', '98ae134e6fff')).toBe('same 2.6 2.6');
    expect(way('22ed7efa9da2', '5f2621c13b39')).toBe('same 2.11 2.11');
    expect(way('5f2621c13b39', '22ed7efa9da2')).toBe('same 2.10 2.10');
  });

  test('is not known for other heads', () => {
    for (const head of Object.keys(OTHER_RELEASES)) expect(way(head, '5f2621c13b39')).toBe('unknown');
  });
});

function uniqueColumns(indexes: NonNullable<RealTable['indexes']>): readonly (readonly string[])[] {
  return indexes
    .filter(({ unique }) => unique)
    .map(({ definition }) => (/\(([^()]*)\)$/.exec(definition)?.[1] ?? '').split(', '));
}

test('no table is described twice', () => {
  const names = [...TABLE_SPECS, ...LEFT_OUT_TABLES].map(({ name }) => name);
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
});

describe('minors', () => {
  test('2.10 comes after 2.9', () => {
    expect(compareMinors('2.10', '2.9')).toBeGreaterThan(0);
    expect(compareMinors('2.5', '2.10')).toBeLessThan(0);
    expect([...MINORS].sort(compareMinors)).toEqual(MINORS);
    expect(inRange('2.10', { since: '2.9' })).toBe(true);
    expect(inRange('2.9', { since: '2.10' })).toBe(false);
    expect(inRange('2.9', { until: '2.9' })).toBe(false);
    expect(inRange('2.8', { until: '2.9' })).toBe(true);
    expect(tablesFor('2.9').some(({ name }) => name === 'task_instance_history')).toBe(false);
    expect(tablesFor('2.10').some(({ name }) => name === 'task_instance_history')).toBe(true);
  });

  test('a column that changed its type has one type in each version', () => {
    const kwargs = (minor: Minor): unknown =>
      tablesFor(minor)
        .find(({ name }) => name === 'trigger')
        ?.columns.filter(({ name }) => name === 'kwargs')
        .map(({ type }) => type);
    expect(kwargs('2.8')).toEqual(['json']);
    expect(kwargs('2.9')).toEqual(['text']);
  });
});

describe('Alembic heads', () => {
  /** `_REVISION_HEADS_MAP` of Airflow, and the migration reference of each release. */
  const RELEASES: readonly (readonly [head: string, label: string, minors: readonly Minor[]])[] = [
    ['290244fb8b83', '2.5', ['2.5']],
    ['98ae134e6fff', '2.6', ['2.6']],
    ['c804e5c76e3e', '2.6', ['2.6']],
    ['405de8318b3a', '2.7', ['2.7']],
    ['10b52ebd31f7', '2.8', ['2.8']],
    ['88344c1d9134', '2.8', ['2.8']],
    ['1949afb29106', '2.9', ['2.9']],
    ['686269002441', '2.9', ['2.9']],
    ['22ed7efa9da2', '2.10', ['2.10']],
    ['5f2621c13b39', '2.10.3–2.11', ['2.10', '2.11']],
  ];

  test('those of every supported release are known, and no others', () => {
    expect(SUPPORTED_RELEASES.map(({ head, label, minors }) => [head, label, minors])).toEqual(RELEASES);
  });

  test('those of 2.4 and 3.x are told apart from unknown ones', () => {
    const heads = ['ecb43d2a1842', 'b0d31815b5a6', 'e07f49787c9d', '29ce7909c52b', 'fe199e1abd77'];
    heads.push('cc92b33c6709', '509b94a1042d', '1d6611b6ab7c', 'd2f4e1b3c5a7', 'b4f1a7d2c903');
    expect(Object.keys(OTHER_RELEASES).sort()).toEqual(heads.sort());
    for (const head of heads) expect(findRelease(head)).toBeUndefined();
    expect(findRelease('')).toBeUndefined();
    expect(findRelease('290244FB8B83')).toBeUndefined();
  });

  test('patch releases of one minor are compatible, neighbours are not', () => {
    const fits = (a: string, b: string): boolean | undefined => {
      const [left, right] = [findRelease(a), findRelease(b)];
      return left && right && sameMinor(left, right);
    };
    expect(fits('98ae134e6fff', 'c804e5c76e3e')).toBe(true);
    expect(fits('22ed7efa9da2', '5f2621c13b39')).toBe(true);
    expect(fits('c804e5c76e3e', '405de8318b3a')).toBe(false);
    expect(fits('686269002441', '22ed7efa9da2')).toBe(false);
  });

  test('a head of two minors has the tables of both', () => {
    for (const release of SUPPORTED_RELEASES) {
      const [first, ...others] = release.minors.map((minor) => tablesFor(minor));
      for (const other of others) expect(other).toEqual(first);
      expect(release.minors).toContain(newestMinor(release));
    }
  });
});
