import type { ClientBase } from 'pg';

/** Why the tables of a target cannot be exchanged for others that are filled beside them; empty: they can. */
export type Hindrances = readonly string[];

/** Reasons shown; one is enough to know what to do. */
const MAX_REASONS = 10;

/** Tables to exchange, as (name, oid, and what else is asked of their row in pg_class). */
const CHOSEN = `WITH chosen AS (
  SELECT c.* FROM pg_catalog.pg_class c
   WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1) AND c.relname = ANY ($2::text[])
)`;

/**
 * Each of these lives on a table by its OID, and would be lost with it, or would go on with a table that is gone. What is
 * not in this list comes along: see definitions.ts. DROP TABLE without CASCADE stands behind it: what nobody thought of
 * is an error and no loss.
 */
const CHECKS: readonly string[] = [
  `SELECT 'the user ' || current_user || ' may not create a schema in this database' WHERE NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')`,
  `SELECT 'the user ' || current_user || ' is not a member of the owner of ' || relname FROM chosen WHERE NOT pg_catalog.pg_has_role(relowner, 'MEMBER')`,
  `SELECT 'the tables have several owners' FROM chosen HAVING pg_catalog.count(DISTINCT relowner) > 1`,
  `SELECT relname || ' is partitioned, unlogged, or in a tablespace of its own' FROM chosen WHERE relkind <> 'r' OR relispartition OR relpersistence <> 'p' OR reltablespace <> 0`,
  `SELECT c.relname || ' has row security' FROM chosen c WHERE c.relrowsecurity OR c.relforcerowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)`,
  `SELECT c.relname || ' inherits, or is inherited from' FROM chosen c WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))`,
  `SELECT relname || ' has a replica identity of its own' FROM chosen WHERE relreplident <> 'd'`,
  `SELECT c.relname || ' has the trigger ' || t.tgname FROM chosen c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal`,
  `SELECT c.relname || ' has rules' FROM chosen c WHERE EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid)`,
  `SELECT c.relname || ' has extended statistics' FROM chosen c WHERE EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid = c.oid)`,
  `SELECT p.tablename || ' is published in ' || p.pubname FROM pg_catalog.pg_publication_tables p WHERE p.schemaname = $1 AND p.tablename = ANY ($2::text[])`,
  `SELECT 'the replication slot ' || slot_name || ' decodes this database' FROM pg_catalog.pg_replication_slots WHERE slot_type = 'logical' AND database = pg_catalog.current_database()`,
  `SELECT c.relname || '.' || a.attname || ' has settings of its own' FROM chosen c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND (a.attidentity <> '' OR coalesce(a.attstattarget, -1) <> -1 OR a.attoptions IS NOT NULL)`,
  `SELECT c.relname || ' has the constraint ' || k.conname FROM chosen c JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid WHERE k.contype NOT IN ('p', 'u', 'f', 'c', 'n')`,
  `SELECT c.relname || ' has the index ' || x.relname FROM chosen c JOIN pg_catalog.pg_index i ON i.indrelid = c.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    WHERE NOT i.indisvalid OR i.indisclustered OR i.indisreplident OR x.reltablespace <> 0
       OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.oid AND coalesce(a.attstattarget, -1) <> -1)`,
  `SELECT c.relname || ' has rights that another than its owner gave' FROM chosen c
    WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) g WHERE g.grantor <> c.relowner)
       OR EXISTS (SELECT FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) g WHERE a.attrelid = c.oid AND g.grantor <> c.relowner)`,
  `SELECT c.relname || ' has a security label' FROM chosen c WHERE EXISTS (SELECT FROM pg_catalog.pg_seclabel s WHERE s.objoid = c.oid)`,
  // Views, functions, columns of its row type, foreign keys of other tables.
  `SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) || ' needs ' || c.relname
     FROM chosen c JOIN pg_catalog.pg_type t ON t.oid = c.reltype
     JOIN pg_catalog.pg_depend d ON d.deptype = 'n' AND (
            d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
         OR d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray))
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                       WHERE d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid AND k.conrelid IN (SELECT oid FROM chosen))`,
];

export async function findHindrances(
  client: ClientBase,
  schema: string,
  tables: readonly string[],
): Promise<Hindrances> {
  const { rows } = await client.query<{ reason: string }>(
    `${CHOSEN} SELECT reason FROM (${CHECKS.map((check) => `(${check})`).join('\nUNION ALL\n')}) found (reason) LIMIT ${MAX_REASONS}`,
    [schema, tables],
  );
  return rows.map((row) => row.reason);
}
