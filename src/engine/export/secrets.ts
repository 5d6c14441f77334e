import { isUtf8 } from 'node:buffer';
import { LifeboatError } from '../../errors.ts';
import { fernetDecrypt } from '../../secrets/fernet.ts';
import { TABLE_SPECS } from '../../tables/index.ts';
import type { ManifestTable } from '../manifest.ts';
import type { StoredRow } from './rows.ts';

const NAMES_SHOWN = 10;

/** Where a table keeps one secret: indexes into its stored rows. */
export interface SecretField {
  readonly column: string;
  readonly at: number;
  /** The column that says whether the value is a Fernet token; absent: its own form says it. */
  readonly flagAt?: number;
  /** A JSON column: before 2.9 a trigger's kwargs were stored in clear only. */
  readonly neverToken: boolean;
}

/**
 * The secrets of a stored table, whatever its Airflow: before 2.9 a trigger's kwargs were no Fernet token, and what
 * they hold is as secret as later.
 */
export function secretFields(stored: ManifestTable): readonly SecretField[] {
  const spec = TABLE_SPECS.find((table) => table.name === stored.name);
  return (spec?.secrets ?? []).flatMap(({ column, flag }): SecretField[] => {
    const at = stored.columns.indexOf(column);
    const flagAt = flag === undefined ? -1 : stored.columns.indexOf(flag);
    const neverToken = (stored.types[column] ?? '').startsWith('json');
    return at === -1 ? [] : [{ column, at, neverToken, ...(flagAt === -1 ? {} : { flagAt }) }];
  });
}

export interface SecretReader {
  /** For one table: the row with its secrets in clear, or undefined when one cannot be read; its name is noted. */
  table(stored: ManifestTable): (row: StoredRow) => StoredRow | undefined;
  /** Names of what no key reads: `variable NAME`, `connection NAME (password)`. */
  unreadable(): readonly string[];
  /** @throws LifeboatError 'refused' when there were encrypted secrets and not one could be read */
  refuseWrongKey(): void;
}

export function createSecretReader(keys: readonly string[]): SecretReader {
  const unreadable: string[] = [];
  let read = 0;
  return {
    table: (stored) => {
      const fields = secretFields(stored);
      return (row) => {
        const clear = [...row];
        let whole = true;
        for (const field of fields) {
          const value = row[field.at] ?? '';
          if (!isToken(field, value, row)) continue;
          const text = decrypt(keys, value);
          if (text === undefined) {
            unreadable.push(
              `${stored.name} ${rowName(stored, row)}${fields.length > 1 ? ` (${field.column})` : ''}`,
            );
            whole = false;
            continue;
          }
          read += 1;
          clear[field.at] = text;
          if (field.flagAt !== undefined) clear[field.flagAt] = 'f';
        }
        return whole ? clear : undefined;
      };
    },
    unreadable: () => unreadable,
    refuseWrongKey: () => {
      if (unreadable.length > 0 && read === 0) throw wrongKey(keys, unreadable);
    },
  };
}

/** As Airflow decides: by the flag of the row, where NULL means no; a trigger's kwargs by their first character. */
function isToken({ flagAt, neverToken }: SecretField, value: string, row: StoredRow): boolean {
  if (value === '' || neverToken) return false;
  return flagAt === undefined ? !value.startsWith('{') : row[flagAt] === 't';
}

/** Airflow decodes what it decrypts as UTF-8 and takes anything else for unreadable. */
function decrypt(keys: readonly string[], token: string): string | undefined {
  const clear = fernetDecrypt(keys, token);
  return clear !== undefined && isUtf8(clear) ? clear.toString('utf8') : undefined;
}

/** What a person calls a row: its natural key, or its id. */
export function rowName(stored: ManifestTable, row: StoredRow): string {
  const spec = TABLE_SPECS.find((table) => table.name === stored.name);
  const column = (spec?.restore.kind === 'merge' ? spec.restore.by : spec?.key)?.[0] ?? 'id';
  return row[stored.columns.indexOf(column)] ?? '(no name)';
}

function wrongKey(keys: readonly string[], unreadable: readonly string[]): LifeboatError {
  const shown = unreadable.slice(0, NAMES_SHOWN).join(', ');
  const more = unreadable.length > NAMES_SHOWN ? `, and ${unreadable.length - NAMES_SHOWN} more` : '';
  const why = keys.length === 0 ? 'No Fernet key is known' : 'No known Fernet key reads them';
  return new LifeboatError(
    'refused',
    `The secrets of the backup cannot be exported in clear. ${why}: ${shown}${more}.`,
    {
      next: 'Give the source’s key in LIFEBOAT_FERNET_KEY or LIFEBOAT_SOURCE_FERNET_KEY, or leave --with-secrets out.',
      details: { unreadable },
    },
  );
}
