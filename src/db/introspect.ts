import type { ClientBase } from 'pg';

export interface LiveColumn {
  readonly name: string;
  /** format_type, such as "character varying(250)". */
  readonly type: string;
  readonly notNull: boolean;
  readonly hasDefault: boolean;
  /** The default as the server prints it, such as "0" or "now()"; null without one. */
  readonly defaultSql: string | null;
  /** Computed by the server: cannot be written. */
  readonly generated: boolean;
}

export interface LiveTable {
  readonly name: string;
  readonly oid: number;
  readonly columns: ReadonlyMap<string, LiveColumn>;
  /** Size on disk with TOAST, without indexes. */
  readonly bytes: number;
  readonly pages: number;
  readonly estimatedRows: number;
  /** Rights of the session user. */
  readonly mayRead: boolean;
  readonly mayWrite: boolean;
  readonly mayTruncate: boolean;
  readonly owned: boolean;
}

export interface LiveForeignKey {
  readonly name: string;
  /** Qualified when it lies in another schema. */
  readonly table: string;
  readonly parent: string;
}

export interface LiveSequence {
  /** Qualified and quoted. */
  readonly sequence: string;
  readonly table: string;
  readonly column: string;
}

export interface LiveSchema {
  readonly schema: string;
  readonly tables: ReadonlyMap<string, LiveTable>;
  readonly foreignKeys: readonly LiveForeignKey[];
  readonly sequences: readonly LiveSequence[];
}

/** An identifier as PostgreSQL reads it whatever the search_path is. */
export function quoteIdent(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteTable(schema: string, table: string): string {
  return `${quoteIdent(schema)}.${quoteIdent(table)}`;
}

export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

const TABLES = `
SELECT c.relname AS name, c.oid::int8 AS oid, pg_catalog.pg_table_size(c.oid) AS bytes,
       pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8 AS pages, c.reltuples AS rows,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AS may_read,
       pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
         AND pg_catalog.has_table_privilege(c.oid, 'DELETE') AS may_write,
       pg_catalog.has_table_privilege(c.oid, 'TRUNCATE') AS may_truncate,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owned
  FROM pg_catalog.pg_class c
 WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1) AND c.relkind IN ('r', 'p')
 ORDER BY 1`;

const COLUMNS = `
SELECT c.relname AS table, a.attname AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null, a.atthasdef OR a.attidentity <> '' AS has_default, a.attgenerated <> '' AS generated,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS default_sql
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1) AND c.relkind IN ('r', 'p')
   AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY c.relname, a.attnum`;

const FOREIGN_KEYS = `
SELECT k.conname AS name, p.relname AS parent,
       CASE WHEN cn.nspname = $1 THEN c.relname ELSE pg_catalog.format('%I.%I', cn.nspname, c.relname) END AS table
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
 WHERE k.contype = 'f' AND p.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
 ORDER BY 3, 1`;

// Not pg_get_serial_sequence: it knows owned sequences only, and Airflow's databases also have defaults that name a
// sequence nobody owns (after some upgrades). The default's dependency on the sequence is there in both cases.
const SEQUENCES = `
SELECT DISTINCT pg_catalog.format('%I.%I', sn.nspname, s.relname) AS sequence, t.relname AS table, a.attname AS column
  FROM pg_catalog.pg_class t
  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
  JOIN pg_catalog.pg_depend dep
    ON (dep.classid = 'pg_catalog.pg_attrdef'::regclass AND dep.objid = d.oid
        AND dep.refclassid = 'pg_catalog.pg_class'::regclass AND dep.deptype = 'n')
    OR (dep.refclassid = 'pg_catalog.pg_class'::regclass AND dep.refobjid = t.oid AND dep.refobjsubid = a.attnum
        AND dep.classid = 'pg_catalog.pg_class'::regclass AND dep.deptype IN ('a', 'i'))
  JOIN pg_catalog.pg_class s
    ON s.relkind = 'S' AND s.oid = CASE WHEN dep.classid = 'pg_catalog.pg_attrdef'::regclass THEN dep.refobjid ELSE dep.objid END
  JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
 WHERE t.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1) AND t.relkind IN ('r', 'p')
 ORDER BY 2, 3`;

/** What is really there: read from the catalog at run time, because upgraded databases differ from fresh ones. */
export async function introspect(client: ClientBase, schema: string): Promise<LiveSchema> {
  const columns = new Map<string, Map<string, LiveColumn>>();
  for (const row of (await client.query<ColumnRow>(COLUMNS, [schema])).rows) {
    const table = columns.get(row.table) ?? new Map<string, LiveColumn>();
    const { name, type, generated } = row;
    table.set(name, {
      name,
      type,
      notNull: row.not_null,
      hasDefault: row.has_default,
      defaultSql: row.default_sql,
      generated,
    });
    columns.set(row.table, table);
  }
  const tables = new Map<string, LiveTable>();
  for (const row of (await client.query<TableRow>(TABLES, [schema])).rows) {
    tables.set(row.name, {
      name: row.name,
      oid: Number(row.oid),
      columns: columns.get(row.name) ?? new Map<string, LiveColumn>(),
      bytes: Number(row.bytes),
      pages: Number(row.pages),
      estimatedRows: Math.max(0, row.rows),
      mayRead: row.may_read,
      mayWrite: row.may_write,
      mayTruncate: row.may_truncate,
      owned: row.owned,
    });
  }
  const foreignKeys = (await client.query<LiveForeignKey>(FOREIGN_KEYS, [schema])).rows;
  const sequences = (await client.query<LiveSequence>(SEQUENCES, [schema])).rows;
  return { schema, tables, foreignKeys, sequences };
}

interface ColumnRow {
  readonly table: string;
  readonly name: string;
  readonly type: string;
  readonly not_null: boolean;
  readonly has_default: boolean;
  readonly default_sql: string | null;
  readonly generated: boolean;
}

interface TableRow {
  readonly name: string;
  readonly oid: string;
  readonly bytes: string;
  readonly pages: string;
  readonly rows: number;
  readonly may_read: boolean;
  readonly may_write: boolean;
  readonly may_truncate: boolean;
  readonly owned: boolean;
}
