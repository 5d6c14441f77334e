import { tryParseExact } from '../../rest/exact-json.ts';
import { plainPickle } from './pickle.ts';

/** Of protocols 2 and later, which begin so; no JSON does. */
const PICKLE = 0x80;

/**
 * A stored value that is JSON, or a pickle of something that JSON has too: of Airflow 2 a conf is a pickle, and an XCom the
 * bytes of a JSON text, or a pickle where pickling is enabled. Undefined: neither.
 */
export function storedJson(text: string | null, type: string): { readonly value: unknown } | undefined {
  if (text === null) return undefined;
  if (type.startsWith('json')) return tryParseExact(text);
  if (type !== 'bytea' || !text.startsWith('\\x')) return undefined;
  const bytes = Buffer.from(text.slice(2), 'hex');
  return bytes[0] === PICKLE ? plainPickle(bytes) : tryParseExact(bytes.toString('utf8'));
}
