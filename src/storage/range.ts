import { LifeboatError } from '../errors.ts';
import type { ReadOptions } from './storage.ts';

/** First byte and number of bytes of a range within an object of `size` bytes; an end past the object is cut to it. */
export function resolveRange(
  key: string,
  size: number,
  range: ReadOptions['range'],
): { start: number; length: number } {
  if (range === undefined) return { start: 0, length: size };
  assertRange(key, range);
  if (range.start >= size) throw rangeBeyondEnd(key, range.start);
  const end = Math.min(range.end ?? size - 1, size - 1);
  return { start: range.start, length: end - range.start + 1 };
}

export function assertRange(key: string, range: NonNullable<ReadOptions['range']>): void {
  const { start, end } = range;
  const valid = Number.isSafeInteger(start) && start >= 0;
  if (!valid || (end !== undefined && !(Number.isSafeInteger(end) && end >= start))) {
    throw new LifeboatError('failed', `The byte range ${start}-${end ?? ''} of ${key} is not valid.`);
  }
}

/** S3 answers 416 to such a range, also for position 0 of an empty object; the other drivers do as S3 does. */
export function rangeBeyondEnd(key: string, start: number, cause?: unknown): LifeboatError {
  return new LifeboatError('failed', `The object ${key} ends before byte ${start}.`, { cause });
}
