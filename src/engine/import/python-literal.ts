import { LifeboatError } from '../../errors.ts';

/** Deeper than any arguments of a trigger; a recursion without a limit would end the process. */
const MAX_DEPTH = 500;

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\n': '',
};
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };
const NUMBER = /[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z_]\w*/y;
const SPACE = /\s*/y;
const JSON_WORDS: Readonly<Record<string, string>> = { None: 'null', True: 'true', False: 'false' };

interface Cursor {
  readonly text: string;
  at: number;
  depth: number;
}

/**
 * A Python literal (what `repr` writes of a value that was JSON) as JSON text, in the form of Python's json.dumps: the
 * separators `, ` and `: `, everything outside ASCII escaped. So a value comes back as the bytes that Airflow had stored.
 * Numbers are carried as text: no digit is lost. Understood are dicts with string keys, lists, tuples, strings, numbers,
 * True, False and None; bytes, sets and names are refused, as is anything after the value.
 *
 * @throws LifeboatError 'integrity' with the position and nothing of the text, which may hold a secret.
 */
export function pythonLiteralToJson(text: string): string {
  const cursor: Cursor = { text, at: 0, depth: 0 };
  const json = value(cursor);
  skipSpace(cursor);
  if (cursor.at !== text.length) throw unreadable(cursor, 'the value should end there');
  return json;
}

/** The bytes of `b'…'` or `bytearray(b'…')`. */
export function pythonBytes(text: string): Buffer {
  const inner = /^bytearray\(([\s\S]*)\)$/.exec(text)?.[1] ?? text;
  const cursor: Cursor = { text: inner, at: 1, depth: 0 };
  if (!/^b['"]/.test(inner)) throw unreadable({ ...cursor, at: 0 }, 'these are not bytes');
  const bytes = Buffer.from(quoted(cursor), 'latin1');
  if (cursor.at !== inner.length) throw unreadable(cursor, 'the bytes should end there');
  return bytes;
}

function value(cursor: Cursor): string {
  skipSpace(cursor);
  const char = cursor.text[cursor.at] ?? '';
  if (char === "'" || char === '"') return jsonString(quoted(cursor));
  if (char === '{') return dict(cursor);
  if (char === '[') return sequence(cursor, ']');
  if (char === '(') return sequence(cursor, ')');
  if (/[\d.+-]/.test(char)) return number(cursor);
  const start = cursor.at;
  const word = JSON_WORDS[match(cursor, WORD)];
  if (word === undefined) throw unreadable({ ...cursor, at: start }, 'no JSON value begins like this');
  return word;
}

function number(cursor: Cursor): string {
  const found = match(cursor, NUMBER);
  if (found === '') throw unreadable(cursor, 'this is no number');
  // Python writes -0.5 and 1e-05, which JSON has too; `.5`, `1.` and `+1` are never written by repr, and are no JSON.
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(found)) {
    throw unreadable(cursor, 'no JSON has this number');
  }
  return found;
}

function sequence(cursor: Cursor, end: ']' | ')'): string {
  const items: string[] = [];
  let commas = 0;
  nested(cursor, end, () => {
    items.push(value(cursor));
    return () => void (commas += 1);
  });
  if (end === ')' && items.length === 1 && commas === 0) {
    throw unreadable(cursor, 'a tuple of one needs its comma');
  }
  return `[${items.join(', ')}]`;
}

function dict(cursor: Cursor): string {
  const entries: string[] = [];
  nested(cursor, '}', () => {
    const char = cursor.text[cursor.at];
    if (char !== "'" && char !== '"') throw unreadable(cursor, 'a key of JSON is a string');
    const key = jsonString(quoted(cursor));
    skipSpace(cursor);
    if (cursor.text[cursor.at] !== ':') throw unreadable(cursor, 'a colon should follow the key');
    cursor.at += 1;
    entries.push(`${key}: ${value(cursor)}`);
    return () => undefined;
  });
  return `{${entries.join(', ')}}`;
}

/** Items between brackets; a comma may follow the last. `item` returns what to do when a comma follows it. */
function nested(cursor: Cursor, end: string, item: () => () => void): void {
  cursor.depth += 1;
  if (cursor.depth > MAX_DEPTH) throw unreadable(cursor, 'it is nested too deeply');
  cursor.at += 1;
  for (;;) {
    skipSpace(cursor);
    if (cursor.text[cursor.at] === end) break;
    const onComma = item();
    skipSpace(cursor);
    if (cursor.text[cursor.at] === ',') {
      onComma();
      cursor.at += 1;
    } else if (cursor.text[cursor.at] !== end) throw unreadable(cursor, 'a comma or the end should follow');
  }
  cursor.at += 1;
  cursor.depth -= 1;
}

/** The content of a quoted string; the cursor stands on its quote, and after it at the end. */
function quoted(cursor: Cursor): string {
  const { text } = cursor;
  const quote = text[cursor.at] ?? '';
  cursor.at += 1;
  const pieces: string[] = [];
  for (;;) {
    const char = text[cursor.at];
    if (char === undefined || char === '\n') throw unreadable(cursor, 'the string has no end');
    cursor.at += 1;
    if (char === quote) return pieces.join('');
    pieces.push(char === '\\' ? escape(cursor) : char);
  }
}

function escape(cursor: Cursor): string {
  const { text } = cursor;
  const char = text[cursor.at] ?? '';
  const octal = /[0-7]{1,3}/y;
  octal.lastIndex = cursor.at;
  const digits = octal.exec(text)?.[0];
  if (digits !== undefined) {
    cursor.at += digits.length;
    return String.fromCharCode(parseInt(digits, 8));
  }
  cursor.at += 1;
  const length = HEX_DIGITS[char];
  if (length !== undefined) {
    const hex = text.slice(cursor.at, cursor.at + length);
    const code = parseInt(hex, 16);
    if (hex.length !== length || !/^[0-9a-fA-F]+$/.test(hex) || code > 0x10ffff) {
      throw unreadable(cursor, 'this escape is not complete');
    }
    cursor.at += length;
    return String.fromCodePoint(code);
  }
  if (char === 'N') throw unreadable(cursor, 'characters by name are not understood');
  // As in Python, a backslash before any other character stands for itself.
  return ESCAPES[char] ?? `\\${char}`;
}

/** As json.dumps writes it: everything but printable ASCII is escaped, DEL too. */
function jsonString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function skipSpace(cursor: Cursor): void {
  match(cursor, SPACE);
}

function match(cursor: Cursor, pattern: RegExp): string {
  pattern.lastIndex = cursor.at;
  const found = pattern.exec(cursor.text)?.[0] ?? '';
  cursor.at += found.length;
  return found;
}

function unreadable(cursor: Cursor, problem: string): LifeboatError {
  return new LifeboatError(
    'integrity',
    `A Python value cannot be read at character ${cursor.at + 1}: ${problem}.`,
  );
}
