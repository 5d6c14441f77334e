import { randomUUID } from 'node:crypto';

/** A number that JavaScript would write in another way than it was sent: 1.0, 1e5, 2**60, NaN of Python. */
export interface ExactNumber {
  readonly text: string;
  toJSON(): string;
}

/** No text that anybody sends begins with it. */
const MARK = `number-${randomUUID()}:`;
const MARKED = new RegExp(`"${MARK}([^"]+)"`, 'g');

const exact = new WeakSet();

export function isExactNumber(value: unknown): value is ExactNumber {
  return typeof value === 'object' && value !== null && exact.has(value);
}

function exactNumber(text: string): ExactNumber {
  const number = Object.freeze({ text, toJSON: () => MARK + text });
  exact.add(number);
  return number;
}

/**
 * JSON.parse that keeps the text of such numbers: Airflow's conf and XComs are Python's, where 1 and 1.0 are not the same
 * and integers have no end. Throws SyntaxError as JSON.parse does.
 */
export function parseExact(text: string): unknown {
  const marked = markNumbers(text);
  if (marked === text) return JSON.parse(text) as unknown;
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? exactNumber(value.slice(MARK.length)) : value,
  ) as unknown;
}

/** Undefined: it is no JSON. */
export function tryParseExact(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: parseExact(text) };
  } catch {
    return undefined;
  }
}

/** JSON.stringify that writes them as they came. */
export function stringifyExact(value: unknown): string {
  return JSON.stringify(value).replace(MARKED, '$1');
}

/** The same with the members of its objects in the order of their names: JSON that means the same reads the same then. */
export function sortMembers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortMembers);
  if (typeof value !== 'object' || value === null || isExactNumber(value)) return value;
  const members = Object.entries(value).map(([name, member]) => [name, sortMembers(member)] as const);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

const NUMBER = /-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Infinity)|NaN/y;
const QUOTE = '"'.charCodeAt(0);
const BACKSLASH = '\\'.charCodeAt(0);

/** Puts such numbers in quotes, behind the mark. A loop, since a regular expression fails at a text of some megabytes. */
function markNumbers(text: string): string {
  let result = '';
  let kept = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
    } else if (startsNumber(code)) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(text)?.[0] ?? '';
      if (number === '') continue;
      if (number !== JSON.stringify(Number(number))) {
        result += `${text.slice(kept, at)}"${MARK}${number}"`;
        kept = at + number.length;
      }
      at += number.length - 1;
    }
  }
  return kept === 0 ? text : result + text.slice(kept);
}

/** Where its closing quote is. */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at;
}

const STARTS = new Set(Array.from('-0123456789IN', (letter) => letter.charCodeAt(0)));

function startsNumber(code: number): boolean {
  return STARTS.has(code);
}
