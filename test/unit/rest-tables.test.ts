import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { SECRET_FLAGS } from '../../src/engine/rest/tables.ts';
import { restTables } from '../../src/versions/rest-tables.ts';
import { unreachedTables } from '../../src/versions/rest-unreached.ts';

const SCHEMAS = new URL('../fixtures/schemas/', import.meta.url);

/** Databases as Airflow makes them. */
const DUMPS_2 = new URL('../fixtures/airflow/', import.meta.url);
const DUMPS_3 = new URL('../fixtures/airflow-3/', import.meta.url);

interface Schema {
  readonly release: string;
  readonly tables: Readonly<Record<string, { readonly columns: readonly { readonly name: string }[] }>>;
}

/** Of Airflow 3, as the databases of its fixtures have them. */
const COLUMNS = new URL('../fixtures/airflow-3/columns.json', import.meta.url);

const schemas = [
  ...readdirSync(SCHEMAS)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(new URL(name, SCHEMAS), 'utf8')) as Schema),
  ...(JSON.parse(readFileSync(COLUMNS, 'utf8')) as readonly Schema[]),
];

describe.each(schemas)('the tables of the API of $release', ({ release, tables }) => {
  test.each(restTables(release))(
    '$name: each column of the database is given, or named with a reason',
    (table) => {
      const columns = tables[table.name]?.columns.map(({ name }) => name) ?? [];
      const given = [
        ...table.columns.map(({ name }) => name),
        ...Object.values(SECRET_FLAGS[table.name] ?? {}),
      ];
      const missing = table.notGiven.flatMap((gap) => gap.columns ?? []);
      expect(columns.filter((name) => !given.includes(name)).sort()).toEqual([...missing].sort());
    },
  );
});

const DATABASES = [...readdirSync(DUMPS_2), ...readdirSync(DUMPS_3)].filter((name) =>
  name.startsWith('fresh-'),
);

test.each(DATABASES)('%s: each table is read, or named with a reason', (name) => {
  const release = /-(\d[\d.]*\d)\./.exec(name)?.[1] ?? '';
  const dump = gunzipSync(readFileSync(new URL(name, release.startsWith('3.') ? DUMPS_3 : DUMPS_2)));
  const tables = [...dump.toString('latin1').matchAll(/^CREATE TABLE (?:public\.)?(\w+)/gm)].map(
    ([, table]) => table,
  );
  const read = restTables(release).map((table) => table.name);
  const unreached = unreachedTables(release).map((table) => table.name);
  expect(tables.length).toBeGreaterThan(40);
  expect([...read, ...unreached].sort()).toEqual(tables.sort());
});
