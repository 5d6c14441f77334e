import type { ClientBase } from 'pg';

/** How a live table is made, as far as CREATE TABLE … (LIKE …) does not know it. All SQL is qualified. */
export interface Definition {
  readonly table: string;
  /** As PostgreSQL prints the name: qualified, quoted where it must be. */
  readonly qualified: string;
  readonly owner: string;
  readonly options: readonly string[];
  readonly comment: string | null;
  readonly indexes: readonly IndexDefinition[];
  readonly foreignKeys: readonly ForeignKeyDefinition[];
  /** GRANT with %T for the table: all of its rights; null: nobody ever changed them. */
  readonly grants: readonly string[] | null;
  /** The same for single columns. */
  readonly columnGrants: readonly string[];
  /** Sequences that go when the table goes: qualified name, column. */
  readonly sequences: readonly { readonly sequence: string; readonly column: string }[];
}

export interface IndexDefinition {
  readonly name: string;
  /** CREATE INDEX of the live table. */
  readonly sql: string;
  readonly comment: string | null;
  /** `PRIMARY KEY` or `UNIQUE`, with how it may be deferred; null: the index serves no constraint. */
  readonly key: string | null;
  readonly keyComment: string | null;
}

export interface ForeignKeyDefinition {
  readonly name: string;
  readonly parent: string;
  readonly parentQualified: string;
  /** FOREIGN KEY (…) REFERENCES …, without NOT VALID. */
  readonly sql: string;
  readonly validated: boolean;
  readonly comment: string | null;
}

const DEFINITIONS = `
SELECT c.relname AS table, pg_catalog.format('%I.%I', $1::text, c.relname) AS qualified, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       coalesce(c.reloptions, '{}') || coalesce((SELECT pg_catalog.array_agg('toast.' || o) FROM pg_catalog.pg_class t, pg_catalog.unnest(t.reloptions) o WHERE t.oid = c.reltoastrelid), '{}') AS options,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
       (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                 'name', x.relname, 'sql', pg_catalog.pg_get_indexdef(x.oid), 'comment', pg_catalog.obj_description(x.oid, 'pg_class'),
                 'key', CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' END,
                 'deferrable', k.condeferrable, 'deferred', k.condeferred,
                 'keyComment', pg_catalog.obj_description(k.oid, 'pg_constraint')) ORDER BY x.relname), '[]')
          FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
          LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u')
         WHERE i.indrelid = c.oid) AS indexes,
       (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                 'name', k.conname, 'parent', p.relname, 'parentQualified', pg_catalog.format('%I.%I', pn.nspname, p.relname), 'validated', k.convalidated,
                 'sql', pg_catalog.pg_get_constraintdef(k.oid), 'comment', pg_catalog.obj_description(k.oid, 'pg_constraint')) ORDER BY k.conname), '[]')
          FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
         WHERE k.conrelid = c.oid AND k.contype = 'f') AS "foreignKeys",
       CASE WHEN c.relacl IS NULL THEN NULL ELSE
         ARRAY(SELECT pg_catalog.format('GRANT %s ON %%T TO %s%s', pg_catalog.string_agg(g.privilege_type, ', ' ORDER BY g.n), ${grantee('g')}, CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                 FROM pg_catalog.aclexplode(c.relacl) WITH ORDINALITY g (grantor, grantee, privilege_type, is_grantable, n)
                GROUP BY g.grantee, g.is_grantable ORDER BY min(g.n))
       END AS grants,
       ARRAY(SELECT pg_catalog.format('GRANT %s (%I) ON %%T TO %s%s', g.privilege_type, a.attname, ${grantee('g')}, CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                    FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) WITH ORDINALITY g (grantor, grantee, privilege_type, is_grantable, n)
                   WHERE a.attrelid = c.oid AND NOT a.attisdropped ORDER BY a.attnum, g.n) AS "columnGrants",
       (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('sequence', pg_catalog.format('%I.%I', sn.nspname, s.relname), 'column', a.attname) ORDER BY s.relname), '[]')
          FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
          JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
         WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid AND d.deptype = 'a') AS sequences
  FROM pg_catalog.pg_class c
 WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1) AND c.relname = ANY ($2::text[])
 ORDER BY 1`;

function grantee(alias: string): string {
  return `CASE WHEN ${alias}.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(${alias}.grantee)) END`;
}

type Row = Omit<Definition, 'indexes' | 'foreignKeys'> & {
  readonly indexes: readonly (IndexDefinition & {
    readonly deferrable: boolean;
    readonly deferred: boolean;
  })[];
  readonly foreignKeys: readonly ForeignKeyDefinition[];
};

/** What the given tables are like now. Names come out qualified, because the session's search_path holds no schema. */
export async function readDefinitions(
  client: ClientBase,
  schema: string,
  tables: readonly string[],
): Promise<readonly Definition[]> {
  const { rows } = await client.query<Row>(DEFINITIONS, [schema, tables]);
  return rows.map((row) => ({
    ...row,
    indexes: row.indexes.map(({ deferrable, deferred, ...index }) => ({
      ...index,
      key:
        index.key === null
          ? null
          : index.key + (deferrable ? ` DEFERRABLE INITIALLY ${deferred ? 'DEFERRED' : 'IMMEDIATE'}` : ''),
    })),
    foreignKeys: row.foreignKeys.map((key) => ({ ...key, sql: key.sql.replace(/ NOT VALID$/, '') })),
  }));
}
