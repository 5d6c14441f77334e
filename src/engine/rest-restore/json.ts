import { stringifyExact, tryParseExact } from '../../rest/exact-json.ts';

/** JSON with its white space taken out, for comparing; undefined: it is none. */
export function canonicalJson(text: string): string | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  const parsed = tryParseExact(text);
  return parsed && stringifyExact(parsed.value);
}
