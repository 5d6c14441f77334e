-- One row per table of a schema ($1): what a metadata database looks like, as JSON. Run by generate-schemas.mjs;
-- search_path is empty there, so every name that Postgres prints is qualified.
WITH tables AS (
  SELECT c.oid, c.relname
  FROM pg_catalog.pg_class c
  WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'p')
), constraints AS (
  SELECT k.oid, k.conrelid, k.conname, k.contype, k.confdeltype, k.confupdtype, k.condeferrable, f.relname AS parent,
    (SELECT json_agg(a.attname ORDER BY u.position)
     FROM unnest(k.conkey) WITH ORDINALITY u(attnum, position)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) AS columns,
    (SELECT json_agg(a.attname ORDER BY u.position)
     FROM unnest(k.confkey) WITH ORDINALITY u(attnum, position)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum) AS parent_columns
  FROM pg_catalog.pg_constraint k
  JOIN tables t ON t.oid = k.conrelid
  LEFT JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
), actions(code, action) AS (
  VALUES ('a', 'NO ACTION'), ('r', 'RESTRICT'), ('c', 'CASCADE'), ('n', 'SET NULL'), ('d', 'SET DEFAULT')
)
SELECT t.relname AS name,
  (SELECT json_agg(json_strip_nulls(json_build_object(
      'name', a.attname,
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'nullable', NOT a.attnotnull,
      'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
      'identity', nullif(a.attidentity, ''),
      'generated', nullif(a.attgenerated, ''),
      'sequence', pg_catalog.pg_get_serial_sequence(quote_ident($1::text) || '.' || quote_ident(t.relname), a.attname)
    )) ORDER BY a.attnum)
   FROM pg_catalog.pg_attribute a
   LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
  (SELECT json_build_object('name', k.conname, 'columns', k.columns)
   FROM constraints k WHERE k.conrelid = t.oid AND k.contype = 'p') AS primary_key,
  (SELECT json_agg(json_build_object('name', k.conname, 'columns', k.columns) ORDER BY k.conname COLLATE "C")
   FROM constraints k WHERE k.conrelid = t.oid AND k.contype = 'u') AS "unique",
  (SELECT json_agg(json_build_object('name', k.conname, 'definition', pg_catalog.pg_get_constraintdef(k.oid))
                   ORDER BY k.conname COLLATE "C")
   FROM constraints k WHERE k.conrelid = t.oid AND k.contype = 'c') AS checks,
  (SELECT json_agg(json_build_object(
      'name', k.conname, 'columns', k.columns, 'references', k.parent, 'referencedColumns', k.parent_columns,
      'onDelete', deletion.action, 'onUpdate', change.action, 'deferrable', k.condeferrable
    ) ORDER BY k.conname COLLATE "C")
   FROM constraints k
   JOIN actions deletion ON deletion.code = k.confdeltype::text
   JOIN actions change ON change.code = k.confupdtype::text
   WHERE k.conrelid = t.oid AND k.contype = 'f') AS foreign_keys,
  (SELECT json_agg(json_build_object(
      'name', i.relname, 'unique', x.indisunique, 'definition', pg_catalog.pg_get_indexdef(x.indexrelid)
    ) ORDER BY i.relname COLLATE "C")
   FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
   WHERE x.indrelid = t.oid) AS indexes
FROM tables t
ORDER BY t.relname COLLATE "C"
