import { parseExact, stringifyExact } from '../../rest/exact-json.ts';

/** JSON with its white space taken out, for comparing; undefined: it is none. */
export function canonicalJson(text: string): string | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return stringifyExact(parseExact(text));
  } catch {
    return undefined;
  }
}
