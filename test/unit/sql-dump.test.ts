import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { loadSqlDump } from '../../src/demo/sql-dump.ts';
import { createDatabase } from '../helpers/databases.ts';
import { FIXTURE_VERSIONS } from '../helpers/fixtures.ts';

async function load(sql: string, chunkBytes = sql.length): Promise<(query: string) => Promise<unknown[][]>> {
  const database = await createDatabase({ from: 'empty' });
  const bytes = Buffer.from(sql);
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) chunks.push(bytes.subarray(at, at + chunkBytes));
  await loadSqlDump(await database.client(), Readable.from(chunks));
  const client = await database.client();
  return async (query) => (await client.query<unknown[]>({ text: query, rowMode: 'array' })).rows;
}

const HARD = String.raw`--
-- PostgreSQL database dump
--
\restrict abc
CREATE TABLE public.t (id integer, v text);
COPY public.t (id, v) FROM stdin;
1	a\nb\r\\.\\N
2	\N
3	
4	\\.
5	COPY public.t (id, v) FROM stdin;
6	😀 é
\.


COMMENT ON TABLE public.t IS 'it''s
\restrict is text here
COPY public.t (id, v) FROM stdin;
and $$ and -- and /* too;
';
CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $body$
SELECT 'a;
\b' /* ' */ -- $x$ '
$body$;
COMMENT ON COLUMN public.t.v IS E'one \' two
\\.
';
CREATE TABLE public."odd""-- name" (id integer);
COPY public."odd""-- name" (id) FROM stdin;
7
\.
\unrestrict abc
`;

test.each([1, 7, 100_000])('a dump is loaded exactly, in chunks of %i bytes', async (chunkBytes) => {
  const query = await load(HARD, chunkBytes);
  expect(await query('SELECT id, v FROM t ORDER BY id')).toEqual([
    [1, 'a\nb\r\\.\\N'],
    [2, null],
    [3, ''],
    [4, '\\.'],
    [5, 'COPY public.t (id, v) FROM stdin;'],
    [6, '😀 é'],
  ]);
  expect(
    await query("SELECT obj_description('t'::regclass), col_description('t'::regclass, 2), f()"),
  ).toEqual([
    [
      "it's\n\\restrict is text here\nCOPY public.t (id, v) FROM stdin;\nand $$ and -- and /* too;\n",
      "one ' two\n\\.\n",
      'a;\n\\b',
    ],
  ]);
  expect(await query('SELECT * FROM "odd""-- name"')).toEqual([[7]]);
});

test('statements larger than a batch are sent whole', async () => {
  const rows = Array.from(
    { length: 5000 },
    (_, id) => `INSERT INTO t VALUES (${id}, '${'x'.repeat(100)};\n');`,
  );
  const query = await load(`CREATE TABLE t (id integer, v text);\n${rows.join('\n')}\n`, 1000);
  expect(await query('SELECT count(*)::int, sum(length(v))::int FROM t')).toEqual([[5000, 5000 * 102]]);
});

test.each([
  [
    'inside a COPY block',
    'CREATE TABLE t (id integer);\nCOPY t (id) FROM stdin;\n1\n2\n',
    /ends inside COPY t/,
  ],
  ['inside a literal', "SELECT 'a\n", /middle of a statement/],
])('a dump that ends %s is refused', async (_, sql, message) => {
  await expect(load(sql)).rejects.toThrow(message);
});

test('an error of the server is reported and ends the load', async () => {
  await expect(load('CREATE TABLE t (id integer);\nSELECT nothing;\n')).rejects.toThrow(
    /column "nothing" does not exist/,
  );
  await expect(load('CREATE TABLE t (id integer);\nCOPY t (id) FROM stdin;\nx\n\\.\n')).rejects.toThrow(
    /invalid input syntax/,
  );
});

test.each(FIXTURE_VERSIONS)('the fixtures of Airflow %s load', async (version) => {
  const rows = async (from: 'data' | 'fresh'): Promise<unknown> => {
    const client = await (await createDatabase({ from, version })).client();
    return (await client.query('SELECT count(*)::int AS runs FROM public.dag_run')).rows[0];
  };
  expect(await rows('data')).not.toEqual({ runs: 0 });
  expect(await rows('fresh')).toEqual({ runs: 0 });
});
