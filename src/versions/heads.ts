import type { Minor } from '../tables/spec.ts';

/** One state of Airflow's schema: an Alembic head, and the releases that have it. */
export interface SchemaRelease {
  readonly head: string;
  /** For people: a minor, or the range of releases when one head serves two minors. */
  readonly label: string;
  readonly releases: string;
  readonly minors: readonly Minor[];
}

/**
 * Every head of every release of the supported minors: `_REVISION_HEADS_MAP` in airflow/utils/db.py and the page
 * "Reference for Database Migrations" of each release. A patch release that is not named has the head of the one before.
 */
export const SUPPORTED_RELEASES: readonly SchemaRelease[] = [
  { head: '290244fb8b83', label: '2.5', releases: '2.5.0–2.5.3', minors: ['2.5'] },
  { head: '98ae134e6fff', label: '2.6', releases: '2.6.0–2.6.1', minors: ['2.6'] },
  { head: 'c804e5c76e3e', label: '2.6', releases: '2.6.2–2.6.3', minors: ['2.6'] },
  { head: '405de8318b3a', label: '2.7', releases: '2.7.0–2.7.3', minors: ['2.7'] },
  { head: '10b52ebd31f7', label: '2.8', releases: '2.8.0', minors: ['2.8'] },
  { head: '88344c1d9134', label: '2.8', releases: '2.8.1–2.8.4', minors: ['2.8'] },
  { head: '1949afb29106', label: '2.9', releases: '2.9.0–2.9.1', minors: ['2.9'] },
  { head: '686269002441', label: '2.9', releases: '2.9.2–2.9.3', minors: ['2.9'] },
  { head: '22ed7efa9da2', label: '2.10', releases: '2.10.0–2.10.2', minors: ['2.10'] },
  // 2.11 brought no migration of its own: the database cannot tell it from 2.10.3.
  { head: '5f2621c13b39', label: '2.10.3–2.11', releases: '2.10.3–2.11.x', minors: ['2.10', '2.11'] },
];

/** Heads of other releases, only to say which Airflow it is that is refused. */
export const OTHER_RELEASES: Readonly<Record<string, string>> = {
  ecb43d2a1842: '2.4',
  b0d31815b5a6: '2.4',
  e07f49787c9d: '2.4',
  '29ce7909c52b': '3.0',
  fe199e1abd77: '3.0',
  cc92b33c6709: '3.1',
  '509b94a1042d': '3.1',
  '1d6611b6ab7c': '3.2',
  d2f4e1b3c5a7: '3.3',
  b4f1a7d2c903: '3.4',
};

export function findRelease(head: string): SchemaRelease | undefined {
  return SUPPORTED_RELEASES.find((release) => release.head === head);
}

/** Two heads of one minor have the same tables and columns: patch releases changed only indexes and constraint names. */
export function sameMinor(a: SchemaRelease, b: SchemaRelease): boolean {
  return a.minors.some((minor) => b.minors.includes(minor));
}

/** Minors that share a head share tables and columns, so any of them would do. */
export function newestMinor(release: SchemaRelease): Minor {
  const minor = release.minors[release.minors.length - 1];
  if (!minor) throw new Error(`No minor for head ${release.head}.`);
  return minor;
}
