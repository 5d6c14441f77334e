import { LifeboatError } from '../../errors.ts';

/** Secrets that were read inside Airflow, where the API only shows that there are some. */
export interface GivenSecrets {
  /** Null: it has none. Undefined: nothing is said of it. */
  valueOf(table: string, row: string, column: string): string | null | undefined;
}

export const NOTHING_GIVEN: GivenSecrets = { valueOf: () => undefined };

/**
 * `{"variables": {KEY: VALUE}, "connections": {ID: {"password": …, "extra": …} or URI}}`, both as Airflow's Variable.get and
 * Connection.get give them. Other fields of a connection are ignored.
 *
 * @throws LifeboatError 'usage', with no word of the text in it
 */
export function parseGivenSecrets(text: string): GivenSecrets {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw malformed('it is not JSON');
  }
  const { variables = {}, connections = {} } = recordOf(parsed, 'it is no JSON object');
  const values = new Map<string, string | null>();
  for (const [key, value] of Object.entries(recordOf(variables, '"variables" is no object'))) {
    // Null is how a task says that it found none.
    if (value !== null) values.set(nameOf('variable', key, 'val'), textOf(value, 'a variable is no string'));
  }
  for (const [id, value] of Object.entries(recordOf(connections, '"connections" is no object'))) {
    if (value === null) continue;
    const fields = typeof value === 'string' ? ofUri(value) : recordOf(value, 'a connection is no object');
    for (const column of ['password', 'extra'] as const) {
      const field = fields[column];
      if (field === undefined) continue;
      const words = `the ${column} of a connection is no string`;
      values.set(nameOf('connection', id, column), field === null ? null : textOf(field, words));
    }
  }
  return { valueOf: (table, row, column) => values.get(nameOf(table, row, column)) };
}

const nameOf = (table: string, row: string, column: string): string => JSON.stringify([table, row, column]);

/** As Airflow writes a connection into one line: its extra is the query, or whole in `__extra__`. */
function ofUri(uri: string): Readonly<Record<string, unknown>> {
  try {
    const { password, searchParams } = new URL(uri);
    const query = Object.fromEntries(searchParams);
    const extra = searchParams.get('__extra__') ?? (searchParams.size === 0 ? null : JSON.stringify(query));
    return { password: password === '' ? null : decodeURIComponent(password), extra };
  } catch {
    throw malformed('a connection is no URI');
  }
}

function recordOf(value: unknown, problem: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(problem);
  return value as Readonly<Record<string, unknown>>;
}

function textOf(value: unknown, problem: string): string {
  if (typeof value !== 'string') throw malformed(problem);
  return value;
}

function malformed(problem: string): LifeboatError {
  return new LifeboatError('usage', `The secrets that were handed over cannot be used: ${problem}.`, {
    next: 'Give {"variables": {"KEY": "VALUE"}, "connections": {"ID": {"password": "…", "extra": "…"}}}.',
  });
}
