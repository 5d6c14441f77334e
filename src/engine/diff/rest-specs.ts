import { restTables, type RestTable } from '../../versions/rest-tables.ts';
import { SECRET_FLAGS } from '../rest/tables.ts';
import type { ComparedSpec } from './keys.ts';

/**
 * Tables of which the API gives no other name than an id: with the rows of another environment they are only equal or
 * not. Every other one has a key of names, or shares its ids with nobody.
 */
const ID = 'id';

/** The tables of a backup through the API as a comparison needs them; their names and columns are the database's. */
export function restSpecs(release: string): readonly ComparedSpec[] {
  const tables = restTables(release);
  const present = new Set(tables.map(({ name }) => name));
  return tables.map((table) => {
    const serial = table.columns.some(({ name, type }) => name === ID && type === 'integer');
    return {
      name: table.name,
      key: table.key,
      columns: [
        ...table.columns,
        ...Object.values(SECRET_FLAGS[table.name] ?? {}).map((name) => ({ name, type: 'boolean' as const })),
      ],
      restore: restoreOf(table),
      ...(serial ? { serial: ID } : {}),
      references: Object.fromEntries(
        Object.entries(table.references).filter(([, parent]) => present.has(parent)),
      ),
      secrets: Object.entries(SECRET_FLAGS[table.name] ?? {}).map(([column, flag]) => ({
        column,
        flag,
        fromClear: false,
      })),
    };
  });
}

/** Of tables with names of their own: matched by these. */
function restoreOf({ names }: RestTable): ComparedSpec['restore'] {
  return names === undefined ? { kind: 'history' } : { kind: 'merge', by: names, existing: 'keep' };
}
