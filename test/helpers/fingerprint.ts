import type pg from 'pg';
import { inPinnedSnapshot, quote } from './compare.ts';

/** Everything a client can see of a database, as comparable text: equal fingerprints, equal databases. */
export interface DatabaseFingerprint {
  /** schema.table → rows and SHA-256 of their text. */
  readonly tables: Readonly<Record<string, string>>;
  /** schema.sequence → last value and whether it was handed out. */
  readonly sequences: Readonly<Record<string, string>>;
  /** One line per object: relations, columns, indexes, constraints, triggers, functions, types, grants, settings. */
  readonly catalog: readonly string[];
}

const USER_SCHEMAS = `SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'`;

/** Each query gives lines of text. OIDs are translated to names, so that a copy of a database looks the same. */
const CATALOG_QUERIES: readonly string[] = [
  `SELECT format('schema %s %s %s', nspname, nspowner::regrole, nspacl) FROM pg_namespace WHERE oid IN (${USER_SCHEMAS})`,
  `SELECT format('relation %s %s %s owner %s acl %s options %s rls %s identity %s toast %s', c.oid::regclass, c.relkind,
     c.relpersistence, c.relowner::regrole, c.relacl, c.reloptions, c.relrowsecurity, c.relreplident, t.reloptions)
   FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.relnamespace IN (${USER_SCHEMAS})`,
  `SELECT format('column %s.%s %s %s not null %s default %s identity %s generated %s storage %s statistics %s acl %s',
     a.attrelid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
     pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage, a.attstattarget, a.attacl)
   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE c.relnamespace IN (${USER_SCHEMAS}) AND a.attnum > 0 AND NOT a.attisdropped`,
  `SELECT format('index %s valid %s clustered %s: %s', i.indexrelid::regclass, i.indisvalid, i.indisclustered,
     pg_get_indexdef(i.indexrelid)) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
   WHERE c.relnamespace IN (${USER_SCHEMAS})`,
  `SELECT format('constraint %s on %s valid %s: %s', conname, conrelid::regclass, convalidated,
     pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace IN (${USER_SCHEMAS})`,
  `SELECT format('sequence %s %s start %s by %s from %s to %s cache %s cycle %s', seqrelid::regclass,
     format_type(seqtypid, NULL), seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle) FROM pg_sequence`,
  `SELECT format('trigger %s: %s', tgenabled, pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal`,
  `SELECT format('function %s: %s', oid::regprocedure, prosrc) FROM pg_proc WHERE pronamespace IN (${USER_SCHEMAS})`,
  `SELECT format('type %s %s %s', t.oid::regtype, t.typtype, (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder)
     FROM pg_enum e WHERE e.enumtypid = t.oid)) FROM pg_type t WHERE typnamespace IN (${USER_SCHEMAS})`,
  `SELECT format('view %s: %s', oid::regclass, pg_get_viewdef(oid)) FROM pg_class
   WHERE relkind IN ('v', 'm') AND relnamespace IN (${USER_SCHEMAS})`,
  `SELECT format('comment on %s: %s', pg_describe_object(classoid, objoid, objsubid), description)
   FROM pg_description WHERE objoid >= 16384`,
  `SELECT format('statistics %s', pg_get_statisticsobjdef(oid)) FROM pg_statistic_ext`,
  `SELECT format('publication %s of %s', p.pubname, r.prrelid::regclass)
   FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid`,
  `SELECT format('policy %s on %s', polname, polrelid::regclass) FROM pg_policy`,
  `SELECT format('extension %s %s', extname, extversion) FROM pg_extension`,
  `SELECT format('setting %s %s', setrole, setconfig) FROM pg_db_role_setting
   WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  `SELECT format('large object %s', oid) FROM pg_largeobject_metadata`,
];

/** `client` must not be in a transaction. */
export async function databaseFingerprint(client: pg.ClientBase): Promise<DatabaseFingerprint> {
  return inPinnedSnapshot(client, async () => {
    const catalog: string[] = [];
    for (const sql of CATALOG_QUERIES) {
      const { rows } = await client.query<[string]>({ text: sql, rowMode: 'array' });
      catalog.push(...rows.map(([line]) => line).sort());
    }
    const tables: Record<string, string> = {};
    for (const name of await relations(client, 'r')) tables[name] = await tableHash(client, name);
    const sequences: Record<string, string> = {};
    for (const name of await relations(client, 'S')) {
      const { rows } = await client.query<{ state: string }>(
        `SELECT last_value || CASE WHEN is_called THEN ' called' ELSE ' not called' END AS state FROM ${name}`,
      );
      sequences[name] = rows[0]?.state ?? '';
    }
    return { tables, sequences, catalog };
  });
}

async function relations(client: pg.ClientBase, kind: 'r' | 'S'): Promise<readonly string[]> {
  const { rows } = await client.query<{ schema: string; name: string }>(
    `SELECT relnamespace::regnamespace::text AS schema, relname AS name FROM pg_class
     WHERE relkind = $1 AND relnamespace IN (${USER_SCHEMAS}) ORDER BY 1, 2`,
    [kind],
  );
  return rows.map(({ schema, name }) => `${schema}.${quote(name)}`);
}

/** A row as text tells NULL from '' and quotes what it must, so equal texts are equal rows. */
async function tableHash(client: pg.ClientBase, name: string): Promise<string> {
  const { rows } = await client.query<{ rows: string; sha256: string }>(
    `SELECT count(*) AS rows, encode(sha256(convert_to(
       coalesce(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE "C"), ''), 'UTF8')), 'hex') AS sha256 FROM ${name} t`,
  );
  return `${rows[0]?.rows} rows ${rows[0]?.sha256}`;
}

/** What is left when the schemas are taken away that a killed restore may leave behind. */
export function withoutShadows({ tables, sequences, catalog }: DatabaseFingerprint): DatabaseFingerprint {
  const ours = (line: string): boolean => /lifeboat_[0-9a-f]{12}/.test(line);
  const rest = (map: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
    Object.fromEntries(Object.entries(map).filter(([name]) => !ours(name)));
  return { tables: rest(tables), sequences: rest(sequences), catalog: catalog.filter((line) => !ours(line)) };
}
