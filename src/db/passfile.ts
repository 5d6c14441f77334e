import { readFileSync, statSync } from 'node:fs';
import { firstGiven } from './given.ts';

export interface PassfileQuery {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

/**
 * The password that a libpq password file (~/.pgpass) holds for a connection: the first line that matches wins.
 * A file that others can read is left unused, as libpq does: whoever can read it could also have changed it.
 */
export function passwordFromFile(file: string, query: PassfileQuery): string | undefined {
  let text: string;
  try {
    const stats = statSync(file);
    if (!stats.isFile() || (stats.mode & 0o077) !== 0) return undefined;
    text = readFileSync(file, 'utf8');
  } catch {
    // No password file is the normal case; the server will say that a password is missing.
    return undefined;
  }
  const wanted = [query.host, String(query.port), query.database, query.user];
  for (const line of text.split(/\r?\n/)) {
    if (line === '' || line.startsWith('#')) continue;
    const fields = splitLine(line);
    const matches = wanted.every((value, index) => fieldMatches(fields[index], value));
    if (matches) return firstGiven(fields[4]?.value);
  }
  return undefined;
}

interface Field {
  readonly value: string;
  /** A star that was not escaped stands for anything. */
  readonly wildcard: boolean;
}

/** host:port:database:user:password, where backslash escapes a colon or a backslash; the password may hold colons. */
function splitLine(line: string): readonly Field[] {
  const fields: Field[] = [];
  let value = '';
  let raw = '';
  for (let index = 0; index < line.length; index++) {
    const character = line.charAt(index);
    if (character === ':' && fields.length < 4) {
      fields.push({ value, wildcard: raw === '*' });
      value = '';
      raw = '';
      continue;
    }
    const escaped = character === '\\' && index + 1 < line.length;
    raw += character;
    value += escaped ? line.charAt(++index) : character;
  }
  fields.push({ value, wildcard: false });
  return fields;
}

function fieldMatches(field: Field | undefined, value: string): boolean {
  if (field === undefined) return false;
  // libpq looks a Unix socket up under the name localhost.
  return field.wildcard || field.value === value || (value.startsWith('/') && field.value === 'localhost');
}
