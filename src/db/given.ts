/** The first value that is given; an empty one counts as not given, as in libpq. */
export function firstGiven(...values: readonly (string | undefined)[]): string | undefined {
  return values.find((value) => value !== undefined && value !== '');
}
