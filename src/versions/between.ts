import type { Minor } from '../tables/spec.ts';
import { findRelease, newestMinor, sameMinor } from './heads.ts';
import type { SchemaRelease } from './heads.ts';
import { compareMinors } from './minors.ts';

/** How a backup of one release stands to a target of another. */
export type Passage =
  /** `from` is the minor whose tables the backup has, `to` that of the target; equal within one minor. */
  | { readonly kind: 'same' | 'newer'; readonly from: Minor; readonly to: Minor }
  | { readonly kind: 'older' | 'unknown' };

/** What a backup with this Alembic head has to go through to come into a target of this release. Pure. */
export function passageTo(target: SchemaRelease, sourceHead: string): Passage {
  const source = findRelease(sourceHead);
  if (!source) return { kind: 'unknown' };
  const to = newestMinor(target);
  if (sameMinor(source, target)) return { kind: 'same', from: to, to };
  const from = newestMinor(source);
  return compareMinors(from, to) < 0 ? { kind: 'newer', from, to } : { kind: 'older' };
}
