import { isExactNumber, stringifyExact } from '../../rest/exact-json.ts';
import type { ColumnType } from '../../tables/spec.ts';

type Fields = Readonly<Record<string, unknown>>;

/** `a.b` leads into a record within; what is not there is null. */
export function fieldOf(record: Fields, path: string): unknown {
  let value: unknown = record;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null) return null;
    value = (value as Fields)[name];
  }
  return value ?? null;
}

/** A value of the API as COPY would write that of the database, so that both kinds of backup are read alike. */
export function copyValue(type: ColumnType, value: unknown): string | null {
  if (value === null || value === undefined) return null;
  switch (type) {
    case 'boolean':
      return value === true ? 't' : 'f';
    case 'timestamptz':
      return timestampText(textOf(value));
    case 'json':
      return stringifyExact(value);
    case 'float':
      // 16.0 of Python is 16 to COPY.
      return isExactNumber(value) ? String(Number(value.text)) : textOf(value);
    default:
      return textOf(value);
  }
}

/**
 * Airflow says what it masks with these, for the whole value, a member of it, or a part of its text: everything that looks
 * like a password it met. Nobody can tell them from a value that really is so, and none is believed.
 */
const MASK = '***';

export function isMasked(value: unknown): boolean {
  return value !== null && value !== undefined && textOf(value).includes(MASK);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : stringifyExact(value);
}

const ISO = /^(\d{4,}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?$/;

/** 2026-11-21T20:49:39.698170Z → 2026-11-21 20:49:39.69817+00; a form that is not known stays as it is. */
function timestampText(text: string): string {
  const [, day = '', time = '', fraction = '', zone = 'Z'] = ISO.exec(text) ?? [];
  if (day === '') return text;
  const utc = /^(Z|[+-]00:?00)$/.test(zone) ? `${day} ${time}` : inUtc(`${day}T${time}${zone}`);
  const digits = fraction.replace(/0+$/, '');
  return `${utc}${digits === '' ? '' : `.${digits}`}+00`;
}

/** Without the fraction, of which Date knows three digits only. */
function inUtc(iso: string): string {
  return new Date(iso).toISOString().replace('T', ' ').slice(0, 'YYYY-MM-DD hh:mm:ss'.length);
}
