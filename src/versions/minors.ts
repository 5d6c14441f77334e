import type { Minor } from '../tables/spec.ts';

/** Supported minors, oldest first: the order of this list is the order of versions (2.10 comes after 2.9). */
export const MINORS: readonly Minor[] = ['2.5', '2.6', '2.7', '2.8', '2.9', '2.10', '2.11'];

export function compareMinors(a: Minor, b: Minor): number {
  return MINORS.indexOf(a) - MINORS.indexOf(b);
}

/** True when `minor` lies in [since, until). */
export function inRange(minor: Minor, range: { since?: Minor; until?: Minor }): boolean {
  if (range.since !== undefined && compareMinors(minor, range.since) < 0) return false;
  return range.until === undefined || compareMinors(minor, range.until) < 0;
}
