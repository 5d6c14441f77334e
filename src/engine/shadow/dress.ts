import { quoteIdent, quoteLiteral, quoteTable } from '../../db/introspect.ts';
import type { Definition, ForeignKeyDefinition, IndexDefinition } from './definitions.ts';

/** Between which schemas a table moves. */
export interface Place {
  readonly live: string;
  readonly shadow: string;
}

/** INCLUDING COMPRESSION came with 14. */
const COMPRESSION = 140_000;

/**
 * A table like the live one, without indexes, keys, statistics and rights. No autovacuum: one that starts just before the
 * swap would make it wait with every lock held.
 */
export function createSql(place: Place, table: string, serverVersion: number): string {
  const like = ['DEFAULTS', 'CONSTRAINTS', 'GENERATED', 'STORAGE', 'COMMENTS'];
  if (serverVersion >= COMPRESSION) like.push('COMPRESSION');
  return `CREATE TABLE ${quoteTable(place.shadow, table)} (LIKE ${quoteTable(place.live, table)} ${like.map((what) => `INCLUDING ${what}`).join(' ')}) WITH (autovacuum_enabled = false)`;
}

/** The live index's own text, on the shadow. */
export function indexSql(place: Place, { table, qualified }: Definition, index: IndexDefinition): string {
  return replaceOnce(index.sql, ` ON ${qualified} `, ` ON ${quoteTable(place.shadow, table)} `);
}

/** Keys, comments, rights: all that is left when the indexes are there. */
export function dressSql(place: Place, definition: Definition): readonly string[] {
  const name = quoteTable(place.shadow, definition.table);
  const keys = definition.indexes.filter(({ key }) => key !== null);
  const statements = keys.map(({ name: index, key }) => {
    const [kind, how] = splitKey(key ?? '');
    return `ALTER TABLE ${name} ADD CONSTRAINT ${quoteIdent(index)} ${kind} USING INDEX ${quoteIdent(index)}${how}`;
  });
  for (const index of definition.indexes) {
    if (index.comment !== null) {
      statements.push(
        `COMMENT ON INDEX ${quoteTable(place.shadow, index.name)} IS ${quoteLiteral(index.comment)}`,
      );
    }
    if (index.keyComment !== null) {
      statements.push(
        `COMMENT ON CONSTRAINT ${quoteIdent(index.name)} ON ${name} IS ${quoteLiteral(index.keyComment)}`,
      );
    }
  }
  if (definition.comment !== null) {
    statements.push(`COMMENT ON TABLE ${name} IS ${quoteLiteral(definition.comment)}`);
  }
  const options = definition.options.filter((option) => !option.startsWith('autovacuum_enabled='));
  if (options.length > 0) statements.push(`ALTER TABLE ${name} SET (${options.map(optionSql).join(', ')})`);
  if (definition.grants) {
    statements.push(`REVOKE ALL ON ${name} FROM ${quoteIdent(definition.owner)}, PUBLIC`);
    statements.push(...definition.grants.map((grant) => grant.replace('%T', () => name)));
  }
  statements.push(...definition.columnGrants.map((grant) => grant.replace('%T', () => name)));
  return statements;
}

export function linkSql(place: Place, table: string, key: ForeignKeyDefinition, inShadow: boolean): string {
  const sql = inShadow
    ? replaceOnce(
        key.sql,
        ` REFERENCES ${key.parentQualified}(`,
        ` REFERENCES ${quoteTable(place.shadow, key.parent)}(`,
      )
    : key.sql;
  return `ALTER TABLE ${quoteTable(place.shadow, table)} ADD CONSTRAINT ${quoteIdent(key.name)} ${sql} NOT VALID`;
}

export function commentOnLinkSql(
  schema: string,
  table: string,
  key: ForeignKeyDefinition,
): readonly string[] {
  if (key.comment === null) return [];
  return [
    `COMMENT ON CONSTRAINT ${quoteIdent(key.name)} ON ${quoteTable(schema, table)} IS ${quoteLiteral(key.comment)}`,
  ];
}

export function validateSql(schema: string, table: string, key: ForeignKeyDefinition): readonly string[] {
  if (!key.validated) return [];
  return [`ALTER TABLE ${quoteTable(schema, table)} VALIDATE CONSTRAINT ${quoteIdent(key.name)}`];
}

/** The autovacuum setting that the live table had. */
export function autovacuumSql(schema: string, definition: Definition): string {
  const own = definition.options.find((option) => option.startsWith('autovacuum_enabled='));
  const name = quoteTable(schema, definition.table);
  return own === undefined
    ? `ALTER TABLE ${name} RESET (autovacuum_enabled)`
    : `ALTER TABLE ${name} SET (${optionSql(own)})`;
}

function optionSql(option: string): string {
  const at = option.indexOf('=');
  return `${option.slice(0, at)} = ${quoteLiteral(option.slice(at + 1))}`;
}

function splitKey(key: string): readonly [string, string] {
  const at = key.indexOf(' DEFERRABLE');
  return at < 0 ? [key, ''] : [key.slice(0, at), key.slice(at)];
}

function replaceOnce(sql: string, from: string, to: string): string {
  if (!sql.includes(from)) throw new Error(`Not found in a definition: "${from}" in "${sql}"`);
  return sql.replace(from, () => to);
}
